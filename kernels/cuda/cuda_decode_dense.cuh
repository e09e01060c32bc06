/* BF16 products of the decode kernel: a warp multiplies a matrix row from the ring with the vector that the block has. */
#ifndef KERNELS_CUDA_CUDA_DECODE_DENSE_CUH
#define KERNELS_CUDA_CUDA_DECODE_DENSE_CUH

#include "kernels/cuda/cuda_decode_words.cuh"

/* Rows of a matrix that share a slot. */
__device__ static inline int dense_slot_rows(int cols)
{
    int rows = SLOT_BYTES / (cols * (int)sizeof(bf16));
    return rows > 4 ? 4 : rows;
}
static_assert(MAX_ATTN * sizeof(bf16) * 3 <= SLOT_BYTES && MAX_HIDDEN <= MAX_ATTN && SLOT_ARRIVALS % 12 == 0, "a slot holds 3 or 4 rows; 1 to 4 divide its arrivals");

__device__ static inline int dense_units(int rows, int cols)
{
    decode_range range = decode_share(rows);
    int at_once = dense_slot_rows(cols);
    return (range.end - range.begin + at_once - 1) / at_once;
}

__device__ static void dense_produce(int &units, const bf16 *w, int rows, int cols, uint64_t policy)
{
    decode_shared &s = decode_memory();
    decode_range range = decode_share(rows);
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
    int i = lane;
    for (; i + 32 * (BATCH - 1) < chunks; i += 32 * BATCH) {
#pragma unroll
        for (int j = 0; j < BATCH; j++) sums[j] = dense_add(w[i + 32 * j], x[i + 32 * j], sums[j]);
    }
    for (; i < chunks; i += 32) sums[0] = dense_add(w[i], x[i], sums[0]);
    return sums[0] + sums[1] + (sums[2] + sums[3]);
}

/* Where a product's rows go: words from `place` on, rounded to BF16 or not, or the logits. */
enum dense_target { DENSE_WORDS_BF16, DENSE_WORDS, DENSE_LOGITS };

/* Of the vector in `normed` or `attn`, which is one place; cols a multiple of 8; bias NULL: none. So many units went through the ring before. */
DECODE_STAGE void dense_product(int units, const bf16 *bias, int rows, int cols, dense_target target, int place, decode_place p)
{
    decode_shared &s = decode_memory();
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, at_once = dense_slot_rows(cols);
    decode_range range = decode_share(rows);
    int n = range.end - range.begin;
    if (warp >= CONSUMERS || warp >= n) return;
    float next = bias ? __bfloat162float(bias[range.begin + warp]) : 0; /* biases come from memory: a row ahead */
    for (int row = warp; row < n; row += CONSUMERS) {
        int unit = row / at_once, within = row - unit * at_once, slot = (units + unit) % SLOTS;
        float more = next;
        if (bias && row + CONSUMERS < n) next = __bfloat162float(bias[range.begin + row + CONSUMERS]);
        decode_wait_filled(units + unit);
        float sum = dense_row((const uint4 *)(s.ring[slot] + within * cols * (int)sizeof(bf16)), (const uint4 *)s.attn, cols / 8, lane);
        __syncwarp();
        if (lane == 0) decode_arrive(&s.empty[slot], SLOT_ARRIVALS / min(at_once, n - unit * at_once));
        sum = decode_warp_sum(sum) + more;
        if (lane > 0) continue;
        if (target == DENSE_LOGITS)
            s.args.logits[range.begin + row] = sum;
        else
            words_store(p, place + range.begin + row, target == DENSE_WORDS ? sum : decode_round(sum));
    }
}

#endif
