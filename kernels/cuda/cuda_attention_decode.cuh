/* Attention for one token a sequence: the context of a (sequence, kv head) is split over blocks, and a block's share over its warps, each with
 * tiles of its own. The parts meet in attention_merge_kernel. */
#ifndef KERNELS_CUDA_CUDA_ATTENTION_DECODE_CUH
#define KERNELS_CUDA_CUDA_ATTENTION_DECODE_CUH

#include "kernels/cuda/cuda_attention_tile.cuh"

enum { DECODE_WARPS = 4 };

template <int DIM> constexpr size_t decode_shared_bytes(void) { return (size_t)DECODE_WARPS * 2 * ATTENTION_KEYS * DIM * sizeof(bf16); }

/* grid: (splits, kv_heads, sequences). Split s of a sequence has every splits-th run of tiles, as even as whole tiles allow. */
template <int DIM> __global__ void __launch_bounds__(32 * DECODE_WARPS) attention_decode_kernel(const __grid_constant__ attention_args a)
{
    extern __shared__ uint4 shared[]; /* [warps][keys, values][64, DIM] */
    enum { TILE = ATTENTION_KEYS * DIM / 8 };
    cuda_wait_for_previous();
    cuda_let_next_start();
    int split = blockIdx.x, kv_head = blockIdx.y, sequence = blockIdx.z, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int context = a.contexts[sequence], row = a.sequence_start[sequence];
    const int32_t *table = a.table + (int64_t)sequence * a.table_stride;
    int begin = a.window && context > a.window ? context - a.window : 0;
    int first_tile = begin / ATTENTION_KEYS, tiles = (context + ATTENTION_KEYS - 1) / ATTENTION_KEYS - first_tile;
    int parts = a.splits * DECODE_WARPS, part = split * DECODE_WARPS + warp;
    int from = first_tile + (int)((int64_t)tiles * part / parts), to = first_tile + (int)((int64_t)tiles * (part + 1) / parts);

    int low[2], high[2];
    const bf16 *rows[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int member = lane / 4 + 8 * i;
        bool valid = member < a.group;
        rows[i] = valid ? a.q + ((int64_t)row * a.q_heads + kv_head * a.group + member) * DIM : NULL;
        low[i] = begin;
        high[i] = valid ? context - 1 : -1;
    }
    attention_state<DIM> state;
    attention_begin(state, rows, lane);
    uint4 *keys = shared + warp * 2 * TILE, *values = keys + TILE;
    for (int tile = from; tile < to; tile++) {
        attention_load<DIM>(keys, a.k_cache, a, table, kv_head, tile * ATTENTION_KEYS, begin, context, lane, 32);
        attention_load<DIM>(values, a.v_cache, a, table, kv_head, tile * ATTENTION_KEYS, begin, context, lane, 32);
        asm volatile("cp.async.commit_group;");
        asm volatile("cp.async.wait_group 0;");
        __syncwarp();
        attention_tile(state, keys, values, tile * ATTENTION_KEYS, low, high, a.scale, lane);
        __syncwarp();
    }
    attention_end(state);

#pragma unroll
    for (int i = 0; i < 2; i++) {
        int member = lane / 4 + 8 * i;
        if (member >= a.group) continue;
        float *out = a.partial + (((int64_t)sequence * a.q_heads + kv_head * a.group + member) * parts + part) * (DIM + 2);
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) *(float2 *)(out + 8 * d + 2 * (lane % 4)) = make_float2(state.sums[d][2 * i], state.sums[d][2 * i + 1]);
        if (lane % 4 == 0) {
            out[DIM] = state.largest[i];
            out[DIM + 1] = state.total[i];
        }
    }
}

/* grid: (q_heads, sequences), DIM threads. */
template <int DIM> __global__ void __launch_bounds__(DIM) attention_merge_kernel(const __grid_constant__ attention_args a)
{
    cuda_wait_for_previous();
    cuda_let_next_start();
    int head = blockIdx.x, sequence = blockIdx.y, parts = a.splits * DECODE_WARPS;
    const float *in = a.partial + ((int64_t)sequence * a.q_heads + head) * parts * (DIM + 2);
    float sink = __bfloat162float(a.sinks[head]), largest = sink;
#pragma unroll 8
    for (int p = 0; p < parts; p++) largest = fmaxf(largest, in[p * (DIM + 2) + DIM]);
    float total = __expf(sink - largest), sum = 0;
#pragma unroll 8
    for (int p = 0; p < parts; p++) {
        float keep = __expf(in[p * (DIM + 2) + DIM] - largest); /* a part without keys has -infinity: 0 */
        total += keep * in[p * (DIM + 2) + DIM + 1];
        sum += keep * in[p * (DIM + 2) + threadIdx.x];
    }
    int64_t row = a.sequence_start[sequence];
    a.out[(row * a.q_heads + head) * DIM + threadIdx.x] = __float2bfloat16(sum / total);
}

#endif
