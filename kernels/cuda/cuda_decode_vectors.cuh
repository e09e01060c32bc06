/* Vectors of the decode kernel: what all blocks gather, each for itself, between the products. Every block keeps the whole residual stream; thread i of it
 * owns the elements 4 i to 4 i + 3, and the same of i + VECTOR_THREADS if there are so many. Not all workers are used: there is more to do for a warp than for
 * an element. A thread with fewer elements than others reads its last ones twice. */
#ifndef KERNELS_CUDA_CUDA_DECODE_VECTORS_CUH
#define KERNELS_CUDA_CUDA_DECODE_VECTORS_CUH

#include <cuda_fp16.h>

#include "kernels/cuda/cuda_decode_dense.cuh"

enum { VECTOR_WARPS = 12, VECTOR_THREADS = 32 * VECTOR_WARPS, VECTOR_QUADS = (MAX_HIDDEN / 4 + VECTOR_THREADS - 1) / VECTOR_THREADS }; /* quads of a thread */

/* This thread's quad i, which may lie beyond the row; vector_near: then the row's last one. */
__device__ static inline int vector_quad(int thread, int i) { return thread + i * VECTOR_THREADS; }
__device__ static inline int vector_near(int thread, int i) { return min(vector_quad(thread, i), decode_memory().args.hidden / 4 - 1); }

__device__ static inline uint32_t vector_pack(float low, float high)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *(const uint32_t *)&both;
}

__device__ static inline void vector_embed(int sequence)
{
    decode_shared &s = decode_memory();
    int id = s.args.token_ids[sequence] >= 0 ? s.args.token_ids[sequence] : s.args.slot_last[s.args.slots[sequence]];
    const uint2 *row = (const uint2 *)(s.args.embedding + (int64_t)id * s.args.hidden);
    for (int quad = threadIdx.x; threadIdx.x < VECTOR_THREADS && quad < s.args.hidden / 4; quad += VECTOR_THREADS) ((uint2 *)s.x[sequence])[quad] = row[quad];
}

/* Sequences whose words are asked for together. */
enum { VECTOR_TOGETHER = SEQUENCES == 1 ? 1 : 2 };

/* What attention or the experts gave, as words from `place` on, of sequence `first` and the next. */
__device__ static inline void vector_take_words(int thread, int first, float4 (&more)[VECTOR_TOGETHER][VECTOR_QUADS], int place)
{
    const decode_shared &s = decode_memory();
    int index[VECTOR_TOGETHER * VECTOR_QUADS];
    uint2 v[VECTOR_TOGETHER * VECTOR_QUADS];
#pragma unroll
    for (int i = 0; i < VECTOR_TOGETHER * VECTOR_QUADS; i++)
        index[i] = place + min(first + i / VECTOR_QUADS, decode_sequences() - 1) * s.args.places.size + 2 * vector_near(thread, i % VECTOR_QUADS);
    words_gather_pairs(s.place, index, v);
#pragma unroll
    for (int i = 0; i < VECTOR_TOGETHER * VECTOR_QUADS; i++) {
        float2 low = words_unpack(v[i].x), high = words_unpack(v[i].y);
        more[i / VECTOR_QUADS][i % VECTOR_QUADS] = make_float4(low.x, low.y, high.x, high.y);
    }
}

/* The weighted sum of what the chosen experts gave. */
__device__ static inline void vector_take_experts(int thread, float4 (&more)[VECTOR_QUADS], decode_place p)
{
    decode_shared &s = decode_memory();
    int index[VECTOR_QUADS * MAX_TOP_K], top_k = s.args.top_k;
    uint2 v[VECTOR_QUADS * MAX_TOP_K];
#pragma unroll
    for (int i = 0; i < VECTOR_QUADS * MAX_TOP_K; i++)
        index[i] = s.args.places.returned + min(i % MAX_TOP_K, top_k - 1) * s.args.hidden / 2 + 2 * vector_near(thread, i / MAX_TOP_K);
    words_gather_pairs(p, index, v);
#pragma unroll
    for (int i = 0; i < VECTOR_QUADS; i++) {
        float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
        for (int k = 0; k < MAX_TOP_K; k++) {
            float2 low = words_unpack(v[i * MAX_TOP_K + k].x), high = words_unpack(v[i * MAX_TOP_K + k].y);
            float weight = s.weights[0][k];
            if (k >= top_k) break;
            sum = make_float4(fmaf(weight, low.x, sum.x), fmaf(weight, low.y, sum.y), fmaf(weight, high.x, sum.z), fmaf(weight, high.y, sum.w));
        }
        more[i] = make_float4(decode_round(sum.x), decode_round(sum.y), decode_round(sum.z), decode_round(sum.w));
    }
}

enum vector_addend { VECTOR_NOTHING, VECTOR_DELTA, VECTOR_EXPERTS };

__device__ static inline void vector_take_addend(int thread, int first, vector_addend addend, float4 (&more)[VECTOR_TOGETHER][VECTOR_QUADS])
{
    const decode_shared &s = decode_memory();
    if (addend == VECTOR_EXPERTS && SEQUENCES == 1)
        vector_take_experts(thread, more[0], s.place);
    else if (addend != VECTOR_NOTHING)
        vector_take_words(thread, first, more, addend == VECTOR_DELTA ? s.args.places.delta : s.args.places.combined);
}

/* x += more, rounded, this thread's part of it; returns the sum of its squares. */
__device__ static inline float vector_add(int thread, int sequence, const float4 (&more)[VECTOR_QUADS])
{
    decode_shared &s = decode_memory();
    float squares = 0;
#pragma unroll
    for (int i = 0; i < VECTOR_QUADS; i++) {
        int quad = vector_quad(thread, i);
        if (quad >= s.args.hidden / 4) break;
        uint2 *held = (uint2 *)s.x[sequence] + quad;
        float2 low = words_unpack(held->x), high = words_unpack(held->y);
        uint2 sum = make_uint2(vector_pack(low.x + more[i].x, low.y + more[i].y), vector_pack(high.x + more[i].z, high.y + more[i].w));
        *held = sum;
        low = words_unpack(sum.x), high = words_unpack(sum.y);
        squares += low.x * low.x + low.y * low.y + (high.x * high.x + high.y * high.y);
    }
    return squares;
}

/* normed, halves = x * inverse * scale, this thread's part. */
__device__ static inline void vector_scale(int thread, int sequence, const uint2 (&factors)[VECTOR_QUADS], float inverse)
{
    decode_shared &s = decode_memory();
#pragma unroll
    for (int i = 0; i < VECTOR_QUADS; i++) {
        int quad = vector_quad(thread, i);
        if (quad >= s.args.hidden / 4) break;
        uint2 held = ((const uint2 *)s.x[sequence])[quad];
        float2 x = words_unpack(held.x), y = words_unpack(held.y), low = words_unpack(factors[i].x), high = words_unpack(factors[i].y);
        uint2 normed = make_uint2(vector_pack(x.x * inverse * low.x, x.y * inverse * low.y), vector_pack(y.x * inverse * high.x, y.y * inverse * high.y));
        ((uint32_t *)s.normed[sequence])[dense_place(2 * quad)] = normed.x;
        ((uint32_t *)s.normed[sequence])[dense_place(2 * quad + 1)] = normed.y;
        low = words_unpack(normed.x), high = words_unpack(normed.y);
        ((uint2 *)s.halves[sequence])[quad] = make_uint2(words_pack_half(low.x, low.y), words_pack_half(high.x, high.y));
    }
}

/* x += addend; normed, halves = RMSNorm(x) * scale; then layer `next` begins, if that is not negative. Synchronises before and after. */
DECODE_STAGE void vector_norm(const bf16 *scale, vector_addend addend, int next)
{
    decode_shared &s = decode_memory();
    int thread = decode_thread();
    if (thread >= VECTOR_THREADS) {
        bool begins = thread < VECTOR_THREADS + 32 && next >= 0;
        uint64_t word = begins ? decode_ask_layer(next + 1, thread % 32) : 0;
        decode_sync_workers();
        if (begins) decode_begin_layer(next, thread % 32, word);
    } else {
        uint2 factors[VECTOR_QUADS];
#pragma unroll
        for (int i = 0; i < VECTOR_QUADS; i++) factors[i] = __ldg((const uint2 *)scale + vector_near(thread, i)); /* asked for before what is to be normed has come */
#pragma unroll 1
        for (int first = 0; first < decode_sequences(); first += VECTOR_TOGETHER) {
            float4 more[VECTOR_TOGETHER][VECTOR_QUADS] = {};
            vector_take_addend(thread, first, addend, more);
#pragma unroll
            for (int i = 0; i < VECTOR_TOGETHER; i++) {
                if (first + i >= decode_sequences()) break;
                float squares = decode_warp_sum(vector_add(thread, first + i, more[i]));
                if (thread % 32 == 0) s.squares[first + i][thread / 32] = squares;
            }
        }
        decode_sync_workers();
#pragma unroll 1
        for (int sequence = 0; sequence < decode_sequences(); sequence++) {
            float total = 0;
#pragma unroll
            for (int w = 0; w < VECTOR_WARPS; w += 4) {
                float4 of = *(const float4 *)(s.squares[sequence] + w);
                total += of.x + of.y + (of.z + of.w);
            }
            vector_scale(thread, sequence, factors, rsqrtf(total * s.args.per_element + s.args.eps));
        }
    }
    decode_sync_workers();
}

/* The whole result of a sequence's attention into shared memory. */
__device__ static inline void vector_take_attn(int thread, int sequence, decode_place p)
{
    enum { PAIRS = (MAX_ATTN / 4 + WORKER_THREADS - 1) / WORKER_THREADS }; /* of words, which hold two numbers each */
    decode_shared &s = decode_memory();
    int index[PAIRS], pairs = s.args.q_heads * HEAD_DIM / 4;
    uint2 v[PAIRS];
#pragma unroll
    for (int i = 0; i < PAIRS; i++) index[i] = s.args.places.attn + 2 * min(thread + i * WORKER_THREADS, pairs - 1);
    words_gather_pairs(p, index, v);
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        int pair = thread + i * WORKER_THREADS;
        if (pair >= pairs) break;
        ((uint32_t *)s.attn[sequence])[dense_place(2 * pair)] = v[i].x;
        ((uint32_t *)s.attn[sequence])[dense_place(2 * pair + 1)] = v[i].y;
    }
}

/* Activations of one of the block's experts for a user, padded to whole column tiles with zeros, into row `row`. */
__device__ static inline void vector_take_user(int thread, const decode_expert &e, int user, int row, decode_place p)
{
    enum { PAIRS = (MAX_HIDDEN / 4 + WORKER_THREADS - 1) / WORKER_THREADS }; /* of words, which hold two numbers each */
    decode_shared &s = decode_memory();
    int pairs = s.args.intermediate / 4, padded = (s.args.intermediate + MXFP4_TILE_COLS - 1) / MXFP4_TILE_COLS * MXFP4_TILE_COLS / 4;
    int index[PAIRS];
    uint2 v[PAIRS];
#pragma unroll
    for (int i = 0; i < PAIRS; i++) index[i] = s.args.places.activations + e.choice[user] * s.args.intermediate / 2 + 2 * min(thread + i * WORKER_THREADS, pairs - 1);
    words_gather_pairs(p, index, v);
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        int pair = thread + i * WORKER_THREADS;
        if (pair < padded) ((uint2 *)s.activations[row])[pair] = pair < pairs ? v[i] : make_uint2(0, 0);
    }
}

/* Of all its users; synchronises after. */
__device__ static inline void vector_take_activations(const decode_expert &e)
{
    int thread = decode_thread();
    decode_place p = decode_memory().place;
#pragma unroll 1
    for (int i = 0; i < (SEQUENCES == 1 ? 1 : e.users); i++) vector_take_user(thread, e, i, SEQUENCES == 1 ? 0 : max(e.row, 0) + i, decode_place_at(p, e.sequence[i]));
    decode_sync_workers();
}

/* What the next product is to be multiplied by; synchronises after. */
DECODE_STAGE void vector_take(bool attn)
{
    decode_shared &s = decode_memory();
    if (attn) {
        int thread = decode_thread();
#pragma unroll 1
        for (int i = 0; i < decode_sequences(); i++) vector_take_attn(thread, i, decode_place_at(s.place, i));
        decode_sync_workers();
        return;
    }
#pragma unroll 1
    for (int i = 0; i < EXPERTS_OF_BLOCK; i++)
        if (SEQUENCES == 1 || (s.experts[i].row >= 0 && s.experts[i].tiles[1].begin < s.experts[i].tiles[1].end)) vector_take_activations(s.experts[i]);
}

/* Of several sequences: each block adds up what the experts gave for its share of the elements, so that not all blocks need to read it all. */
DECODE_STAGE void vector_combine(void)
{
    decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    int thread = decode_thread(), each = a.hidden / 2; /* words of a sequence */
    decode_range range = decode_share(decode_sequences() * each, blockIdx.x, gridDim.x);
#pragma unroll 1
    for (int at = range.begin + thread; at - thread % 32 < range.end; at += WORKER_THREADS) {
        int mine = min(at, range.end - 1), sequence = mine / each, word = mine - sequence * each, index[MAX_TOP_K];
        uint32_t v[MAX_TOP_K];
        decode_place p = decode_place_at(s.place, sequence);
#pragma unroll
        for (int k = 0; k < MAX_TOP_K; k++) index[k] = a.places.returned + min(k, a.top_k - 1) * each + word;
        words_gather(p, index, v);
        float2 sum = make_float2(0, 0);
#pragma unroll
        for (int k = 0; k < MAX_TOP_K; k++) {
            float weight = k < a.top_k ? s.weights[sequence][k] : 0;
            float2 x = words_unpack(v[k]);
            if (k < a.top_k) sum = make_float2(fmaf(weight, x.x, sum.x), fmaf(weight, x.y, sum.y));
        }
        if (at < range.end) words_store(p, a.places.combined + word, vector_pack(sum.x, sum.y));
    }
}

#endif
