/* Vectors of the decode kernel: what all blocks gather, each for itself, between the products. Every block keeps the whole residual stream; thread i of it
 * owns pairs of elements i, i + WORKER_THREADS, ... A thread with fewer pairs than others reads its last ones twice. */
#ifndef KERNELS_CUDA_CUDA_DECODE_VECTORS_CUH
#define KERNELS_CUDA_CUDA_DECODE_VECTORS_CUH

#include <cuda_fp16.h>

#include "kernels/cuda/cuda_decode_words.cuh"

enum { VECTOR_PAIRS = (MAX_HIDDEN / 2 + WORKER_THREADS - 1) / WORKER_THREADS }; /* of a thread */

/* This thread's pair i, which may lie beyond the row; vector_near: then the row's last one. */
__device__ static inline int vector_pair(int thread, int i) { return thread + i * WORKER_THREADS; }
__device__ static inline int vector_near(int thread, int i) { return min(vector_pair(thread, i), decode_memory().args.hidden / 2 - 1); }

/* x += what is given to this thread's pairs, rounded */
__device__ static inline void vector_add(int thread, const float2 (&more)[VECTOR_PAIRS])
{
    decode_shared &s = decode_memory();
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) {
        if (vector_pair(thread, i) >= s.args.hidden / 2) break;
        __nv_bfloat162 *x = (__nv_bfloat162 *)s.x + vector_pair(thread, i);
        float2 old = __bfloat1622float2(*x);
        *x = __floats2bfloat162_rn(old.x + more[i].x, old.y + more[i].y);
    }
}

__device__ static inline void vector_embed(int id)
{
    decode_shared &s = decode_memory();
    const uint32_t *row = (const uint32_t *)(s.args.embedding + (int64_t)id * s.args.hidden);
    for (int pair = threadIdx.x; pair < s.args.hidden / 2; pair += WORKER_THREADS) ((uint32_t *)s.x)[pair] = row[pair];
}

/* What attention gave. */
__device__ static inline void vector_add_delta(int thread, decode_place p)
{
    int index[VECTOR_PAIRS];
    uint2 v[VECTOR_PAIRS];
    float2 more[VECTOR_PAIRS];
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) index[i] = decode_memory().args.places.delta + 2 * vector_near(thread, i);
    words_gather_pairs(p, index, v);
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) more[i] = make_float2(__uint_as_float(v[i].x), __uint_as_float(v[i].y));
    vector_add(thread, more);
}

/* The weighted sum of what the chosen experts gave. */
__device__ static inline void vector_add_experts(int thread, decode_place p)
{
    decode_shared &s = decode_memory();
    int index[VECTOR_PAIRS * MAX_TOP_K], top_k = s.args.top_k;
    uint32_t v[VECTOR_PAIRS * MAX_TOP_K];
    float2 more[VECTOR_PAIRS];
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS * MAX_TOP_K; i++)
        index[i] = s.args.places.returned + min(i % MAX_TOP_K, top_k - 1) * s.args.hidden / 2 + vector_near(thread, i / MAX_TOP_K);
    words_gather(p, index, v);
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) {
        float2 sum = make_float2(0, 0);
#pragma unroll
        for (int k = 0; k < MAX_TOP_K; k++) {
            float2 value = __bfloat1622float2(*(const __nv_bfloat162 *)&v[i * MAX_TOP_K + k]);
            sum.x = fmaf(s.weights[k], k < top_k ? value.x : 0, sum.x);
            sum.y = fmaf(s.weights[k], k < top_k ? value.y : 0, sum.y);
        }
        more[i] = make_float2(decode_round(sum.x), decode_round(sum.y));
    }
    vector_add(thread, more);
}

enum vector_addend { VECTOR_NOTHING, VECTOR_DELTA, VECTOR_EXPERTS };

/* x += addend; normed, halves = RMSNorm(x) * scale, halves padded to whole column tiles with zeros. Synchronises before and after. */
DECODE_STAGE void vector_norm(const bf16 *scale, vector_addend addend, decode_place p)
{
    const float largest = 65504.0f; /* of FP16 */
    decode_shared &s = decode_memory();
    int hidden = s.args.hidden, thread = decode_thread();
    uint32_t factors[VECTOR_PAIRS];
    float2 held[VECTOR_PAIRS];
    float squares = 0;
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) factors[i] = __ldg((const uint32_t *)scale + vector_near(thread, i)); /* asked for before what is to be normed has come */
    if (addend == VECTOR_DELTA) vector_add_delta(thread, p);
    if (addend == VECTOR_EXPERTS) vector_add_experts(thread, p);
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) {
        held[i] = vector_pair(thread, i) < hidden / 2 ? __bfloat1622float2(((const __nv_bfloat162 *)s.x)[vector_pair(thread, i)]) : make_float2(0, 0);
        squares += held[i].x * held[i].x + held[i].y * held[i].y;
    }
    squares = decode_warp_sum(squares);
    if (thread % 32 == 0) s.squares[thread / 32] = squares;
    decode_sync_workers();
    float total = 0;
#pragma unroll
    for (int w = 0; w < WORKERS; w++) total += s.squares[w];
    float inverse = rsqrtf(total / (float)hidden + s.args.eps);
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) {
        if (vector_pair(thread, i) >= hidden / 2) break;
        float2 factor = __bfloat1622float2(*(const __nv_bfloat162 *)&factors[i]);
        __nv_bfloat162 normed = __floats2bfloat162_rn(held[i].x * inverse * factor.x, held[i].y * inverse * factor.y);
        float2 rounded = __bfloat1622float2(normed);
        ((__nv_bfloat162 *)s.normed)[vector_pair(thread, i)] = normed;
        ((half2 *)s.halves)[vector_pair(thread, i)] = __floats2half2_rn(fminf(fmaxf(rounded.x, -largest), largest), fminf(fmaxf(rounded.y, -largest), largest));
    }
    int padding = (hidden + MXFP4_TILE_COLS - 1) / MXFP4_TILE_COLS * MXFP4_TILE_COLS - hidden;
    if (thread < padding) s.halves[hidden + thread] = __float2half(0);
    decode_sync_workers();
}

/* The whole result of attention into shared memory; synchronises after. */
DECODE_STAGE void vector_take_attn(decode_place p)
{
    enum { PAIRS = (MAX_ATTN / 4 + WORKER_THREADS - 1) / WORKER_THREADS }; /* of words, which hold two numbers each */
    decode_shared &s = decode_memory();
    int thread = decode_thread(), index[PAIRS], pairs = s.args.q_heads * HEAD_DIM / 4;
    uint2 v[PAIRS];
#pragma unroll
    for (int i = 0; i < PAIRS; i++) index[i] = s.args.places.attn + 2 * min(thread + i * WORKER_THREADS, pairs - 1);
    words_gather_pairs(p, index, v);
#pragma unroll
    for (int i = 0; i < PAIRS; i++)
        if (thread + i * WORKER_THREADS < pairs) ((uint2 *)s.attn)[thread + i * WORKER_THREADS] = v[i];
    decode_sync_workers();
}

/* Activations of `choices` choices from `first` on, padded to whole column tiles with zeros; synchronises after. */
DECODE_STAGE void vector_take_activations(int first, int choices, decode_place p)
{
    enum { PAIRS = (MAX_HIDDEN / 2 + WORKER_THREADS - 1) / WORKER_THREADS };
    decode_shared &s = decode_memory();
    int thread = decode_thread(), pairs = s.args.intermediate / 2, padded = (s.args.intermediate + MXFP4_TILE_COLS - 1) / MXFP4_TILE_COLS * MXFP4_TILE_COLS / 2;
#pragma unroll 1
    for (int choice = 0; choice < choices; choice++) {
        int index[PAIRS];
        uint2 v[PAIRS];
#pragma unroll
        for (int i = 0; i < PAIRS; i++)
            index[i] = s.args.places.activations + (first + choice) * s.args.intermediate + 2 * min(thread + i * WORKER_THREADS, pairs - 1);
        words_gather_pairs(p, index, v);
#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
            int pair = thread + i * WORKER_THREADS;
            half2 value = pair < pairs ? __floats2half2_rn(__uint_as_float(v[i].x), __uint_as_float(v[i].y)) : __floats2half2_rn(0, 0);
            if (pair < padded) ((half2 *)s.activations[choice])[pair] = value;
        }
    }
    decode_sync_workers();
}

/* Bits of a number such that the larger number has the larger ones; what is none is the smallest. */
__device__ static inline uint32_t vector_order(float value)
{
    uint32_t bits = __float_as_uint(value);
    if (!(value == value)) return 0;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* One warp chooses the experts: the top_k of the router's logits, the lowest id winning ties, and the softmax over them. All workers synchronise. */
DECODE_STAGE void vector_choose(decode_place p)
{
    enum { BATCH = MAX_ROUTED / 32 };
    decode_shared &s = decode_memory();
    int lane = decode_thread(), n = s.args.n_experts, top_k = s.args.top_k;
    if (lane < 32) {
        int index[BATCH];
        uint32_t v[BATCH], order[BATCH]; /* 0: not to be chosen any more */
#pragma unroll
        for (int i = 0; i < BATCH; i++) index[i] = s.args.places.logits + min(lane + 32 * i, n - 1);
        words_gather(p, index, v);
#pragma unroll
        for (int i = 0; i < BATCH; i++) order[i] = lane + 32 * i < n ? vector_order(__uint_as_float(v[i])) : 0;
        float weight = 0, largest = 0; /* lane k's: of choice k */
#pragma unroll 1
        for (int k = 0; k < top_k; k++) {
            uint32_t best = 0, id = MAX_ROUTED;
#pragma unroll
            for (int i = 0; i < BATCH; i++) best = max(best, order[i]);
            best = __reduce_max_sync(~0u, best);
#pragma unroll
            for (int i = BATCH - 1; i >= 0; i--)
                if (order[i] == best) id = lane + 32 * i;
            id = __reduce_min_sync(~0u, id);
            if (best == 0) id = k; /* no number among the logits: the result is not one either, but the ids must be */
#pragma unroll
            for (int i = 0; i < BATCH; i++)
                if (id == lane + 32 * i) order[i] = 0;
            float logit = best == 0 ? NAN : __uint_as_float(best & 0x80000000u ? best & 0x7fffffffu : ~best);
            if (k == 0) largest = logit;
            if (k == lane) weight = __expf(logit - largest);
            if (lane == 0) s.ids[k] = (int)id;
        }
        if (lane == 0) ring_arrive(&s.routed);
        float total = decode_warp_sum(weight);
        if (lane < MAX_TOP_K) s.weights[lane] = weight / total;
    }
    decode_sync_workers();
}

#endif
