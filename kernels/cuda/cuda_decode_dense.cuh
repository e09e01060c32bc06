/* BF16 products of the decode kernel: the few matrix rows of a slot times the vector that the block has, by tensor cores.
 *
 * Four rows by 64 columns make an A operand of mma.m16n8k16. Its row g (0..7) is matrix row g / 2 in half g % 2 of the columns: a lane's 16 bytes of a row hold
 * four pairs of columns, of which pairs 0 and 2 belong to A's row g, and 1 and 3 to row g + 8, so that a lane's registers are what one load brings. The vector
 * is the B operand: column n holds half n % 2 of it, of each four pairs 0 and 2 (n / 2 even) or 1 and 3 (odd). Of D's elements those count
 * where both sides mean the same columns; a matrix row has four of them. For the B operand the vector lies with each four pairs in the order 0, 2, 1, 3. */
#ifndef KERNELS_CUDA_CUDA_DECODE_DENSE_CUH
#define KERNELS_CUDA_CUDA_DECODE_DENSE_CUH

#include "kernels/cuda/cuda_attention_tile.cuh"
#include "kernels/cuda/cuda_decode_sums.cuh"

/* Rows of a matrix that share a slot. */
__device__ static inline int dense_slot_rows(int cols)
{
    return cols * (int)sizeof(bf16) * 4 <= SLOT_BYTES ? 4 : 3;
}
static_assert(MAX_ATTN * sizeof(bf16) * 3 <= SLOT_BYTES && MAX_HIDDEN <= MAX_ATTN, "a slot holds 3 rows, or 4");

/* Chunks, of 32 columns in either half of the vector, that a warp has: most, and of MAX_HIDDEN. */
enum { DENSE_CHUNK = 64, DENSE_CHUNKS = (MAX_ATTN / 64 + TEAM_WARPS - 1) / TEAM_WARPS, DENSE_FEW = (MAX_HIDDEN / 64 + TEAM_WARPS - 1) / TEAM_WARPS };

/* By the producer's warp, as are the others of this name. */
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

/* A lane's part of the vector, and where its part of a row is. Halves that lie a multiple of 128 bytes apart would be read from the same banks: there the lanes of
 * the second half take each two chunks in the opposite order. */
struct dense_lane {
    int offsets[2]; /* of even and odd chunks of this warp's, within a slot, but for the chunk's own */
    uint2 x[DENSE_CHUNKS];
    bool many; /* more chunks than DENSE_FEW */
};

__device__ static inline void dense_prepare(dense_lane &d, const uint8_t *x, int cols, int member, int lane)
{
    int half = lane / 4 % 2, half_bytes = cols, chunks = cols / 64, first = chunks * member / TEAM_WARPS, n = chunks * (member + 1) / TEAM_WARPS - first;
    int turn = half_bytes % 128 == 0 ? half * (first % 2 ? -DENSE_CHUNK : DENSE_CHUNK) : 0, at = half * half_bytes + first * DENSE_CHUNK + lane % 4 * 16;
    d.offsets[0] = at + turn;
    d.offsets[1] = at - turn;
    d.many = n > DENSE_FEW;
    x += lane / 8 % 2 * 8;
#pragma unroll
    for (int i = 0; i < DENSE_CHUNKS; i++) d.x[i] = i < n ? *(const uint2 *)(x + d.offsets[i % 2] + i * DENSE_CHUNK) : make_uint2(0, 0);
}

/* Chunks [FROM, TO) of this warp's. What it has fewer are zeros in the vector, and whatever number the row has there. */
template <int FROM, int TO> __device__ static inline void dense_add(float (&sums)[2][4], const dense_lane &d, const uint8_t *row, int last)
{
    uint4 a[TO - FROM];
#pragma unroll
    for (int i = FROM; i < TO; i++) a[i - FROM] = *(const uint4 *)(row + min(d.offsets[i % 2] + i * DENSE_CHUNK, last));
#pragma unroll
    for (int i = FROM; i < TO; i++) {
        const uint32_t registers[4] = {a[i - FROM].x, a[i - FROM].y, a[i - FROM].z, a[i - FROM].w};
        attention_mma(sums[i % 2], registers, d.x[i].x, d.x[i].y);
    }
}

/* This warp's part of its team's rows of [0, n), whose sums it leaves. */
__device__ static inline void dense_consume(decode_cursor c, const dense_lane &d, int n, int at_once, int cols, int warp, int lane)
{
    decode_shared &s = decode_memory();
    int t = lane % 4, half = lane / 4 % 2, last = 2 * cols - 16, team = sums_team(warp), member = sums_member(warp);
    decode_skip(c, team);
#pragma unroll 1
    for (int first = team * at_once; first < n; first += TEAMS * at_once) {
        int rows = min(at_once, n - first);
        float sums[2][4] = {};
        const uint8_t *row = decode_await(c) + min(lane / 8, rows - 1) * 2 * cols;
        dense_add<0, DENSE_FEW>(sums, d, row, last);
        if (d.many) dense_add<DENSE_FEW, DENSE_CHUNKS>(sums, d, row, last);
        decode_release(c, lane, TEAMS);
        /* D's row g is pairs 0 and 2, in columns 0 and 1, which are lane t = 0's; row g + 8 the others, in columns 2 and 3 */
        float upper = half ? sums[0][1] + sums[1][1] : sums[0][0] + sums[1][0], lower = half ? sums[0][3] + sums[1][3] : sums[0][2] + sums[1][2];
        float mine = t == 0 ? upper : lower;
        mine += __shfl_xor_sync(~0u, mine, 1);
        mine += __shfl_xor_sync(~0u, mine, 4);
        if (lane % 8 == 0 && lane / 8 < rows) s.product.sums[member][first + lane / 8] = mine;
    }
}

/* Where a product's rows go: words from `place` on, two to a word in BF16 or as they are, or the logits. */
enum dense_target { DENSE_PAIRS, DENSE_WORDS, DENSE_LOGITS };

/* Of the vector in `normed` or `attn`, which is one place; bias NULL: none. By all workers. */
DECODE_STAGE void dense_product(decode_cursor &c, const bf16 *bias, decode_shares share, int cols, dense_target target, int place, decode_place p)
{
    decode_shared &s = decode_memory();
    decode_range range = s.shares[share];
    int thread = decode_thread(), lane = thread % 32, warp = thread / 32, at_once = dense_slot_rows(cols), most = MAX_SUMS / at_once * at_once;
    dense_lane d;
    dense_prepare(d, (const uint8_t *)s.attn, cols, sums_member(warp), lane);
#pragma unroll 1
    for (int first = range.begin; first < range.end; first += most) {
        int n = min(range.end - first, most), mine = first + thread;
        unsigned short more = sums_ask_bias(bias + mine, bias && thread < n);
        if (first > range.begin) decode_sync_workers();
        dense_consume(c, d, n, at_once, cols, warp, lane);
        decode_skip(c, (n + at_once - 1) / at_once);
        decode_sync_workers();
        if (thread - lane >= n) continue;
        float sum = thread < n ? sums_of(thread) + sums_bias(more) : 0, next = __shfl_down_sync(~0u, sum, 1);
        if (thread >= n) continue;
        if (target == DENSE_LOGITS) s.args.logits[mine] = sum;
        if (target == DENSE_WORDS) words_store(p, place + mine, sum);
        if (target == DENSE_PAIRS && thread % 2 == 0) words_store(p, place + mine / 2, attention_pack(sum, next)); /* such ranges begin and end with a pair */
    }
}

#endif
