/* What Hopper's matrix units need around them, each as one instruction: copies by threads that arrive at a barrier of cuda_ring.cuh, registers handed from one
 * warpgroup to another, and products of a warpgroup with A in registers and B in shared memory. PTX ISA 9.7.9, 9.7.13, 9.7.15, 9.7.19.
 * Only for kernels that guard with WGMMA_BUILT: elsewhere these do not assemble.
 *
 * B in shared memory: [tokens, 64] BF16, k contiguous, 128 bytes a row, base aligned to 1024. The unit reads the 16-byte chunk c (k = 8 c .. 8 c + 7) of
 * row r at r * 128 + ((c ^ (r % 8)) * 16): the 128-byte swizzle, bits 4..6 of the address xor bits 7..9.
 */
#ifndef KERNELS_CUDA_CUDA_WGMMA_CUH
#define KERNELS_CUDA_CUDA_WGMMA_CUH

#include "kernels/cuda/cuda_ring.cuh"

/* Whether this pass of the compiler makes code for 90a: the matrix instructions of 9.0 are in no later architecture. */
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr bool WGMMA_BUILT = true;
#else
constexpr bool WGMMA_BUILT = false;
#endif

enum { WGMMA_THREADS = 128, WGMMA_WARPS = 4, WGMMA_ROW_BYTES = 128, WGMMA_ALIGNMENT = 1024 };

/* ---- copies to shared memory; `bytes` 0 writes zeros and reads nothing ---- */
__device__ static inline void copy_async_4(uint32_t shared, const void *global, int bytes)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}

__device__ static inline void copy_async_16(uint32_t shared, const void *global)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}

/* One arrival of this thread at the barrier, once all that it copied so far has landed. */
__device__ static inline void copy_async_arrive(uint64_t *barrier)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(ring_address(barrier)) : "memory");
}

/* ---- registers of a warpgroup ---- */
template <int registers> __device__ static inline void warpgroup_give_registers(void) { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers)); }
template <int registers> __device__ static inline void warpgroup_take_registers(void) { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers)); }

/* ---- products ---- */
/* Before products that use registers which ordinary instructions wrote. */
__device__ static inline void wgmma_fence(void) { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/* Keep the compiler from moving the computation of a fragment past the fence that follows, which would make it run all products one by one, and the use of
 * sums before the wait that came before. */
__device__ static inline void wgmma_settle(uint32_t (&a)[4]) { asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory"); }
template <int n> __device__ static inline void wgmma_settle(float (&d)[n])
{
#pragma unroll
    for (int i = 0; i < n; i++) asm volatile("" : "+f"(d[i])::"memory");
}

__device__ static inline void wgmma_commit(void) { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/* At most `groups` groups of products are still running; their registers are not to be touched, except to start more products. */
template <int groups> __device__ static inline void wgmma_wait(void) { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory"); }

/* Names B above (PTX ISA, "Matrix descriptor"): bits 0..13 address / 16, 16..29 leading offset (not used by this layout, 1 by convention),
 * 32..45 bytes from 8 rows to the next 8 / 16, 49..51 base offset 0 for an aligned base, 62..63 1 for the 128-byte swizzle. Adding 2 steps 16
 * elements along k: the swizzle is applied to the sum. */
__device__ static inline uint64_t wgmma_descriptor(uint32_t shared)
{
    return (uint64_t)((shared & 0x3ffffu) >> 4) | (uint64_t)1 << 16 | (uint64_t)(8 * WGMMA_ROW_BYTES >> 4) << 32 | (uint64_t)1 << 62;
}

#define WGMMA_16(d, i) \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7]), "+f"(d[i + 8]), \
        "+f"(d[i + 9]), "+f"(d[i + 10]), "+f"(d[i + 11]), "+f"(d[i + 12]), "+f"(d[i + 13]), "+f"(d[i + 14]), "+f"(d[i + 15])
#define WGMMA_NAMES_16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define WGMMA_NAMES_32 WGMMA_NAMES_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define WGMMA_NAMES_48 WGMMA_NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define WGMMA_NAMES_64 WGMMA_NAMES_48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

/* d [64, tokens] += a [64, 16] b [tokens, 16]^T, BF16 in, F32 sums. The warpgroup's warp w holds rows 16 w .. 16 w + 15, its lanes (g = lane / 4,
 * t = lane % 4) as in mma.m16n8k16: a = (row g, k 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), two k each;
 * d[4 j ..] = (row g, tokens 8 j + 2 t, + 1), (row g + 8, the same). */
#define WGMMA_BF16(tokens, names, a_names, b_name, ...) \
    __device__ static inline void wgmma_bf16(float(&d)[tokens / 2], const uint32_t(&a)[4], uint64_t b) \
    { \
        asm volatile("{ .reg .pred add;\n" \
                     "  setp.eq.u32 add, 0, 0;\n" \
                     "  wgmma.mma_async.sync.aligned.m64n" #tokens "k16.f32.bf16.bf16 {" names "}, {" a_names "}, " b_name ", add, 1, 1, 0; }" \
                     : __VA_ARGS__ \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)); \
    }

WGMMA_BF16(32, WGMMA_NAMES_16, "%16,%17,%18,%19", "%20", WGMMA_16(d, 0))
WGMMA_BF16(64, WGMMA_NAMES_32, "%32,%33,%34,%35", "%36", WGMMA_16(d, 0), WGMMA_16(d, 16))
WGMMA_BF16(96, WGMMA_NAMES_48, "%48,%49,%50,%51", "%52", WGMMA_16(d, 0), WGMMA_16(d, 16), WGMMA_16(d, 32))
WGMMA_BF16(128, WGMMA_NAMES_64, "%64,%65,%66,%67", "%68", WGMMA_16(d, 0), WGMMA_16(d, 16), WGMMA_16(d, 32), WGMMA_16(d, 48))

#undef WGMMA_BF16
#undef WGMMA_NAMES_16
#undef WGMMA_NAMES_32
#undef WGMMA_NAMES_48
#undef WGMMA_NAMES_64
#undef WGMMA_16

#endif
