/* BF16 products of the decode kernel: a warp multiplies the few matrix rows of a slot with the vector that the block has, by tensor cores.
 *
 * Four rows by 64 columns make an A operand of mma.m16n8k16. Its row g (0..7) is matrix row g / 2 in half g % 2 of the columns: a lane's 16 bytes of a row hold
 * four pairs of columns, of which pairs 0 and 2 belong to A's row g, and 1 and 3 to row g + 8, so that a lane's registers are what one load brings. The vector
 * is the B operand: column n holds half n % 2 of it, of each four pairs 0 and 2 (n / 2 even) or 1 and 3 (odd). Of D's elements those count
 * where both sides mean the same columns; a matrix row has four of them. For the B operand the vector lies with each four pairs in the order 0, 2, 1, 3. */
#ifndef KERNELS_CUDA_CUDA_DECODE_DENSE_CUH
#define KERNELS_CUDA_CUDA_DECODE_DENSE_CUH

#include "kernels/cuda/cuda_attention_tile.cuh"
#include "kernels/cuda/cuda_decode_words.cuh"

/* Rows of a matrix that share a slot. */
__device__ static inline int dense_slot_rows(int cols)
{
    return cols * (int)sizeof(bf16) * 4 <= SLOT_BYTES ? 4 : 3;
}
static_assert(MAX_ATTN * sizeof(bf16) * 3 <= SLOT_BYTES && MAX_HIDDEN <= MAX_ATTN, "a slot holds 3 rows, or 4");

__device__ static inline int dense_units(decode_range range, int cols)
{
    int rows = dense_slot_rows(cols), n = range.end - range.begin + rows - 1;
    return rows == 4 ? n / 4 : n / 3;
}

/* By the producer's warp, as are the other two. */
__device__ static void dense_produce(int &units, const bf16 *w, decode_range range, int cols, uint64_t policy)
{
    decode_shared &s = decode_memory();
    uint32_t row_bytes = (uint32_t)cols * sizeof(bf16);
    int at_once = dense_slot_rows(cols);
    for (int row = range.begin; row < range.end; row += at_once, units++) {
        uint32_t bytes = row_bytes * (uint32_t)min(at_once, range.end - row);
        int slot = decode_begin_fill(units, bytes);
        if (threadIdx.x % 32 == 0) ring_copy(s.ring[slot], w + (int64_t)row * cols, bytes, &s.full[slot], policy);
    }
}

/* Where pair `pair` of a vector (two elements) lies in it, in pairs. */
__device__ static inline int dense_place(int pair)
{
    int within = pair % 4;
    return pair - within + (within % 2 * 2 + within / 2);
}

/* The slot's `rows` rows times the vector; lane 8 r gets row r's result. cols: a multiple of 64.
 * Halves that lie a multiple of 128 bytes apart would be read from the same banks: their lanes then take two chunks in the opposite order. */
__device__ static inline float dense_rows(const uint8_t *w, const uint8_t *x, int rows, int cols, int lane)
{
    enum { CHUNK = 64, AT_ONCE = 4 }; /* bytes of 32 columns; chunks */
    int g = lane / 4, t = lane % 4, half = g % 2, bytes = cols, turn = bytes % 128 == 0 ? half * CHUNK : 0; /* bytes: of half a row */
    float sums[AT_ONCE][4] = {};
    w += min(g / 2, rows - 1) * 2 * bytes + half * bytes + 16 * t + turn;
    x += half * bytes + 16 * t + g / 2 % 2 * 8 + turn;
    turn *= 2;
    int i = 0;
#pragma unroll 1
    for (; i + AT_ONCE * CHUNK <= bytes; i += AT_ONCE * CHUNK) {
        uint4 a[AT_ONCE];
        uint2 b[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            a[j] = *(const uint4 *)(w + i + j * CHUNK - (j % 2 ? turn : 0));
            b[j] = *(const uint2 *)(x + i + j * CHUNK - (j % 2 ? turn : 0));
        }
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            const uint32_t registers[4] = {a[j].x, a[j].y, a[j].z, a[j].w};
            attention_mma(sums[j], registers, b[j].x, b[j].y);
        }
    }
#pragma unroll 1
    for (int j = 0; i < bytes; i += CHUNK, j++) {
        uint4 a = *(const uint4 *)(w + i - (j % 2 ? turn : 0));
        uint2 b = *(const uint2 *)(x + i - (j % 2 ? turn : 0));
        const uint32_t registers[4] = {a.x, a.y, a.z, a.w};
        attention_mma(sums[0], registers, b.x, b.y);
    }
    float mine = 0; /* D's row g is pairs 0 and 2, in columns 0 and 1, which are lane t = 0's; row g + 8 the others, in columns 2 and 3 */
#pragma unroll
    for (int j = 0; j < AT_ONCE; j++) mine += t == 0 ? half ? sums[j][1] : sums[j][0] : half ? sums[j][3] : sums[j][2];
    mine += __shfl_xor_sync(~0u, mine, 1);
    return mine + __shfl_xor_sync(~0u, mine, 4);
}

/* Where a product's rows go: words from `place` on, rounded to BF16 or not, or the logits. */
enum dense_target { DENSE_WORDS_BF16, DENSE_WORDS, DENSE_LOGITS };

/* Of the vector in `normed` or `attn`, which is one place; bias NULL: none. So many units went through the ring before. */
DECODE_STAGE void dense_product(int units, const bf16 *bias, decode_shares share, int cols, dense_target target, int place, decode_place p)
{
    decode_shared &s = decode_memory();
    int thread = decode_thread(), lane = thread % 32, warp = thread / 32, at_once = dense_slot_rows(cols);
    decode_range range = s.shares[share];
    int n = warp < CONSUMERS ? range.end - range.begin : 0;
#pragma unroll 1
    for (int unit = warp; unit * at_once < n; unit += CONSUMERS) {
        int slot = (units + unit) % SLOTS, first = range.begin + unit * at_once, rows = min(at_once, n - unit * at_once), mine = first + lane / 8;
        bool has = lane % 8 == 0 && lane / 8 < rows;
        unsigned short more = has && bias ? __ldg((const unsigned short *)bias + mine) : (unsigned short)0; /* not looked at before it is needed */
        decode_wait_filled(units + unit);
        float sum = dense_rows(s.ring[slot], (const uint8_t *)s.attn, rows, cols, lane);
        __syncwarp();
        if (lane == 0) decode_arrive(&s.empty[slot], SLOT_ARRIVALS);
        sum += __uint_as_float((uint32_t)more << 16);
        if (!has) continue;
        if (target == DENSE_LOGITS)
            s.args.logits[mine] = sum;
        else
            words_store(p, place + mine, target == DENSE_WORDS ? sum : decode_round(sum));
    }
}

#endif
