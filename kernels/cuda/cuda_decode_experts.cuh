/* Expert products of the decode kernel, cut as in cuda_experts_stream.cu: the warps of a group share a row tile's columns, a finishing warp adds up. */
#ifndef KERNELS_CUDA_CUDA_DECODE_EXPERTS_CUH
#define KERNELS_CUDA_CUDA_DECODE_EXPERTS_CUH

#include <cuda_fp16.h>

#include "kernels/cuda/cuda_attention_tile.cuh"
#include "kernels/cuda/cuda_decode_words.cuh"
#include "kernels/cuda/cuda_experts.cuh"

/* A unit is a (choice, row tile) pair. */
__device__ static void experts_produce(int &units, const mxfp4_stack &w, decode_range range, uint64_t policy)
{
    decode_shared &s = decode_memory();
    uint32_t codes = (uint32_t)w.col_tiles * MXFP4_TILE_BYTES, scales = (uint32_t)w.col_tiles * MXFP4_TILE_SCALE_BYTES;
    int choice = range.begin / w.row_tiles, tile = range.begin - choice * w.row_tiles;
    for (int unit = range.begin; unit < range.end; unit++, units++) {
        int64_t at = (int64_t)s.ids[choice] * w.row_tiles + tile;
        int slot = decode_begin_fill(units, codes + scales);
        if (threadIdx.x % 32 == 0) {
            ring_copy(s.ring[slot], (const uint8_t *)w.tiles + at * codes, codes, &s.full[slot], policy);
            ring_copy(s.ring[slot] + codes, (const uint8_t *)w.scales + at * scales, scales, &s.full[slot], policy);
        }
        if (++tile == w.row_tiles) tile = 0, choice++;
    }
}

/* The row's 16 columns are all eight columns of the B operand: each lane then has what lanes 0, 4, ... need. */
__device__ static inline void experts_add_half(uint32_t word0, uint32_t word1, float low, float high, uint4 x, float sums[2])
{
    uint32_t first[4], second[4];
    float product[4] = {};
    mxfp4_fragment_half(word0, first);
    mxfp4_fragment_half(word1, second);
    mxfp4_mma_half(product, first, x.x, x.y);
    mxfp4_mma_half(product, second, x.z, x.w);
    sums[0] = fmaf(product[0], low, sums[0]);
    sums[1] = fmaf(product[2], high, sums[1]);
}

/* Choice first_choice + k reads rows[k * row_stride], padded to whole column tiles with zeros. */
__device__ static inline void experts_consume(int units, int expert_units, const mxfp4_stack &w, decode_range range, const __half *rows, int row_stride)
{
    decode_shared &s = decode_memory();
    int thread = decode_thread(), lane = thread % 32, group = thread / 32 / CUT_WARPS, warp = thread / 32 % CUT_WARPS;
    int first = w.col_tiles * warp / CUT_WARPS, tiles = w.col_tiles * (warp + 1) / CUT_WARPS - first;
    int first_choice = range.begin / w.row_tiles;
#pragma unroll 1
    for (int index = group; index < range.end - range.begin; index += CUT_GROUPS) {
        int unit = range.begin + index, slot = (units + index) % SLOTS, part = (expert_units + index) % PARTIALS, turn = (expert_units + index) / PARTIALS;
        const uint4 *x = (const uint4 *)(rows + (unit / w.row_tiles - first_choice) * row_stride) + lane % 4;
        float sums[2] = {};
        decode_wait_filled(units + index);
        const uint4 *codes = (const uint4 *)s.ring[slot] + first * 32 + lane;
        const uint32_t *scales = (const uint32_t *)(s.ring[slot] + w.col_tiles * MXFP4_TILE_BYTES) + first * 8 + lane / 4;
#pragma unroll
        for (int i = 0; i < CUT_TILES; i++) { /* without a branch, so that tiles overlap */
            uint4 c = i < tiles ? codes[i * 32] : make_uint4(0, 0, 0, 0);
            uint32_t scale = i < tiles ? scales[i * 8] : 0;
            const uint4 *columns = x + (i < tiles ? (first + i) * 8 : 0);
            experts_add_half(c.x, c.y, mxfp4_scale(scale, 0), mxfp4_scale(scale, 2), columns[0], sums);
            experts_add_half(c.z, c.w, mxfp4_scale(scale, 1), mxfp4_scale(scale, 3), columns[4], sums);
        }
        __syncwarp();
        if (lane == 0) decode_arrive(&s.empty[slot], SLOT_ARRIVALS / CUT_WARPS);
        if (turn > 0) ring_wait(&s.taken[part], turn - 1);
        if (lane % 4 == 0) *(float2 *)&s.partials[part][warp][lane / 2] = make_float2(sums[0], sums[1]); /* rows 2 (lane / 4) and the next */
        __syncwarp();
        if (lane == 0) ring_arrive(&s.summed[part]);
    }
}

/* This block's biases into shared memory: one trip for all of them. By one warp. */
__device__ static inline void experts_load_bias(const mxfp4_stack &w, decode_range range)
{
    enum { BATCH = 3, PAIRS = MXFP4_TILE_ROWS / 2 };
    decode_shared &s = decode_memory();
    int lane = decode_thread() % 32, n = (range.end - range.begin) * PAIRS;
#pragma unroll 1
    for (int base = lane; base < n; base += 32 * BATCH) {
        uint32_t pairs[BATCH] = {};
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            int at = min(base + 32 * i, n - 1), unit = range.begin + at / PAIRS, choice = unit / w.row_tiles, row = (unit - choice * w.row_tiles) * MXFP4_TILE_ROWS + 2 * (at % PAIRS);
            if (w.bias) pairs[i] = *(const uint32_t *)(w.bias + s.ids[choice] * w.bias_stride + row);
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (base + 32 * i < n) *(float2 *)&s.bias[(base + 32 * i) / PAIRS][2 * (lane % PAIRS)] = __bfloat1622float2(*(const __nv_bfloat162 *)&pairs[i]);
    }
    __syncwarp();
}

/* Sums, biases, and what becomes of two neighbouring rows: an activation, or two elements of what the expert gives. */
__device__ static inline void experts_finish(int expert_units, const mxfp4_stack &w, decode_range range, expert_product product, int place, decode_place p)
{
    decode_shared &s = decode_memory();
    int lane = decode_thread() % 32, row = lane % MXFP4_TILE_ROWS;
    experts_load_bias(w, range);
#pragma unroll 1
    for (int index = 0; index < range.end - range.begin; index++) {
        int part = (expert_units + index) % PARTIALS, turn = (expert_units + index) / PARTIALS;
        float sum = 0, bias = s.bias[index][row];
        ring_wait(&s.summed[part], turn);
#pragma unroll
        for (int warp = 0; warp < CUT_WARPS; warp++) sum += s.partials[part][warp][row];
        __syncwarp();
        if (lane == 0) ring_arrive(&s.taken[part]);
        sum = sum * MXFP4_HALF_UNSCALE + bias;
        float next = __shfl_down_sync(~0u, sum, 1);
        if (lane >= MXFP4_TILE_ROWS || lane % 2) continue;
        int at = ((range.begin + index) * MXFP4_TILE_ROWS + row) / 2; /* choices follow each other without a gap */
        if (product == EXPERT_GATE_UP)
            words_store(p, place + at, mxfp4_swiglu(sum, next, s.args.alpha, s.args.limit));
        else
            words_store(p, place + at, attention_pack(sum, next));
    }
}

/* One product by all workers; so many units went through the ring, and through the partial sums, before. */
DECODE_STAGE void experts_stage(int units, int expert_units, int layer, expert_product product, decode_place p)
{
    decode_shared &s = decode_memory();
    bool up = product == EXPERT_GATE_UP;
    const mxfp4_stack &w = up ? s.layers[layer % 2].gate_up : s.layers[layer % 2].down;
    decode_range range = s.shares[up ? SHARE_GATE_UP : SHARE_DOWN];
    if (threadIdx.x < 32 * CONSUMERS)
        experts_consume(units, expert_units, w, range, up ? s.halves : s.activations[0], up ? 0 : MAX_HIDDEN);
    else
        experts_finish(expert_units, w, range, product, up ? s.args.places.activations : s.args.places.returned, p);
}

#endif
