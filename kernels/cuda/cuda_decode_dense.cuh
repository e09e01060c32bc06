/* BF16 products of the decode kernel: a warp multiplies a matrix row from the ring with the vector that the block has. */
#ifndef KERNELS_CUDA_CUDA_DECODE_DENSE_CUH
#define KERNELS_CUDA_CUDA_DECODE_DENSE_CUH

#include "kernels/cuda/cuda_decode_words.cuh"

/* Rows of a matrix that share a slot. */
__device__ static inline int dense_slot_rows(int cols)
{
    return cols * (int)sizeof(bf16) * 4 <= SLOT_BYTES ? 4 : 3;
}
static_assert(MAX_ATTN * sizeof(bf16) * 3 <= SLOT_BYTES && MAX_HIDDEN <= MAX_ATTN && SLOT_ARRIVALS % 12 == 0, "a slot holds 3 rows, or 4; 1 to 4 divide its arrivals");

__device__ static inline int dense_unit(int row, int rows) { return rows == 4 ? row / 4 : row / 3; }

__device__ static inline int dense_units(decode_range range, int cols)
{
    int rows = dense_slot_rows(cols);
    return dense_unit(range.end - range.begin + rows - 1, rows);
}

__device__ static void dense_produce(int &units, const bf16 *w, decode_range range, int cols, uint64_t policy)
{
    decode_shared &s = decode_memory();
    uint32_t row_bytes = (uint32_t)cols * sizeof(bf16);
    int at_once = dense_slot_rows(cols);
    for (int row = range.begin; row < range.end; row += at_once, units++) {
        uint32_t bytes = row_bytes * (uint32_t)min(at_once, range.end - row);
        int slot = decode_begin_fill(units, bytes);
        ring_copy(s.ring[slot], w + (int64_t)row * cols, bytes, &s.full[slot], policy);
    }
}

__device__ static inline float dense_add(uint4 w, uint4 x, float sum)
{
    const uint32_t ws[4] = {w.x, w.y, w.z, w.w}, xs[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sum = fmaf(__uint_as_float(ws[i] << 16), __uint_as_float(xs[i] << 16), sum);
        sum = fmaf(__uint_as_float(ws[i] & 0xffff0000u), __uint_as_float(xs[i] & 0xffff0000u), sum);
    }
    return sum;
}

/* A row times the vector: this lane's part. chunks: of 16 bytes. */
__device__ static inline float dense_row(const uint4 *w, const uint4 *x, int chunks, int lane)
{
    enum { BATCH = 4 };
    float sums[BATCH] = {};
#pragma unroll 1
    for (int i = lane; i < chunks; i += 32 * BATCH) {
        uint4 ws[BATCH], xs[BATCH];
#pragma unroll
        for (int j = 0; j < BATCH; j++) {
            bool there = i + 32 * j < chunks;
            ws[j] = there ? w[i + 32 * j] : make_uint4(0, 0, 0, 0);
            xs[j] = there ? x[i + 32 * j] : make_uint4(0, 0, 0, 0);
        }
        asm volatile("" ::: "memory"); /* all loads first: the compiler would rather save registers */
#pragma unroll
        for (int j = 0; j < BATCH; j++) sums[j] = dense_add(ws[j], xs[j], sums[j]);
    }
    return sums[0] + sums[1] + (sums[2] + sums[3]);
}

/* Where a product's rows go: words from `place` on, rounded to BF16 or not, or the logits. */
enum dense_target { DENSE_WORDS_BF16, DENSE_WORDS, DENSE_LOGITS };

/* Of the vector in `normed` or `attn`, which is one place; cols a multiple of 8; bias NULL: none. So many units went through the ring before. */
DECODE_STAGE void dense_product(int units, const bf16 *bias, decode_shares share, int cols, dense_target target, int place, decode_place p)
{
    decode_shared &s = decode_memory();
    int thread = decode_thread(), lane = thread % 32, warp = thread / 32, at_once = dense_slot_rows(cols);
    decode_range range = s.shares[share];
    int n = warp < CONSUMERS ? range.end - range.begin : 0;
    const unsigned short *biases = (const unsigned short *)bias + range.begin;
    unsigned short mine = bias && warp < n ? __ldg(biases + warp) : (unsigned short)0; /* asked for a row ahead, and not looked at before it is needed */
#pragma unroll 1
    for (int row = warp; row < n; row += CONSUMERS) {
        int unit = dense_unit(row, at_once), within = row - unit * at_once, slot = (units + unit) % SLOTS;
        unsigned short next = bias && row + CONSUMERS < n ? __ldg(biases + row + CONSUMERS) : (unsigned short)0;
        decode_wait_filled(units + unit);
        float sum = dense_row((const uint4 *)(s.ring[slot] + within * cols * (int)sizeof(bf16)), (const uint4 *)s.attn, cols / 8, lane);
        __syncwarp();
        if (lane == 0) decode_arrive(&s.empty[slot], SLOT_ARRIVALS / min(at_once, n - unit * at_once));
        sum = decode_warp_sum(sum) + __uint_as_float((uint32_t)mine << 16);
        mine = next;
        if (lane > 0) continue;
        if (target == DENSE_LOGITS)
            s.args.logits[range.begin + row] = sum;
        else
            words_store(p, place + range.begin + row, target == DENSE_WORDS ? sum : decode_round(sum));
    }
}

#endif
