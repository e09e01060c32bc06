/* Attention of the decode kernel: one token over the paged cache. A block has a kv head's group of query heads and a share of the keys; its warps take
 * 8 keys at a time. Scores by tensor cores, as in cuda_attention_tile.cuh; the weighted sum of values in F32, lane l having dimensions 2 l and 2 l + 1 of
 * every head. Keys older than this step are in the L2 cache before the query has come. */
#ifndef KERNELS_CUDA_CUDA_DECODE_ATTENTION_CUH
#define KERNELS_CUDA_CUDA_DECODE_ATTENTION_CUH

#include "kernels/cuda/cuda_attention_tile.cuh"
#include "kernels/cuda/cuda_decode_words.cuh"

__device__ static inline attention_part attention_part_of(const decode_args &a, int kind, int context)
{
    attention_part p;
    p.table = a.tables[kind];
    int window = a.windows[kind], begin = window && context > window ? context - window : 0, keys = context - begin;
    p.splits = min((keys + SHARE_KEYS - 1) / SHARE_KEYS, a.max_splits);
    p.kv_head = (int)blockIdx.x % a.kv_heads;
    p.split = (int)blockIdx.x / a.kv_heads;
    p.from = begin + (int)((unsigned)keys * p.split / p.splits); /* positions times splits are less than 2^32 */
    p.to = p.split < p.splits ? begin + (int)((unsigned)keys * (p.split + 1) / p.splits) : p.from;
    return p;
}

/* Where a position lies in the cache, in tokens. */
__device__ static inline int attention_token(const attention_part &p, int position)
{
    unsigned tokens = (unsigned)decode_memory().args.block_tokens, block = (unsigned)position / tokens;
    return p.table[block] * (int)tokens + (position - (int)(block * tokens));
}

/* A warp's own part of what becomes its sums: first the weights [8 keys][8 heads] and how far sums shrink [8 heads], and from VALUES_AT on the values of
 * 8 keys, [8, 64]. */
enum { SHRINK_AT = CHUNK_KEYS * MAX_GROUP, VALUES_AT = MAX_GROUP * HEAD_DIM / 2 };
static_assert(SHRINK_AT + MAX_GROUP <= VALUES_AT && CHUNK_KEYS * HEAD_DIM * sizeof(bf16) <= VALUES_AT * sizeof(float), "they fit");

/* Where the key at a position lies in the cache, in tokens; -1: this step's own, or none of this part. */
__device__ static inline int attention_find(const attention_part &p, int kind, int position)
{
    const decode_shared &s = decode_memory();
    if (position >= p.to || position >= s.context - 1) return -1;
    return position - p.from < SHARE_KEYS ? s.tokens[kind][position - p.from] : attention_token(p, position);
}

/* Asks for 8 keys and values from `first` on: key lane / 4's dimensions 8 (lane % 4) + 32 j + 0..7 into registers, values into the warp's memory. What
 * attention_find does not find becomes zeros. */
__device__ static inline void attention_load_chunk(uint4 k[2], bf16 *values, const decode_layer &layer, const attention_part &p, int first, int lane)
{
    int kind = (int)layer.kind, stride = decode_memory().args.kv_heads * HEAD_DIM, token = attention_find(p, kind, first + lane / 4);
    const bf16 *key = layer.k_cache + (int64_t)max(token, 0) * stride + p.kv_head * HEAD_DIM + 8 * (lane % 4);
#pragma unroll
    for (int j = 0; j < 2; j++) k[j] = token >= 0 ? __ldcg((const uint4 *)(key + 32 * j)) : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int j = 0; j < 2; j++) {
        int row = lane / 8 + 4 * j, column = 8 * (lane % 8), from = __shfl_sync(~0u, token, 4 * row);
        attention_copy_16(values + row * HEAD_DIM + column, layer.v_cache + (int64_t)max(from, 0) * stride + p.kv_head * HEAD_DIM + column, from >= 0);
    }
    asm volatile("cp.async.commit_group;");
}

/* Waits for them, and puts this step's own key and value where they belong, if they do. */
__device__ static inline void attention_await_chunk(uint4 k[2], bf16 *values, const attention_part &p, int first, int lane)
{
    const decode_shared &s = decode_memory();
    int own = s.context <= p.to ? s.context - 1 - first : -1;
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncwarp();
    if (own >= 0 && own < CHUNK_KEYS) {
        if (lane / 4 == own) {
#pragma unroll
            for (int j = 0; j < 2; j++) k[j] = *(const uint4 *)(s.attention.k + 32 * j + 8 * (lane % 4));
        }
        *(uint32_t *)(values + own * HEAD_DIM + 2 * lane) = *(const uint32_t *)(s.attention.v + 2 * lane);
    }
}

/* Rotary embedding of this block's query heads and key; values as they are. Threads: 32 for each head of the group, 32 for the key, 32 for the value. */
__device__ static inline void attention_take_qkv(decode_place place, const attention_part &p)
{
    enum { HALF = HEAD_DIM / 2 };
    decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    int group = a.group, thread = decode_thread(), head = thread / HALF, d = thread % HALF;
    if (head >= group + 2) return;
    int row = head < group ? p.kv_head * group + head : a.q_heads + (head - group) * a.kv_heads + p.kv_head;
    bf16 *out = head < group ? s.attention.q[head] : head == group ? s.attention.k : s.attention.v;
    int64_t at = (int64_t)(s.context - 1) * HALF + d;
    float cosine = a.cosine[at], sine = a.sine[at];
    int index[2] = {a.places.qkv + row * HEAD_DIM + d, a.places.qkv + row * HEAD_DIM + d + HALF};
    uint32_t words[2];
    words_gather(place, index, words);
    float x = __uint_as_float(words[0]), y = __uint_as_float(words[1]);
    bool turned = head <= group;
    out[d] = __float2bfloat16(turned ? x * cosine - y * sine : x);
    out[d + HALF] = __float2bfloat16(turned ? y * cosine + x * sine : y);
}

/* A warp's keys, of which `k` and its memory have the first 8 on their way. Leaves sums over them, relative to the largest score, in shared memory. */
__device__ static inline void attention_scan(const decode_layer &layer, const attention_part &p, uint4 k[2], int lane, int warp)
{
    decode_shared &s = decode_memory();
    int g = lane / 4, t = lane % 4;
    float sums[MAX_GROUP][2] = {}, largest = -INFINITY, total = 0; /* largest, total: of head g; total is spread over the quad */
    float *mine = (float *)s.attention.sums + warp * MAX_GROUP * HEAD_DIM;
    bf16 *values = (bf16 *)(mine + VALUES_AT);
#pragma unroll 1
    for (int first = p.from + CHUNK_KEYS * warp; first < p.to; first += SHARE_KEYS) {
        attention_await_chunk(k, values, p, first, lane);
        float c[4] = {};
#pragma unroll
        for (int j = 0; j < 2; j++) {
            uint4 q = g < s.args.group ? *(const uint4 *)(s.attention.q[g] + 32 * j + 8 * t) : make_uint4(0, 0, 0, 0);
            const uint32_t first_half[4] = {q.x, 0, q.y, 0}, second_half[4] = {q.z, 0, q.w, 0};
            attention_mma(c, first_half, k[j].x, k[j].y);
            attention_mma(c, second_half, k[j].z, k[j].w);
        }
        float low = first + 2 * t < p.to ? c[0] * s.args.scale : -INFINITY, high = first + 2 * t + 1 < p.to ? c[1] * s.args.scale : -INFINITY;
        float best = fmaxf(largest, fmaxf(low, high));
        best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
        best = fmaxf(best, __shfl_xor_sync(~0u, best, 2)); /* finite: a chunk has a key */
        float shrink = __expf(largest - best);
        low = __expf(low - best);
        high = __expf(high - best);
        total = total * shrink + low + high;
        largest = best;
        mine[2 * t * MAX_GROUP + g] = low;
        mine[(2 * t + 1) * MAX_GROUP + g] = high;
        if (t == 0) mine[SHRINK_AT + g] = shrink;
        __syncwarp();
#pragma unroll
        for (int h = 0; h < MAX_GROUP; h++) {
            float keep = mine[SHRINK_AT + h];
            sums[h][0] *= keep;
            sums[h][1] *= keep;
        }
#pragma unroll 4
        for (int i = 0; i < CHUNK_KEYS; i++) {
            uint32_t v = *(const uint32_t *)(values + i * HEAD_DIM + 2 * lane);
            float x = __uint_as_float(v << 16), y = __uint_as_float(v & 0xffff0000u);
#pragma unroll
            for (int h = 0; h < MAX_GROUP; h++) {
                float weight = mine[i * MAX_GROUP + h];
                sums[h][0] = fmaf(weight, x, sums[h][0]);
                sums[h][1] = fmaf(weight, y, sums[h][1]);
            }
        }
        __syncwarp();
        if (first + SHARE_KEYS < p.to) attention_load_chunk(k, values, layer, p, first + SHARE_KEYS, lane);
    }
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    if (t == 0) {
        s.attention.largest[warp][g] = largest;
        s.attention.total[warp][g] = total;
    }
#pragma unroll
    for (int h = 0; h < MAX_GROUP; h++) *(float2 *)&s.attention.sums[warp][h][2 * lane] = make_float2(sums[h][0], sums[h][1]);
}

/* What a (head, two dimensions) of a block's warps, or of a kv head's splits, come to. */
struct attention_sum {
    float x, y, largest, total;
};

__device__ static inline attention_sum attention_of_warps(int head, int d)
{
    const decode_shared &s = decode_memory();
    attention_sum out = {0, 0, -INFINITY, 0};
#pragma unroll 4
    for (int w = 0; w < ATTENTION_WARPS; w++) out.largest = fmaxf(out.largest, s.attention.largest[w][head]);
#pragma unroll 4
    for (int w = 0; w < ATTENTION_WARPS; w++) {
        float keep = __expf(s.attention.largest[w][head] - out.largest); /* a warp without keys has -infinity: 0 */
        float2 v = *(const float2 *)&s.attention.sums[w][head][d];
        out.total = fmaf(keep, s.attention.total[w][head], out.total);
        out.x = fmaf(keep, v.x, out.x);
        out.y = fmaf(keep, v.y, out.y);
    }
    return out;
}

/* With the head's sink in the denominator. */
__device__ static inline void attention_emit(decode_place place, int head, int d, float sink, const attention_sum &v)
{
    float largest = fmaxf(v.largest, sink), keep = __expf(v.largest - largest);
    float inverse = __fdividef(keep, v.total * keep + __expf(sink - largest));
    words_store(place, decode_memory().args.places.attn + (head * HEAD_DIM + d) / 2, attention_pack(v.x * inverse, v.y * inverse));
}

/* Words of a (kv head, split): sums [group, 64], then (largest, total) of each head. */
__device__ static inline int attention_partial_at(int kv_head, int split)
{
    const decode_args &a = decode_memory().args;
    return a.places.partial + (kv_head * MAX_SPLITS + split) * a.group * (HEAD_DIM + 2);
}

/* The splits of a kv head meet: each of its blocks merges a share of the (head, two dimensions) pairs, 16 lanes a pair, a lane a split. */
__device__ static inline void attention_merge(const decode_layer &layer, decode_place place, const attention_part &p)
{
    const decode_args &a = decode_memory().args;
    int group = a.group, pairs = group * HEAD_DIM / 2, thread = decode_thread(), lane = thread % MAX_SPLITS;
    int begin = pairs * p.split / p.splits, end = pairs * (p.split + 1) / p.splits;
#pragma unroll 1
    for (int base = begin; base < end; base += WORKER_THREADS / MAX_SPLITS) { /* all lanes stay together for the shuffles */
        int pair = min(base + thread / MAX_SPLITS, end - 1), head = pair / (HEAD_DIM / 2), d = 2 * (pair % (HEAD_DIM / 2));
        bool there = lane < p.splits;
        int at = attention_partial_at(p.kv_head, min(lane, p.splits - 1));
        float sink = __bfloat162float(layer.sinks[p.kv_head * group + head]);
        int index[2] = {at + head * HEAD_DIM + d, at + group * HEAD_DIM + 2 * head};
        uint2 v[2];
        words_gather_pairs(place, index, v);
        attention_sum mine = {0, 0, -INFINITY, 0};
        if (there) mine = {__uint_as_float(v[0].x), __uint_as_float(v[0].y), __uint_as_float(v[1].x), __uint_as_float(v[1].y)};
        float largest = mine.largest;
#pragma unroll
        for (int step = MAX_SPLITS / 2; step; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, step));
        float keep = there ? __expf(mine.largest - largest) : 0;
        attention_sum all = {mine.x * keep, mine.y * keep, largest, mine.total * keep};
#pragma unroll
        for (int step = MAX_SPLITS / 2; step; step /= 2) {
            all.x += __shfl_xor_sync(~0u, all.x, step);
            all.y += __shfl_xor_sync(~0u, all.y, step);
            all.total += __shfl_xor_sync(~0u, all.total, step);
        }
        if (lane == 0) attention_emit(place, p.kv_head * group + head, d, sink, all);
    }
}

__device__ static inline void attention_write_cache(const decode_layer &layer, const attention_part &p)
{
    const decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    int d = decode_thread();
    if (p.split != p.splits - 1 || d >= HEAD_DIM) return;
    int position = s.context - 1;
    int64_t token = attention_token(p, position), at = (token * a.kv_heads + p.kv_head) * HEAD_DIM + d;
    layer.k_cache[at] = s.attention.k[d];
    layer.v_cache[at] = s.attention.v[d];
}

__device__ static inline void attention_prefetch_line(const void *address) { asm volatile("prefetch.global.L2 [%0];" ::"l"(address)); }

/* Brings what attention of the layer will read into the L2 cache, as far as its first keys: a thread a line. */
__device__ static inline void attention_prefetch(const decode_layer &layer)
{
    const decode_shared &s = decode_memory();
    const attention_part &p = s.parts[layer.kind];
    int key = (int)threadIdx.x / 2;
    if (key >= SHARE_KEYS || p.from + key >= min(p.to, s.context - 1)) return;
    const bf16 *cache = threadIdx.x % 2 ? layer.v_cache : layer.k_cache;
    attention_prefetch_line(cache + ((int64_t)s.tokens[layer.kind][key] * s.args.kv_heads + p.kv_head) * HEAD_DIM);
}

/* Once a step, before the first layer: this block's part for each kind of layer. Synchronises the block in between. */
__device__ static inline void attention_prepare(void)
{
    decode_shared &s = decode_memory();
    if (threadIdx.x < OPS_KV_KINDS) s.parts[threadIdx.x] = attention_part_of(s.args, threadIdx.x, s.context);
    __syncthreads();
    if (threadIdx.x >= OPS_KV_KINDS * SHARE_KEYS) return;
    int kind = threadIdx.x / SHARE_KEYS, key = threadIdx.x % SHARE_KEYS;
    const attention_part &p = s.parts[kind];
    s.tokens[kind][key] = p.from + key < p.to ? attention_token(p, p.from + key) : -1;
}

/* By all workers of all blocks; those without a share return soon. */
DECODE_STAGE void attention_stage(int l)
{
    const decode_place place = decode_place_of(l);
    const decode_args &a = decode_memory().args;
    const decode_layer &layer = decode_memory().layers[l % 2];
    int thread = decode_thread(), lane = thread % 32, warp = thread / 32, group = a.group;
    const attention_part &p = decode_memory().parts[layer.kind];
    if (p.split >= p.splits) {
        decode_sync_workers();
        return;
    }
    int pair = thread, head = pair / (HEAD_DIM / 2), d = 2 * (pair % (HEAD_DIM / 2));
    unsigned short sink = head < group ? __ldg((const unsigned short *)layer.sinks + p.kv_head * group + head) : (unsigned short)0;
    attention_take_qkv(place, p);
    uint4 k[2]; /* in the L2 cache by now: prefetch_layer asked for it */
    bf16 *values = (bf16 *)((float *)decode_memory().attention.sums + warp * MAX_GROUP * HEAD_DIM + VALUES_AT);
    if (warp < ATTENTION_WARPS) attention_load_chunk(k, values, layer, p, p.from + CHUNK_KEYS * warp, lane);
    decode_sync_workers();
    if (warp < ATTENTION_WARPS) attention_scan(layer, p, k, lane, warp);
    attention_write_cache(layer, p);
    decode_sync_workers();
    if (head < group) {
        attention_sum sum = attention_of_warps(head, d);
        if (p.splits == 1) {
            attention_emit(place, p.kv_head * group + head, d, __uint_as_float((uint32_t)sink << 16), sum);
        } else {
            int at = attention_partial_at(p.kv_head, p.split);
            words_store(place, at + head * HEAD_DIM + d, sum.x);
            words_store(place, at + head * HEAD_DIM + d + 1, sum.y);
            if (d == 0) {
                words_store(place, at + group * HEAD_DIM + 2 * head, sum.largest);
                words_store(place, at + group * HEAD_DIM + 2 * head + 1, sum.total);
            }
        }
    }
    if (p.splits > 1) attention_merge(layer, place, p);
}

#endif
