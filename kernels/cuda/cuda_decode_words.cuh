/* Numbers between blocks without barriers: a reader spins on the very words that it wants, each of which says by its epoch whether it has come. One trip
 * through the L2 cache, where a barrier needs three. The idea is that of NCCL's protocol LL (src/device/prims_ll.h).
 *
 * Why a set may be used again after two layers: whoever writes it then has read numbers that depend, through all blocks, on everybody's having read the
 * old ones. */
#ifndef KERNELS_CUDA_CUDA_DECODE_WORDS_CUH
#define KERNELS_CUDA_CUDA_DECODE_WORDS_CUH

#include "kernels/cuda/cuda_decode.cuh"

enum { WORDS_MAX_POLLS = 1 << 23 }; /* some seconds: a kernel that waits longer has a mistake in it, and ends instead of hanging */

__device__ static inline void words_store(decode_place p, int index, uint32_t value)
{
    asm volatile("st.relaxed.gpu.global.v2.b32 [%0], {%1, %2};" ::"l"(p.words + index), "r"(value), "r"(p.epoch) : "memory");
}
__device__ static inline void words_store(decode_place p, int index, float value) { words_store(p, index, __float_as_uint(value)); }

__device__ static inline uint2 words_load(const decode_word *word)
{
    uint2 v;
    asm volatile("ld.relaxed.gpu.global.v2.b32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(word) : "memory");
    return v;
}

__device__ static inline uint4 words_load_two(const decode_word *words)
{
    uint4 v;
    asm volatile("ld.relaxed.gpu.global.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(words) : "memory");
    return v;
}

/* Waits for one word, the others a warp wants come soon after: polls of all of them would take from what the weights need of the L2 cache's bandwidth. */
__device__ static inline void words_await(decode_place p, int index)
{
    if (threadIdx.x % 32 == 0)
        for (int polls = 0; words_load(p.words + index).y != p.epoch; polls++)
            if (polls > WORDS_MAX_POLLS) __trap();
    __syncwarp();
}

/* A pair in BF16. */
__device__ static inline float2 words_unpack(uint32_t pair) { return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)); }

/* A pair in FP16 for a word; what is too large becomes the largest there is. */
__device__ static inline uint32_t words_pack_half(float low, float high)
{
    uint32_t both;
    asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

/* N words; a thread that has fewer to read names some twice. */
template <int N> __device__ static inline void words_gather(decode_place p, const int (&index)[N], uint32_t (&out)[N])
{
    words_await(p, index[0]);
    int polls = 0;
    for (bool all = false; !all;) {
        uint2 v[N];
        if (++polls > WORDS_MAX_POLLS) __trap();
#pragma unroll
        for (int i = 0; i < N; i++) v[i] = words_load(p.words + index[i]);
        all = true;
#pragma unroll
        for (int i = 0; i < N; i++) {
            all = all && v[i].y == p.epoch;
            out[i] = v[i].x;
        }
    }
}

/* N pairs of neighbours; every index is even. */
template <int N> __device__ static inline void words_gather_pairs(decode_place p, const int (&index)[N], uint2 (&out)[N])
{
    words_await(p, index[0]);
    int polls = 0;
    for (bool all = false; !all;) {
        uint4 v[N];
        if (++polls > WORDS_MAX_POLLS) __trap();
#pragma unroll
        for (int i = 0; i < N; i++) v[i] = words_load_two(p.words + index[i]);
        all = true;
#pragma unroll
        for (int i = 0; i < N; i++) {
            all = all && v[i].y == p.epoch && v[i].w == p.epoch;
            out[i] = make_uint2(v[i].x, v[i].z);
        }
    }
}

#endif
