/* Expert products of the decode kernel: a slot is a row tile, a warp's part of it a few half column tiles, the 32 columns that share scales. */
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

/* What a warp knows of its half tiles first, first + 1, ...; in pairs of arrays: for the even and the odd ones of them. */
struct experts_lane {
    int codes[2], scales[2];   /* where they begin in a slot, this lane's; half tile i lies i / 2 tiles further */
    int turns[2];              /* how far left a word of scales is turned for the upper row's to become an exponent; the lower's: 16 less */
    uint4 x[CUT_HALVES];       /* what they multiply: columns of the B operand, all alike, so that every lane has what lanes 0, 4, ... need */
    uint32_t masks[CUT_HALVES]; /* of an exponent; none where there is no half tile */
};

__device__ static inline void experts_prepare(experts_lane &e, const __half *row, int col_tiles, int warp, int lane)
{
    int halves = 2 * col_tiles, first = halves * warp / CONSUMERS, n = halves * (warp + 1) / CONSUMERS - first, odd = first % 2;
    e.codes[0] = first / 2 * MXFP4_TILE_BYTES + 16 * lane + 8 * odd;
    e.codes[1] = (first + 1) / 2 * MXFP4_TILE_BYTES + 16 * lane + 8 * (1 - odd);
    e.scales[0] = col_tiles * MXFP4_TILE_BYTES + first / 2 * MXFP4_TILE_SCALE_BYTES + lane / 4 * 4;
    e.scales[1] = col_tiles * MXFP4_TILE_BYTES + (first + 1) / 2 * MXFP4_TILE_SCALE_BYTES + lane / 4 * 4;
    e.turns[0] = 23 - 8 * odd;
    e.turns[1] = 15 + 8 * odd;
#pragma unroll
    for (int i = 0; i < CUT_HALVES; i++) {
        e.x[i] = i < n ? *(const uint4 *)(row + (first + i) * MXFP4_TILE_COLS / 2 + 8 * (lane % 4)) : make_uint4(0, 0, 0, 0);
        e.masks[i] = i < n ? 0x7f800000u : 0;
    }
}

/* Sums of two rows over this warp's columns, in lanes 0, 4, ... */
__device__ static inline void experts_add(const experts_lane &e, const uint8_t *slot, float sums[2])
{
#pragma unroll
    for (int i = 0; i < CUT_HALVES; i++) {
        uint2 codes = *(const uint2 *)(slot + e.codes[i % 2] + i / 2 * MXFP4_TILE_BYTES);
        uint32_t scales = *(const uint32_t *)(slot + e.scales[i % 2] + i / 2 * MXFP4_TILE_SCALE_BYTES), first[4], second[4];
        float product[4] = {};
        mxfp4_fragment_half(codes.x, first);
        mxfp4_fragment_half(codes.y, second);
        mxfp4_mma_half(product, first, e.x[i].x, e.x[i].y);
        mxfp4_mma_half(product, second, e.x[i].z, e.x[i].w);
        sums[0] = fmaf(product[0], __uint_as_float(__funnelshift_l(scales, scales, e.turns[i % 2]) & e.masks[i]), sums[0]);
        sums[1] = fmaf(product[2], __uint_as_float(__funnelshift_l(scales, scales, e.turns[i % 2] - 16) & e.masks[i]), sums[1]);
    }
}

/* Of all the block's rows, two neighbours each: an activation, or two elements of what the expert gives. A thread a row. */
__device__ static inline void experts_finish(int thread, int n, int first, float bias, expert_product product, decode_place p)
{
    const decode_args &a = decode_memory().args;
    float sum = thread < n ? sums_of(thread) * MXFP4_HALF_UNSCALE + bias : 0, next = __shfl_down_sync(~0u, sum, 1);
    if (thread >= n || thread % 2) return;
    int at = (first + thread) / 2; /* choices follow each other without a gap */
    if (product == EXPERT_GATE_UP)
        words_store(p, a.places.activations + at, mxfp4_swiglu(sum, next, a.alpha, a.limit));
    else
        words_store(p, a.places.returned + at, attention_pack(sum, next));
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
    experts_prepare(e, up ? s.halves : s.product.activations, w.col_tiles, warp, lane);
#pragma unroll 1
    for (int unit = 0; unit < n; unit++) {
        float sums[2] = {};
        experts_add(e, decode_await(c), sums);
        decode_release(c, lane);
        if (lane % 4 == 0) *(float2 *)&s.product.sums[warp][unit * MXFP4_TILE_ROWS + lane / 2] = make_float2(sums[0], sums[1]); /* rows 2 (lane / 4) and the next */
    }
    decode_sync_workers();
    if (warp * 32 < n * MXFP4_TILE_ROWS) experts_finish(thread, n * MXFP4_TILE_ROWS, first, sums_bias(bias), product, p);
}

#endif
