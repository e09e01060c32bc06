/* Vectors of the decode kernel: what all blocks gather, each for itself, between the products. Every block keeps the whole residual stream; thread i of it
 * owns pairs of elements i, i + WORKER_THREADS, ... */
#ifndef KERNELS_CUDA_CUDA_DECODE_VECTORS_CUH
#define KERNELS_CUDA_CUDA_DECODE_VECTORS_CUH

#include <cuda_fp16.h>

#include "kernels/cuda/cuda_decode_words.cuh"

enum { VECTOR_PAIRS = (MAX_HIDDEN / 2 + WORKER_THREADS - 1) / WORKER_THREADS }; /* of a thread */

/* A thread's pair i, or -1 beyond the row. */
__device__ static inline int vector_pair(const decode_args &a, int thread, int i)
{
    int pair = thread + i * WORKER_THREADS;
    return pair < a.hidden / 2 ? pair : -1;
}

__device__ static void vector_embed(decode_shared &s, const decode_args &a)
{
    int thread = decode_thread();
    int id = a.token_ids[0] >= 0 ? a.token_ids[0] : a.slot_last[a.slots[0]];
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) {
        int pair = vector_pair(a, thread, i);
        if (pair >= 0) ((uint32_t *)s.x)[pair] = ((const uint32_t *)(a.embedding + (int64_t)id * a.hidden))[pair];
    }
}

/* x += what attention gave */
__device__ static void vector_add_delta(decode_shared &s, const decode_args &a, const decode_place &p)
{
    int thread = decode_thread();
    int index[VECTOR_PAIRS];
    uint2 v[VECTOR_PAIRS];
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) index[i] = vector_pair(a, thread, i) >= 0 ? a.places.delta + 2 * vector_pair(a, thread, i) : -1;
    words_gather_pairs(p, index, v);
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) {
        if (index[i] < 0) continue;
        __nv_bfloat162 *x = (__nv_bfloat162 *)s.x + vector_pair(a, thread, i);
        float2 old = __bfloat1622float2(*x);
        *x = __floats2bfloat162_rn(old.x + __uint_as_float(v[i].x), old.y + __uint_as_float(v[i].y));
    }
}

/* x += the weighted sum of what the chosen experts gave */
__device__ static void vector_add_experts(decode_shared &s, const decode_args &a, const decode_place &p)
{
    int thread = decode_thread();
    int index[VECTOR_PAIRS * MAX_TOP_K];
    uint32_t v[VECTOR_PAIRS * MAX_TOP_K];
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++)
#pragma unroll
        for (int k = 0; k < MAX_TOP_K; k++)
            index[i * MAX_TOP_K + k] = vector_pair(a, thread, i) >= 0 && k < a.top_k ? a.places.returned + k * a.hidden / 2 + vector_pair(a, thread, i) : -1;
    words_gather(p, index, v);
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) {
        if (index[i * MAX_TOP_K] < 0) continue;
        float2 sum = make_float2(0, 0);
#pragma unroll
        for (int k = 0; k < MAX_TOP_K; k++) {
            if (k >= a.top_k) break;
            float2 value = __bfloat1622float2(*(const __nv_bfloat162 *)&v[i * MAX_TOP_K + k]);
            sum.x += s.weights[k] * value.x;
            sum.y += s.weights[k] * value.y;
        }
        __nv_bfloat162 *x = (__nv_bfloat162 *)s.x + vector_pair(a, thread, i);
        float2 old = __bfloat1622float2(*x);
        *x = __floats2bfloat162_rn(old.x + decode_round(sum.x), old.y + decode_round(sum.y));
    }
}

/* This thread's part of a norm's scale: asked for before what is to be normed has come. */
struct vector_scale {
    uint32_t pairs[VECTOR_PAIRS];
};

__device__ static inline vector_scale vector_load_scale(const decode_args &a, const bf16 *scale)
{
    int thread = decode_thread();
    vector_scale out;
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) out.pairs[i] = vector_pair(a, thread, i) >= 0 ? __ldg((const uint32_t *)scale + vector_pair(a, thread, i)) : 0;
    return out;
}

/* normed, halves = RMSNorm(x) * scale, halves padded to whole column tiles with zeros; the block synchronised before and after. */
__device__ static void vector_norm(decode_shared &s, const decode_args &a, const vector_scale &scale)
{
    int thread = decode_thread();
    const float largest = 65504.0f; /* of FP16 */
    float2 held[VECTOR_PAIRS], factor[VECTOR_PAIRS];
    float squares = 0;
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) {
        int pair = vector_pair(a, thread, i);
        held[i] = factor[i] = make_float2(0, 0);
        if (pair < 0) continue;
        held[i] = __bfloat1622float2(((const __nv_bfloat162 *)s.x)[pair]);
        factor[i] = __bfloat1622float2(*(const __nv_bfloat162 *)&scale.pairs[i]);
        squares += held[i].x * held[i].x + held[i].y * held[i].y;
    }
    squares = decode_warp_sum(squares);
    if (thread % 32 == 0) s.squares[thread / 32] = squares;
    decode_sync_workers();
    float total = 0;
#pragma unroll
    for (int w = 0; w < WORKERS; w++) total += s.squares[w];
    float inverse = rsqrtf(total / (float)a.hidden + a.eps);
#pragma unroll
    for (int i = 0; i < VECTOR_PAIRS; i++) {
        int pair = vector_pair(a, thread, i);
        if (pair < 0) continue;
        __nv_bfloat162 normed = __floats2bfloat162_rn(held[i].x * inverse * factor[i].x, held[i].y * inverse * factor[i].y);
        float2 rounded = __bfloat1622float2(normed);
        ((__nv_bfloat162 *)s.normed)[pair] = normed;
        ((half2 *)s.halves)[pair] = __floats2half2_rn(fminf(fmaxf(rounded.x, -largest), largest), fminf(fmaxf(rounded.y, -largest), largest));
    }
    int padding = (a.hidden + MXFP4_TILE_COLS - 1) / MXFP4_TILE_COLS * MXFP4_TILE_COLS - a.hidden;
    if (thread < padding) s.halves[a.hidden + thread] = __float2half(0);
    decode_sync_workers();
}

/* The whole result of attention into shared memory; the block synchronised after. */
__device__ static void vector_take_attn(decode_shared &s, const decode_args &a, const decode_place &p)
{
    int thread = decode_thread();
    enum { PAIRS = (MAX_ATTN / 4 + WORKER_THREADS - 1) / WORKER_THREADS }; /* of words, which hold two numbers each */
    int index[PAIRS], pairs = a.q_heads * HEAD_DIM / 4;
    uint2 v[PAIRS];
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        int pair = thread + i * WORKER_THREADS;
        index[i] = pair < pairs ? a.places.attn + 2 * pair : -1;
    }
    words_gather_pairs(p, index, v);
#pragma unroll
    for (int i = 0; i < PAIRS; i++)
        if (index[i] >= 0) ((uint2 *)s.attn)[thread + i * WORKER_THREADS] = v[i];
    decode_sync_workers();
}

/* Activations of the choices that this block's part of down touches, padded to whole column tiles; the block synchronised after. */
__device__ static void vector_take_activations(decode_shared &s, const decode_args &a, const decode_place &p, int first, int choices)
{
    int thread = decode_thread();
    enum { PAIRS = (MAX_HIDDEN + WORKER_THREADS - 1) / WORKER_THREADS };
    int index[PAIRS], pairs = a.intermediate / 2, padded = (a.intermediate + MXFP4_TILE_COLS - 1) / MXFP4_TILE_COLS * MXFP4_TILE_COLS / 2;
    uint2 v[PAIRS];
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        int at = thread + i * WORKER_THREADS, choice = at / padded, pair = at % padded;
        index[i] = choice < choices && pair < pairs ? a.places.activations + (first + choice) * a.intermediate + 2 * pair : -1;
    }
    words_gather_pairs(p, index, v);
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
        int at = thread + i * WORKER_THREADS, choice = at / padded, pair = at % padded;
        if (choice < choices) ((half2 *)s.activations[choice])[pair] = __floats2half2_rn(__uint_as_float(v[i].x), __uint_as_float(v[i].y));
    }
    decode_sync_workers();
}

/* One warp chooses the experts: the top_k of the router's logits, the lowest id winning ties, and the softmax over them. */
__device__ static void vector_choose(decode_shared &s, const decode_args &a, const decode_place &p)
{
    enum { BATCH = 4 };
    int lane = decode_thread();
    for (int base = lane; base < a.n_experts; base += 32 * BATCH) {
        int index[BATCH];
        uint32_t v[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++) index[i] = base + 32 * i < a.n_experts ? a.places.logits + base + 32 * i : -1;
        words_gather(p, index, v);
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (index[i] >= 0) s.router[base + 32 * i] = __uint_as_float(v[i]);
    }
    __syncwarp();
    float mine = -INFINITY, largest = -INFINITY; /* lane k keeps the logit of choice k */
    for (int k = 0; k < a.top_k; k++) {
        float best = -INFINITY;
        int id = a.n_experts;
        for (int e = lane; e < a.n_experts; e += 32)
            if (s.router[e] > best) best = s.router[e], id = e;
#pragma unroll
        for (int step = 16; step; step /= 2) {
            float other = __shfl_xor_sync(~0u, best, step);
            int other_id = __shfl_xor_sync(~0u, id, step);
            if (other > best || (other == best && other_id < id)) best = other, id = other_id;
        }
        if (id >= a.n_experts) id = k; /* no number among the logits: the result is not one either, but the ids must be */
        if (k == 0) largest = best;
        if (k == lane) mine = best;
        if (lane == 0) {
            s.ids[k] = id;
            s.router[id] = -INFINITY;
        }
        __syncwarp();
    }
    if (lane == 0) ring_arrive(&s.routed);
    float weight = lane < a.top_k ? __expf(mine - largest) : 0, total = decode_warp_sum(weight);
    if (lane < a.top_k) s.weights[lane] = weight / total;
}

#endif
