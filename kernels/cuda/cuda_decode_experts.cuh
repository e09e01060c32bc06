/* Expert products of the decode kernel: a slot is a row tile, a warp's part of it a few column tiles, each of two halves of 32 columns, which share scales. */
#ifndef KERNELS_CUDA_CUDA_DECODE_EXPERTS_CUH
#define KERNELS_CUDA_CUDA_DECODE_EXPERTS_CUH

#include <cuda_fp16.h>

#include "kernels/cuda/cuda_attention_tile.cuh"
#include "kernels/cuda/cuda_decode_sums.cuh"
#include "kernels/cuda/cuda_experts.cuh"

/* Of one choice, in all of its blocks: the row tiles of the share, which are counted through all choices. */
__device__ static void experts_produce(int &units, const mxfp4_stack &w, decode_range range, uint64_t policy)
{
    decode_shared &s = decode_memory();
    uint32_t codes = (uint32_t)w.col_tiles * MXFP4_TILE_BYTES, scales = (uint32_t)w.col_tiles * MXFP4_TILE_SCALE_BYTES;
    int64_t at = (int64_t)(s.ids[s.choice] - s.choice) * w.row_tiles + range.begin;
    for (int unit = range.begin; unit < range.end; unit++, units++, at++) {
        int slot = decode_begin_fill(units, codes + scales);
        if (threadIdx.x % 32 == 0) {
            ring_copy(s.ring[slot], (const uint8_t *)w.tiles + at * codes, codes, &s.full[slot], policy);
            ring_copy(s.ring[slot] + codes, (const uint8_t *)w.scales + at * scales, scales, &s.full[slot], policy);
        }
    }
}

/* What a warp knows of its column tiles, which lie side by side; if there are too few for all warps, some read what is another one's and multiply it by zeros. */
struct experts_lane {
    int codes, scales;     /* where they begin in a slot, this lane's */
    uint4 x[CUT_TILES][2]; /* what the halves of a tile are multiplied by: columns of the B operand, all alike, so that every lane has what lanes 0, 4, ... need */
};

__device__ static inline void experts_prepare(experts_lane &e, const __half *row, int col_tiles, int member, int lane)
{
    int each = (col_tiles + TEAM_WARPS - 1) / TEAM_WARPS, begin = each * member, end = min(begin + each, col_tiles), first = min(begin, col_tiles - CUT_TILES);
    e.codes = first * MXFP4_TILE_BYTES + 16 * lane;
    e.scales = col_tiles * MXFP4_TILE_BYTES + first * MXFP4_TILE_SCALE_BYTES + lane / 4 * 4;
#pragma unroll
    for (int i = 0; i < CUT_TILES; i++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            e.x[i][half] = first + i >= begin && first + i < end ? *(const uint4 *)(row + (first + i) * MXFP4_TILE_COLS + half * MXFP4_TILE_COLS / 2 + 8 * (lane % 4)) : make_uint4(0, 0, 0, 0);
}

/* Half a column tile: what its two words come to, times the rows' scales. */
__device__ static inline void experts_add_half(float sums[2], uint32_t low, uint32_t high, const uint4 &x, float upper, float lower)
{
    uint32_t first[4], second[4];
    float product[4] = {};
    mxfp4_fragment_half(low, first);
    mxfp4_fragment_half(high, second);
    mxfp4_mma_half(product, first, x.x, x.y);
    mxfp4_mma_half(product, second, x.z, x.w);
    sums[0] = fmaf(product[0], upper, sums[0]);
    sums[1] = fmaf(product[2], lower, sums[1]);
}

/* Sums of two rows over this warp's columns, in lanes 0, 4, ... */
__device__ static inline void experts_add(const experts_lane &e, const uint8_t *slot, float sums[2])
{
#pragma unroll
    for (int i = 0; i < CUT_TILES; i++) {
        uint4 codes = *(const uint4 *)(slot + e.codes + i * MXFP4_TILE_BYTES);
        uint32_t scales = *(const uint32_t *)(slot + e.scales + i * MXFP4_TILE_SCALE_BYTES);
        experts_add_half(sums, codes.x, codes.y, e.x[i][0], mxfp4_scale(scales, 0), mxfp4_scale(scales, 2));
        experts_add_half(sums, codes.z, codes.w, e.x[i][1], mxfp4_scale(scales, 1), mxfp4_scale(scales, 3));
    }
}

/* Of all the block's rows, a thread each; words hold two activations, of four rows, or two elements of what the expert gives. */
__device__ static inline void experts_finish(int thread, int n, int first, float bias, expert_product product, decode_place p)
{
    const decode_args &a = decode_memory().args;
    float sum = thread < n ? sums_of(thread) * MXFP4_HALF_UNSCALE + bias : 0, next = __shfl_down_sync(~0u, sum, 1);
    int at = first + thread; /* choices follow each other without a gap */
    if (product == EXPERT_GATE_UP) {
        float activation = mxfp4_swiglu(sum, next, a.alpha, a.limit);
        next = __shfl_down_sync(~0u, activation, 2);
        if (thread < n && thread % 4 == 0) words_store(p, a.places.activations + at / 4, words_pack_half(activation, next));
    } else {
        if (thread < n && thread % 2 == 0) words_store(p, a.places.returned + at / 2, attention_pack(sum, next));
    }
}

/* One product by all workers. */
DECODE_STAGE void experts_stage(decode_cursor &c, int layer, expert_product product, decode_place p)
{
    decode_shared &s = decode_memory();
    bool up = product == EXPERT_GATE_UP;
    const mxfp4_stack &w = up ? s.layers[layer % 2].gate_up : s.layers[layer % 2].down;
    decode_range range = s.shares[up ? SHARE_GATE_UP : SHARE_DOWN];
    int thread = decode_thread(), lane = thread % 32, warp = thread / 32, n = range.end - range.begin, first = range.begin * MXFP4_TILE_ROWS;
    unsigned short bias = sums_ask_bias(w.bias + s.ids[s.choice] * w.bias_stride + first - s.choice * w.rows + thread, w.bias && thread < n * MXFP4_TILE_ROWS);
    experts_lane e;
    experts_prepare(e, up ? s.halves : s.product.activations, w.col_tiles, sums_member(warp), lane);
    decode_cursor own = c;
    decode_skip(own, sums_team(warp));
#pragma unroll 1
    for (int unit = sums_team(warp); unit < n; unit += TEAMS) {
        float sums[2] = {};
        experts_add(e, decode_await(own), sums);
        decode_release(own, lane, TEAMS);
        if (lane % 4 == 0) *(float2 *)&s.product.sums[sums_member(warp)][unit * MXFP4_TILE_ROWS + lane / 2] = make_float2(sums[0], sums[1]); /* rows 2 (lane / 4) and the next */
    }
    decode_skip(c, n);
    decode_sync_workers();
    if (warp * 32 < n * MXFP4_TILE_ROWS) experts_finish(thread, n * MXFP4_TILE_ROWS, first, sums_bias(bias), product, p);
}

#endif
