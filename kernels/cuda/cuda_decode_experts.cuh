/* Expert products of the decode kernel: a slot is a row tile, a warp's part of it a few column tiles, each of two halves of 32 columns, which share scales. */
#ifndef KERNELS_CUDA_CUDA_DECODE_EXPERTS_CUH
#define KERNELS_CUDA_CUDA_DECODE_EXPERTS_CUH

#include <cuda_fp16.h>

#include "kernels/cuda/cuda_attention_tile.cuh"
#include "kernels/cuda/cuda_decode_vectors.cuh"
#include "kernels/cuda/cuda_experts.cuh"

__device__ static inline int experts_id(const decode_expert &e) { return SEQUENCES == 1 ? decode_memory().ids[0][e.choice[0]] : e.id; }

/* The B operand has 1 << column_bits columns, again and again: a user's each, and beyond the users some user's. */
__device__ static inline int experts_column_bits(const decode_expert &e) { return SEQUENCES == 1 ? 0 : e.column_bits; }
__device__ static inline int experts_user(const decode_expert &e, int column) { return SEQUENCES == 1 ? 0 : min(column & ((1 << e.column_bits) - 1), e.users - 1); }

/* The block's row tiles of an expert. */
__device__ static void experts_produce(int &units, const mxfp4_stack &w, const decode_expert &e, expert_product product, uint64_t policy)
{
    decode_shared &s = decode_memory();
    uint32_t codes = (uint32_t)w.col_tiles * MXFP4_TILE_BYTES, scales = (uint32_t)w.col_tiles * MXFP4_TILE_SCALE_BYTES;
    decode_range range = e.tiles[product];
    int64_t at = (int64_t)experts_id(e) * w.row_tiles + range.begin;
    for (int unit = range.begin; unit < range.end; unit++, units++, at++) {
        int slot = decode_begin_fill(units, codes + scales);
        if (threadIdx.x % 32 == 0) {
            ring_copy(s.ring[slot], (const uint8_t *)w.tiles + at * codes, codes, &s.full[slot], policy);
            ring_copy(s.ring[slot] + codes, (const uint8_t *)w.scales + at * scales, scales, &s.full[slot], policy);
        }
    }
}

/* Column tiles of a warp lie side by side; if there are too few for all warps, some read what is another one's and multiply it by zeros. */
__device__ static inline expert_part experts_part_of(int col_tiles, int member)
{
    int each = (col_tiles + TEAM_WARPS - 1) / TEAM_WARPS, begin = min(each * member, col_tiles), end = min(begin + each, col_tiles), first = min(begin, col_tiles - CUT_TILES);
    return {first * MXFP4_TILE_BYTES, col_tiles * MXFP4_TILE_BYTES + first * MXFP4_TILE_SCALE_BYTES, first * MXFP4_TILE_COLS * (int)sizeof(__half), (1u << (end - first)) - (1u << (begin - first))};
}

/* What a lane knows of its warp's column tiles. */
struct experts_lane {
    int codes, scales;     /* where they begin in a slot, this lane's */
    uint4 x[CUT_TILES][2]; /* what the halves of a tile are multiplied by: column lane / 4 of the B operand */
};

__device__ static inline void experts_prepare(experts_lane &e, const __half *row, const expert_part &part, int lane)
{
    const uint8_t *x = (const uint8_t *)row + part.x + 16 * (lane % 4);
    e.codes = part.codes + 16 * lane;
    e.scales = part.scales + lane / 4 * 4;
    if (part.live == (1u << CUT_TILES) - 1) {
#pragma unroll
        for (int i = 0; i < 2 * CUT_TILES; i++) e.x[i / 2][i % 2] = *(const uint4 *)(x + i * MXFP4_TILE_COLS); /* half the columns, two bytes each */
    } else {
#pragma unroll
        for (int i = 0; i < 2 * CUT_TILES; i++) e.x[i / 2][i % 2] = part.live >> i / 2 & 1 ? *(const uint4 *)(x + i * MXFP4_TILE_COLS) : make_uint4(0, 0, 0, 0);
    }
}

/* Sums of a lane: of the upper and the lower row of its two, each for two columns of the B operand if there are. */
enum { EXPERTS_SIDE = SEQUENCES == 1 ? 1 : 2, EXPERTS_SUMS = 2 * EXPERTS_SIDE };

/* Half a column tile: what its two words come to, times the rows' scales. */
__device__ static inline void experts_add_half(float (&sums)[EXPERTS_SUMS], uint32_t low, uint32_t high, const uint4 &x, float upper, float lower)
{
    uint32_t first[4], second[4];
    float product[4] = {};
    mxfp4_fragment_half(low, first);
    mxfp4_fragment_half(high, second);
    mxfp4_mma_half(product, first, x.x, x.y);
    mxfp4_mma_half(product, second, x.z, x.w);
#pragma unroll
    for (int i = 0; i < EXPERTS_SIDE; i++) {
        sums[i] = fmaf(product[i], upper, sums[i]);
        sums[EXPERTS_SIDE + i] = fmaf(product[2 + i], lower, sums[EXPERTS_SIDE + i]);
    }
}

/* Sums of two rows over this warp's columns. */
__device__ static inline void experts_add(const experts_lane &e, const uint8_t *slot, float (&sums)[EXPERTS_SUMS])
{
#pragma unroll
    for (int i = 0; i < CUT_TILES; i++) {
        uint4 codes = *(const uint4 *)(slot + e.codes + i * MXFP4_TILE_BYTES);
        uint32_t scales = *(const uint32_t *)(slot + e.scales + i * MXFP4_TILE_SCALE_BYTES);
        experts_add_half(sums, codes.x, codes.y, e.x[i][0], mxfp4_scale(scales, 0), mxfp4_scale(scales, 2));
        experts_add_half(sums, codes.z, codes.w, e.x[i][1], mxfp4_scale(scales, 1), mxfp4_scale(scales, 3));
    }
}

/* Where a lane's sums of the block's row tile `unit` belong, counted from the sums' begin: rows 2 (lane / 4) and the next, each with so many columns. */
__device__ static inline int experts_place(int unit, int columns, int member, int lane)
{
    return member * SUMS + (unit * MXFP4_TILE_ROWS + lane / 4 * 2) * columns + 2 * (lane % 4);
}

__device__ static inline void experts_leave(const float (&sums)[EXPERTS_SUMS], int place, int columns, int lane)
{
    float *upper = &decode_memory().product.sums[0][0] + place;
    int column = 2 * (lane % 4);
    if (SEQUENCES == 1 && column == 0) *(float2 *)upper = make_float2(sums[0], sums[1]);
#pragma unroll
    for (int i = 0; SEQUENCES > 1 && i < EXPERTS_SIDE; i++) {
        if (column + i >= columns) break;
        upper[i] = sums[i];
        upper[columns + i] = sums[EXPERTS_SIDE + i];
    }
}

/* Copies the biases of n rows, behind everybody's back: no register waits for them. */
__device__ static inline void experts_ask_bias(const bf16 *bias, int n, int thread)
{
    if (2 * thread < n) RING_ASM("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(ring_address(decode_memory().product.bias + 2 * thread)), "l"(bias + 2 * thread) : "memory");
}

/* Of n of the block's rows, the first of which is the expert's row `first`, a thread for each and each column; words hold two activations, of four rows, or two elements of
 * what the expert gives. */
__device__ static inline void experts_finish(const decode_expert &e, int n, int first, bool biased, expert_product product)
{
    const decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    int thread = decode_thread(), bits = experts_column_bits(e), columns = 1 << bits, row = thread >> bits, column = thread & (columns - 1), user = experts_user(e, column);
    float bias = row < n ? __bfloat162float(s.product.bias[row]) : 0, sum = row < n ? sums_of(thread) * MXFP4_HALF_UNSCALE + (biased ? bias : 0) : 0;
    float next = __shfl_down_sync(~0u, sum, columns);
    int choice = e.choice[user], sequence = SEQUENCES == 1 ? 0 : e.sequence[user];
    bool whose = row < n && (SEQUENCES == 1 || column < e.users);
    decode_place p = decode_place_at(s.place, sequence);
    if (product == EXPERT_GATE_UP) {
        float activation = mxfp4_swiglu(sum, next, a.alpha, a.limit);
        next = __shfl_down_sync(~0u, activation, 2 * columns);
        if (whose && row % 4 == 0) words_store(p, a.places.activations + choice * a.intermediate / 2 + (first + row) / 4, words_pack_half(activation, next));
    } else {
        if (whose && row % 2 == 0) words_store(p, a.places.returned + choice * a.hidden / 2 + (first + row) / 2, attention_pack(sum, next));
    }
}

/* This warp's part of its team's units of `n`. */
__device__ static inline void experts_consume(decode_cursor c, const experts_lane &e, int n, int columns, int warp, int lane)
{
    int first = experts_place(0, columns, sums_member(warp), lane), tile = MXFP4_TILE_ROWS * columns;
    decode_skip(c, sums_team(warp));
#pragma unroll 1
    for (int place = first + sums_team(warp) * tile, end = first + n * tile; place < end; place += TEAMS * tile) { /* counts units and places at once: registers are short */
        float sums[EXPERTS_SUMS] = {};
        experts_add(e, decode_await(c), sums);
        decode_release(c, lane, TEAMS);
        experts_leave(sums, place, columns, lane);
    }
}

/* A product of one of the block's experts by all workers; of several sequences in as many rounds as the sums have room for. again: behind another one. */
__device__ static inline void experts_multiply(decode_cursor &c, const decode_expert &x, const mxfp4_stack &w, expert_product product, bool again)
{
    decode_shared &s = decode_memory();
    decode_range range = x.tiles[product];
    int thread = decode_thread(), lane = thread % 32, warp = thread / 32, bits = experts_column_bits(x), user = experts_user(x, lane / 4), most = SUMS / MXFP4_TILE_ROWS >> bits;
    experts_lane e;
    experts_prepare(e, product == EXPERT_GATE_UP ? s.halves[SEQUENCES == 1 ? 0 : x.sequence[user]] : s.activations[SEQUENCES == 1 ? 0 : max(x.row, 0) + user],
                    s.expert_parts[product][sums_member(warp)], lane);
#pragma unroll 1
    for (int begin = range.begin; begin < range.end; begin += most) {
        int units = min(range.end - begin, most), n = units * MXFP4_TILE_ROWS, first = begin * MXFP4_TILE_ROWS;
        if (again || begin > range.begin) decode_sync_workers(); /* when the sums of the round before are added up */
        if (w.bias) experts_ask_bias(w.bias + experts_id(x) * w.bias_stride + first, n, thread);
        experts_consume(c, e, units, 1 << bits, warp, lane);
        decode_skip(c, units);
        copy_async_wait();
        decode_sync_workers();
        if (warp * 32 < n << bits) experts_finish(x, n, first, w.bias != NULL, product);
        if (SEQUENCES == 1) break; /* all of them: cuda_decode.cu sees to it */
    }
}

DECODE_STAGE void experts_stage(decode_cursor &c, int l, expert_product product)
{
    decode_shared &s = decode_memory();
    const mxfp4_stack &w = product == EXPERT_GATE_UP ? s.layers[l % 2].gate_up : s.layers[l % 2].down;
#pragma unroll 1
    for (int i = 0; i < EXPERTS_OF_BLOCK; i++) {
        const decode_expert &x = s.experts[i];
        if (SEQUENCES > 1 && x.tiles[product].begin >= x.tiles[product].end) continue;
        if (SEQUENCES > 1 && product == EXPERT_DOWN && x.row < 0) vector_take_activations(x);
        experts_multiply(c, x, w, product, i > 0);
    }
}

#endif
