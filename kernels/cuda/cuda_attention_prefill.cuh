/* Attention for runs of several tokens: a block has 8 warps x 16 rows (128 / group tokens of one kv head) and walks over the keys they see. */
#ifndef KERNELS_CUDA_CUDA_ATTENTION_PREFILL_CUH
#define KERNELS_CUDA_CUDA_ATTENTION_PREFILL_CUH

#include "kernels/cuda/cuda_attention_tile.cuh"

enum { PREFILL_WARPS = 8, PREFILL_ROWS = 16 * PREFILL_WARPS, PREFILL_STAGES = 2 };

template <int DIM> constexpr size_t prefill_shared_bytes(void) { return (size_t)PREFILL_STAGES * 2 * ATTENTION_KEYS * DIM * sizeof(bf16); }

template <int DIM> __global__ void __launch_bounds__(32 * PREFILL_WARPS, 1) attention_prefill_kernel(const __grid_constant__ attention_args a)
{
    extern __shared__ uint4 shared[]; /* [stages][keys, values][64, DIM] */
    enum { TILE = ATTENTION_KEYS * DIM / 8 };
    cuda_wait_for_previous();
    cuda_let_next_start();
    int kv_head = blockIdx.y, sequence = a.tile_sequence[blockIdx.x], first_token = a.tile_token[blockIdx.x];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int run_start = a.sequence_start[sequence], run = a.sequence_start[sequence + 1] - run_start, context = a.contexts[sequence];
    int before = context - run; /* position of the run's first token */
    const int32_t *table = a.table + (int64_t)sequence * a.table_stride;

    int low[2], high[2];
    const bf16 *rows[2];
    int64_t offsets[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int row = 16 * warp + lane / 4 + 8 * i, token = first_token + row / a.group, head = kv_head * a.group + row % a.group;
        bool valid = row / a.group < PREFILL_ROWS / a.group && token < run;
        offsets[i] = valid ? ((int64_t)(run_start + token) * a.q_heads + head) * DIM : -1;
        rows[i] = valid ? a.q + offsets[i] : NULL;
        high[i] = valid ? before + token : -1;
        low[i] = valid && a.window && high[i] >= a.window ? high[i] - a.window + 1 : 0;
    }
    attention_state<DIM> state;
    attention_begin(state, rows, lane);

    int tokens = PREFILL_ROWS / a.group, last_token = min(first_token + tokens, run) - 1;
    int end = before + last_token + 1; /* keys [begin, end) are seen by some row */
    int begin = a.window && before + first_token >= a.window ? before + first_token - a.window + 1 : 0;
    int first_tile = begin / ATTENTION_KEYS, tiles = (end + ATTENTION_KEYS - 1) / ATTENTION_KEYS;
    auto load = [&](int tile) {
        uint4 *stage = shared + (tile % PREFILL_STAGES) * 2 * TILE;
        attention_load<DIM>(stage, a.k_cache, a, table, kv_head, tile * ATTENTION_KEYS, begin, end, threadIdx.x, blockDim.x);
        attention_load<DIM>(stage + TILE, a.v_cache, a, table, kv_head, tile * ATTENTION_KEYS, begin, end, threadIdx.x, blockDim.x);
        asm volatile("cp.async.commit_group;");
    };
    load(first_tile);
    for (int tile = first_tile; tile < tiles; tile++) {
        if (tile + 1 < tiles) {
            load(tile + 1);
            asm volatile("cp.async.wait_group 1;");
        } else {
            asm volatile("cp.async.wait_group 0;");
        }
        __syncthreads();
        const uint4 *stage = shared + (tile % PREFILL_STAGES) * 2 * TILE;
        attention_tile(state, stage, stage + TILE, tile * ATTENTION_KEYS, low, high, a.scale, lane);
        __syncthreads();
    }
    attention_end(state);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (offsets[i] < 0) continue;
        int head = kv_head * a.group + (16 * warp + lane / 4 + 8 * i) % a.group;
        float sink = __bfloat162float(a.sinks[head]), largest = fmaxf(state.largest[i], sink), keep = __expf(state.largest[i] - largest);
        float factor = keep / (state.total[i] * keep + __expf(sink - largest));
#pragma unroll
        for (int d = 0; d < DIM / 8; d++)
            *(uint32_t *)(a.out + offsets[i] + 8 * d + 2 * (lane % 4)) = attention_pack(state.sums[d][2 * i] * factor, state.sums[d][2 * i + 1] * factor);
    }
}

#endif
