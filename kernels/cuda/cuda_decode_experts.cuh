/* Expert products of the decode kernel, cut as in cuda_experts_stream.cu: the warps of a group share a row tile's columns, a finishing warp adds up. */
#ifndef KERNELS_CUDA_CUDA_DECODE_EXPERTS_CUH
#define KERNELS_CUDA_CUDA_DECODE_EXPERTS_CUH

#include <cuda_fp16.h>

#include "kernels/cuda/cuda_decode.cuh"

/* Units of a stage: (choice, row tile) pairs. */
__device__ static inline decode_range experts_share(const mxfp4_stack &w, int top_k) { return decode_share(top_k * w.row_tiles); }

__device__ static void experts_produce(decode_shared &s, int &units, const mxfp4_stack &w, int top_k, uint64_t policy)
{
    decode_range range = experts_share(w, top_k);
    uint32_t codes = (uint32_t)w.col_tiles * MXFP4_TILE_BYTES, scales = (uint32_t)w.col_tiles * MXFP4_TILE_SCALE_BYTES;
    for (int unit = range.begin; unit < range.end; unit++, units++) {
        int slot = decode_begin_fill(s, units, codes + scales);
        int64_t tile = (int64_t)s.ids[unit / w.row_tiles] * w.row_tiles + unit % w.row_tiles;
        ring_copy(s.ring[slot], (const uint8_t *)w.tiles + tile * codes, codes, &s.full[slot], policy);
        ring_copy(s.ring[slot] + codes, (const uint8_t *)w.scales + tile * scales, scales, &s.full[slot], policy);
    }
}

/* A warp's columns of the one token's row: the B operand, of which only column 0 is not zero. */
__device__ static inline void experts_load_row(uint4 x[CUT_TILES][2], const __half *row, int first, int tiles, int lane)
{
#pragma unroll
    for (int i = 0; i < CUT_TILES; i++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            x[i][h] = lane < 4 && i < tiles ? *(const uint4 *)(row + (first + i) * MXFP4_TILE_COLS + 32 * h + 8 * lane) : make_uint4(0, 0, 0, 0);
}

__device__ static inline void experts_add_half(uint32_t word0, uint32_t word1, float low, float high, uint4 x, float sums[2])
{
    uint32_t first[4], second[4];
    float product[4];
    mxfp4_fragment_half(word0, first);
    mxfp4_fragment_half(word1, second);
    mxfp4_mma_half_first(product, first, x.x, x.y);
    mxfp4_mma_half(product, second, x.z, x.w);
    sums[0] = fmaf(product[0], low, sums[0]);
    sums[1] = fmaf(product[2], high, sums[1]);
}

/* rows(choice): that choice's input row in shared memory, padded to whole column tiles with zeros. */
template <typename row_finder> __device__ static void experts_consume(decode_shared &s, const decode_place &p, const mxfp4_stack &w, int top_k, const row_finder &rows)
{
    int thread = decode_thread(), lane = thread % 32, group = thread / 32 / CUT_WARPS, warp = thread / 32 % CUT_WARPS;
    int first = w.col_tiles * warp / CUT_WARPS, tiles = w.col_tiles * (warp + 1) / CUT_WARPS - first, choice_end = 0;
    decode_range range = experts_share(w, top_k);
    uint4 x[CUT_TILES][2];
    for (int index = group; index < range.end - range.begin; index += CUT_GROUPS) {
        int unit = range.begin + index, slot = (p.units + index) % SLOTS, part = (p.expert_units + index) % PARTIALS, turn = (p.expert_units + index) / PARTIALS;
        if (unit >= choice_end) {
            int choice = unit / w.row_tiles;
            choice_end = (choice + 1) * w.row_tiles;
            experts_load_row(x, rows(choice), first, tiles, lane);
        }
        float sums[2] = {};
        decode_wait_filled(s, p.units + index);
        const uint4 *codes = (const uint4 *)s.ring[slot] + first * 32 + lane;
        const uint32_t *scales = (const uint32_t *)(s.ring[slot] + w.col_tiles * MXFP4_TILE_BYTES) + first * 8 + lane / 4;
#pragma unroll
        for (int i = 0; i < CUT_TILES; i++) { /* without a branch, so that tiles overlap */
            uint4 c = i < tiles ? codes[i * 32] : make_uint4(0, 0, 0, 0);
            uint32_t scale = i < tiles ? scales[i * 8] : 0;
            experts_add_half(c.x, c.y, mxfp4_scale(scale, 0), mxfp4_scale(scale, 2), x[i][0], sums);
            experts_add_half(c.z, c.w, mxfp4_scale(scale, 1), mxfp4_scale(scale, 3), x[i][1], sums);
        }
        __syncwarp();
        if (lane == 0) decode_arrive(&s.empty[slot], SLOT_ARRIVALS / CUT_WARPS);
        if (turn > 0) ring_wait(&s.taken[part], turn - 1);
        if (lane % 4 == 0) *(float2 *)&s.partials[part][warp][lane / 2] = make_float2(sums[0], sums[1]); /* rows 2 (lane / 4) and the next */
        __syncwarp();
        if (lane == 0) ring_arrive(&s.summed[part]);
    }
}

/* Lanes 0, 2, ... 14 of the finishing warp are handed neighbours: emit(choice, row, first, second), row even, biases added. */
template <typename emitter>
__device__ static void experts_finish(decode_shared &s, const decode_place &p, const mxfp4_stack &w, int top_k, const emitter &emit)
{
    int lane = decode_thread() % 32, row = lane % MXFP4_TILE_ROWS;
    decode_range range = experts_share(w, top_k);
    for (int index = 0; index < range.end - range.begin; index++) {
        int unit = range.begin + index, part = (p.expert_units + index) % PARTIALS, turn = (p.expert_units + index) / PARTIALS;
        int choice = unit / w.row_tiles, at = unit % w.row_tiles * MXFP4_TILE_ROWS + row;
        float bias = w.bias ? __bfloat162float(w.bias[s.ids[choice] * w.bias_stride + at]) : 0, sum = 0;
        ring_wait(&s.summed[part], turn);
#pragma unroll
        for (int warp = 0; warp < CUT_WARPS; warp++) sum += s.partials[part][warp][row];
        __syncwarp();
        if (lane == 0) ring_arrive(&s.taken[part]);
        sum = sum * MXFP4_HALF_UNSCALE + bias;
        float next = __shfl_down_sync(~0u, sum, 1);
        if (lane < MXFP4_TILE_ROWS && lane % 2 == 0) emit(choice, at, sum, next);
    }
}

/* One product by all workers. */
template <typename row_finder, typename emitter>
__device__ static void experts_product(decode_shared &s, decode_place &p, const mxfp4_stack &w, int top_k, const row_finder &rows, const emitter &emit)
{
    if (decode_thread() < 32 * CONSUMERS)
        experts_consume(s, p, w, top_k, rows);
    else
        experts_finish(s, p, w, top_k, emit);
    decode_range range = experts_share(w, top_k);
    p.units += range.end - range.begin;
    p.expert_units += range.end - range.begin;
}

#endif
