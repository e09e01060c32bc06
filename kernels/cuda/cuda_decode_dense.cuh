/* BF16 products of the decode kernel: a warp multiplies a matrix row from the ring with the vector that it holds in registers. */
#ifndef KERNELS_CUDA_CUDA_DECODE_DENSE_CUH
#define KERNELS_CUDA_CUDA_DECODE_DENSE_CUH

#include "kernels/cuda/cuda_decode.cuh"

/* How a matrix is cut: CHUNKS 16-byte chunks of a row for each lane, ROWS rows a slot. */
template <int CHUNKS, int ROWS> struct dense_cut {
    static constexpr int chunks = CHUNKS, rows = ROWS;
    static_assert(CHUNKS * 512 * ROWS <= SLOT_BYTES && SLOT_ARRIVALS % ROWS == 0, "a slot holds the rows, and each number of rows divides the arrivals");
};
typedef dense_cut<12, 4> dense_hidden; /* rows of up to 3072 elements */
typedef dense_cut<16, 3> dense_attn;   /* rows of up to 4096 */
static_assert(MAX_HIDDEN <= 12 * 256 && MAX_ATTN <= 16 * 256, "a warp holds a whole vector");

template <typename cut> __device__ static void dense_produce(decode_shared &s, int &units, const bf16 *w, int rows, int cols, uint64_t policy)
{
    decode_range range = decode_share(rows);
    uint32_t row_bytes = (uint32_t)cols * sizeof(bf16);
    for (int row = range.begin; row < range.end; row += cut::rows, units++) {
        uint32_t bytes = row_bytes * (uint32_t)min(cut::rows, range.end - row);
        int slot = decode_begin_fill(s, units, bytes);
        ring_copy(s.ring[slot], w + (int64_t)row * cols, bytes, &s.full[slot], policy);
    }
}

__device__ static inline float dense_add(uint4 w, uint4 x, float sum)
{
    const uint32_t ws[4] = {w.x, w.y, w.z, w.w};
    uint32_t xs[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        asm volatile("" : "+r"(xs[i])); /* or the compiler keeps all of x as F32, for which there are no registers */
        sum = fmaf(__uint_as_float(ws[i] << 16), __uint_as_float(xs[i] << 16), sum);
        sum = fmaf(__uint_as_float(ws[i] & 0xffff0000u), __uint_as_float(xs[i] & 0xffff0000u), sum);
    }
    return sum;
}

/* Lane 0 of a warp is handed its rows, bias (NULL: none) added: emit(row, sum). `vector` in shared memory, cols a multiple of 8. */
template <typename cut, typename emitter>
__device__ static void dense_consume(decode_shared &s, decode_place &p, const bf16 *vector, const bf16 *bias, int rows, int cols, const emitter &emit)
{
    int thread = decode_thread(), lane = thread % 32, warp = thread / 32, chunks = cols / 8;
    decode_range range = decode_share(rows);
    int n = range.end - range.begin, units = (n + cut::rows - 1) / cut::rows;
    if (warp < CONSUMERS && warp < n) {
        uint4 x[cut::chunks];
#pragma unroll
        for (int i = 0; i < cut::chunks; i++) x[i] = lane + 32 * i < chunks ? ((const uint4 *)vector)[lane + 32 * i] : make_uint4(0, 0, 0, 0);
        for (int row = warp; row < n; row += CONSUMERS) {
            int unit = row / cut::rows, slot = (p.units + unit) % SLOTS;
            const uint4 *w = (const uint4 *)(s.ring[slot] + (row % cut::rows) * cols * (int)sizeof(bf16)) + lane;
            float sums[2] = {}, more = bias ? __bfloat162float(bias[range.begin + row]) : 0;
            decode_wait_filled(s, p.units + unit);
#pragma unroll
            for (int i = 0; i < cut::chunks; i++) sums[i % 2] = dense_add(lane + 32 * i < chunks ? w[32 * i] : make_uint4(0, 0, 0, 0), x[i], sums[i % 2]);
            __syncwarp();
            if (lane == 0) decode_arrive(&s.empty[slot], SLOT_ARRIVALS / min(cut::rows, n - unit * cut::rows));
            float sum = decode_warp_sum(sums[0] + sums[1]);
            if (lane == 0) emit(range.begin + row, sum + more);
        }
    }
    p.units += units;
}

#endif
