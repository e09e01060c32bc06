/* BF16 products of the decode kernel: the few matrix rows of a slot times the vectors that the block has, by tensor cores.
 *
 * Four rows by 64 columns make an A operand of mma.m16n8k16. Its row g (0..7) is matrix row g / 2 in half g % 2 of the columns: a lane's 16 bytes of a row hold
 * four pairs of columns, of which pairs 0 and 2 belong to A's row g, and 1 and 3 to row g + 8, so that a lane's registers are what one load brings. The vector
 * is the B operand: column n holds half n % 2 of it, of each four pairs 0 and 2 (n / 2 even) or 1 and 3 (odd), n / 4 is which of two vectors, if there are more than
 * one. Of D's elements those count where both sides mean the same columns; a matrix row has four of them for a vector. For the B operand a vector lies with each four
 * pairs in the order 0, 2, 1, 3. */
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

/* Chunks, of 32 columns in either half of the vector, that a warp has: most, and of MAX_HIDDEN. Vectors have at least DENSE_FEW. */
enum { DENSE_CHUNK = 64, DENSE_CHUNKS = (MAX_ATTN / 64 + TEAM_WARPS - 1) / TEAM_WARPS, DENSE_FEW = (MAX_HIDDEN / 64 + TEAM_WARPS - 1) / TEAM_WARPS };
static_assert((int)DENSE_FEW <= (int)CUT_TILES && TEAM_WARPS * DENSE_FEW >= DENSE_CHUNKS, "of what is served, no vector has fewer chunks than a warp reads");

/* Halves that lie a multiple of 128 bytes apart would be read from the same banks: there the lanes of the second half take each two chunks in the opposite order. */
__device__ static inline dense_part dense_part_of(int cols, int member)
{
    int chunks = cols / 64, begin = chunks * member / TEAM_WARPS, end = chunks * (member + 1) / TEAM_WARPS;
    bool many = (chunks + TEAM_WARPS - 1) / TEAM_WARPS > DENSE_FEW;
    int first = min(begin, chunks - (many ? (int)DENSE_CHUNKS : (int)DENSE_FEW));
    return {first * DENSE_CHUNK, cols % 128 ? 0 : first % 2 ? -DENSE_CHUNK : DENSE_CHUNK, (1u << (end - first)) - (1u << (begin - first)), many};
}

/* By the producer's warp, as are the others of this name. */
__device__ static void dense_produce(int &units, const bf16 *w, dense_kind kind, uint64_t policy)
{
    decode_shared &s = decode_memory();
    const dense_plan &p = s.dense[kind];
    const uint8_t *bytes = (const uint8_t *)w;
    for (int row = p.rows.begin; row < p.rows.end; row += p.at_once, units++) {
        uint32_t size = (uint32_t)(p.row_bytes * min(p.at_once, p.rows.end - row));
        int slot = decode_begin_fill(units, size);
        if (threadIdx.x % 32 == 0) ring_copy(s.ring[slot], bytes + (int64_t)row * p.row_bytes, size, &s.full[slot], policy);
    }
}

/* Where pair `pair` of a vector (two elements) lies in it, in pairs. */
__device__ static inline int dense_place(int pair)
{
    int within = pair % 4;
    return pair - within + (within % 2 * 2 + within / 2);
}

/* Pairs of vectors, each a B operand. */
enum { DENSE_OPERANDS = (SEQUENCES + 1) / 2 };

/* A lane's part of the vectors, and where its part of a row is. */
struct dense_lane {
    int offsets[2]; /* of even and odd chunks of this warp's, within a slot, but for the chunk's own */
    uint2 x[DENSE_OPERANDS][DENSE_CHUNKS];
    bool many; /* more chunks than DENSE_FEW */
};

/* Chunks [FROM, TO) of the vectors. */
template <int FROM, int TO> __device__ static inline void dense_take(dense_lane &d, const uint8_t *x, int stride, unsigned live, int lane)
{
    bool all = (live >> FROM & ((1u << (TO - FROM)) - 1)) == (1u << (TO - FROM)) - 1;
#pragma unroll
    for (int j = 0; j < DENSE_OPERANDS; j++) {
        const uint8_t *vector = SEQUENCES == 1 ? x : x + min(2 * j + lane / 16, decode_sequences() - 1) * stride;
#pragma unroll
        for (int i = FROM; i < TO; i++) d.x[j][i] = all || (live >> i & 1) ? *(const uint2 *)(vector + d.offsets[i % 2] + i * DENSE_CHUNK) : make_uint2(0, 0);
    }
}

__device__ static inline void dense_prepare(dense_lane &d, const dense_plan &p, const dense_part &part, int lane)
{
    int half = lane / 4 % 2, at = half * (p.row_bytes / 2) + part.offset + lane % 4 * 16, turn = half * part.turn;
    const uint8_t *x = (const uint8_t *)decode_memory().attn + lane / 8 % 2 * 8;
    d.offsets[0] = at + turn;
    d.offsets[1] = at - turn;
    d.many = part.many;
    dense_take<0, DENSE_FEW>(d, x, p.stride, part.live, lane);
    dense_take<DENSE_FEW, DENSE_CHUNKS>(d, x, p.stride, part.live, lane);
}

/* Chunks [FROM, TO) of a row. What is not this warp's own is zeros in the vector. */
template <int FROM, int TO> __device__ static inline void dense_add(float (&sums)[DENSE_OPERANDS][2][4], const dense_lane &d, const uint8_t *row)
{
    uint4 a[TO - FROM];
#pragma unroll
    for (int i = FROM; i < TO; i++) a[i - FROM] = *(const uint4 *)(row + d.offsets[i % 2] + i * DENSE_CHUNK);
#pragma unroll
    for (int i = FROM; i < TO; i++) {
        const uint32_t registers[4] = {a[i - FROM].x, a[i - FROM].y, a[i - FROM].z, a[i - FROM].w};
#pragma unroll
        for (int j = 0; j < DENSE_OPERANDS; j++) attention_mma(sums[j][i % 2], registers, d.x[j][i].x, d.x[j][i].y);
    }
}

/* From D's elements to of[matrix row of these, sequence]. D's row g is pairs 0 and 2, in columns of lanes with t even; row g + 8 the others, in those of lanes with t odd. */
__device__ static inline void dense_leave(const float (&sums)[DENSE_OPERANDS][2][4], float *of, int rows, int lane)
{
    int t = lane % 4, half = lane / 4 % 2, row = lane / 8;
#pragma unroll
    for (int j = 0; j < DENSE_OPERANDS; j++) {
        const float(&d)[2][4] = sums[j];
        float upper = half ? d[0][1] + d[1][1] : d[0][0] + d[1][0], lower = half ? d[0][3] + d[1][3] : d[0][2] + d[1][2];
        float mine = t % 2 ? lower : upper;
        mine += __shfl_xor_sync(~0u, mine, 1);
        mine += __shfl_xor_sync(~0u, mine, 4);
        int sequence = 2 * j + t / 2;
        if (t % 2 == 0 && half == 0 && row < rows && sequence < SEQUENCES) of[row * SEQUENCES + sequence] = mine;
    }
}

/* This warp's part of its team's rows of [0, n), whose sums it leaves. */
__device__ static inline void dense_consume(decode_cursor c, const dense_lane &d, int n, const dense_plan &p, int warp, int lane)
{
    decode_shared &s = decode_memory();
    int team = sums_team(warp), at_once = p.at_once, row_bytes = p.row_bytes;
    decode_skip(c, team);
#pragma unroll 1
    for (int first = team * at_once; first < n; first += TEAMS * at_once) {
        int rows = min(at_once, n - first);
        float sums[DENSE_OPERANDS][2][4] = {};
        const uint8_t *row = decode_await(c) + min(lane / 8, rows - 1) * row_bytes;
        dense_add<0, DENSE_FEW>(sums, d, row);
        if (d.many) dense_add<DENSE_FEW, DENSE_CHUNKS>(sums, d, row);
        decode_release(c, lane, TEAMS);
        dense_leave(sums, s.product.sums[sums_member(warp)] + first * SEQUENCES, rows, lane);
    }
}

/* Of n of the block's rows from `first` on, a thread for each and each sequence. */
__device__ static inline void dense_finish(const dense_plan &p, int first, int n, float bias)
{
    decode_shared &s = decode_memory();
    int thread = decode_thread(), row = thread / SEQUENCES, sequence = thread % SEQUENCES;
    float sum = row < n ? sums_of(thread) + bias : 0, next = __shfl_down_sync(~0u, sum, SEQUENCES);
    if (row >= n || sequence >= decode_sequences()) return;
    decode_place to = decode_place_at(s.place, sequence);
    if (p.target == DENSE_LOGITS) s.args.logits[(int64_t)sequence * s.args.vocab + first + row] = sum;
    if (p.target == DENSE_WORDS) words_store(to, p.place + first + row, sum);
    if (p.target == DENSE_PAIRS && row % 2 == 0) words_store(to, p.place + (first + row) / 2, attention_pack(sum, next)); /* such ranges begin and end with a pair */
}

/* Of the vectors in `normed` or `attn`, which is one place; in rounds, as the sums have room for. By all workers. */
DECODE_STAGE void dense_stage(decode_cursor &c, int l, dense_kind kind)
{
    decode_shared &s = decode_memory();
    const dense_plan &p = s.dense[kind];
    int thread = decode_thread(), lane = thread % 32, warp = thread / 32, row = thread / SEQUENCES, first = p.rows.begin;
    const bf16 *bias = kind == DENSE_HEAD ? NULL : *(const bf16 *const *)((const uint8_t *)&s.layers[l % 2] + p.bias);
    dense_lane d;
    dense_prepare(d, p, s.dense_parts[kind == DENSE_OUT][sums_member(warp)], lane);
#pragma unroll 1
    for (int left = p.units; left > 0; left -= p.most) {
        int units = min(left, p.most), n = min(p.rows.end - first, units * p.at_once);
        unsigned short more = sums_ask_bias(bias + first + row, bias && row < n);
        if (left < p.units) decode_sync_workers();
        dense_consume(c, d, n, p, warp, lane);
        decode_skip(c, units);
        decode_sync_workers();
        if (thread - lane < n * SEQUENCES) dense_finish(p, first, n, sums_bias(more));
        first += n;
    }
}

#endif
