/* Attention of the decode kernel: a token of each sequence over the paged cache. A block has a sequence's and kv head's group of query heads and a share of the keys, which come through the
 * ring like weights: they do not depend on this step, all but the last. Warps take 16 keys at a time; scores and sums by tensor cores, as in
 * cuda_attention_tile.cuh, heads being the rows. */
#ifndef KERNELS_CUDA_CUDA_DECODE_ATTENTION_CUH
#define KERNELS_CUDA_CUDA_DECODE_ATTENTION_CUH

#include "kernels/cuda/cuda_attention_tile.cuh"
#include "kernels/cuda/cuda_decode_words.cuh"

/* Where a position lies in the cache, in tokens. */
__device__ static inline int attention_token(const attention_part &p, int position)
{
    unsigned tokens = (unsigned)decode_memory().args.block_tokens, block = (unsigned)position / tokens;
    return p.table[block] * (int)tokens + (position - (int)(block * tokens));
}

__device__ static inline attention_part attention_part_of(const decode_args &a, int kind)
{
    attention_part p;
    int block = (int)blockIdx.x / a.kv_heads, context, window = a.windows[kind];
    p.sequence = block % decode_sequences();
    p.context = context = a.contexts[p.sequence];
    p.table = a.tables[kind] + p.sequence * a.table_stride;
    p.visible = window && context > window ? context - window : 0;
    int begin = p.visible / GROUP_KEYS * GROUP_KEYS, groups = (context - begin + GROUP_KEYS - 1) / GROUP_KEYS;
    p.splits = min((context - p.visible + SHARE_KEYS - 1) / SHARE_KEYS, a.max_splits);
    p.kv_head = (int)blockIdx.x % a.kv_heads;
    p.split = block / decode_sequences();
    p.from = begin + groups * p.split / p.splits * GROUP_KEYS;
    p.to = p.split < p.splits ? min(begin + groups * (p.split + 1) / p.splits * GROUP_KEYS, context) : p.from;
    int pairs = a.group * HEAD_DIM / 2;
    p.merged = {pairs * p.split / p.splits, pairs * (p.split + 1) / p.splits};
    p.own = attention_token(p, context - 1);
    return p;
}

/* A slot of the ring holds groups of 16 keys, then as many of values: each a box [16, 64], its rows' 16-byte chunks swizzled over 128 bytes. */
enum { KV_GROUPS = 6, GROUP_BYTES = GROUP_KEYS * HEAD_DIM * 2, KV_VALUES = KV_GROUPS * GROUP_BYTES };
static_assert(2 * KV_VALUES <= SLOT_BYTES && SLOT_BYTES % 1024 == 0 && (int)ATTENTION_WARPS <= (int)CONSUMERS, "a slot holds them");

__device__ static inline int attention_all_groups(const attention_part &p) { return (p.to - p.from + GROUP_KEYS - 1) / GROUP_KEYS; }
__device__ static inline int attention_units(const attention_part &p) { return (attention_all_groups(p) + KV_GROUPS - 1) / KV_GROUPS; }

/* Groups in unit `unit` of the part: a warp each. */
__device__ static inline int attention_groups(const attention_part &p, int unit) { return min(attention_all_groups(p) - unit * KV_GROUPS, (int)KV_GROUPS); }

/* Where the part's group lies in the cache; beyond its end: as its last. This step's own key is not there yet: attention_replace puts it where it belongs. */
__device__ static inline int attention_find(const attention_part &p, int kind, int group)
{
    group = min(group, attention_all_groups(p) - 1);
    return group < KNOWN_GROUPS ? decode_memory().tokens[kind][group] : attention_token(p, p.from + GROUP_KEYS * group);
}

__device__ static void attention_produce(int &units, int l, uint64_t policy)
{
    decode_shared &s = decode_memory();
    int lane = threadIdx.x % 32, kind = (int)s.layers[l % 2].kind, group = lane % KV_GROUPS, n = attention_units(s.parts[kind]);
    const attention_part &p = s.parts[kind];
    const CUtensorMap *map = s.args.maps + 2 * l + (lane < KV_GROUPS ? 0 : 1);
    int token = n > 0 ? attention_find(p, kind, group) : 0;
    for (int unit = 0; unit < n; unit++, units++) {
        int groups = attention_groups(p, unit), slot = decode_begin_fill(units, (uint32_t)(2 * groups * GROUP_BYTES));
        if (lane < 2 * KV_GROUPS && group < groups) ring_copy_box(s.ring[slot] + lane * GROUP_BYTES, map, 0, p.kv_head, token, &s.full[slot], policy);
        token = attention_find(p, kind, (unit + 1) * KV_GROUPS + group);
    }
}

/* Byte of a group where chunk `chunk` of row `row` lies. */
__device__ static inline int attention_byte(int row, int chunk) { return row * HEAD_DIM * 2 + (chunk ^ row % 8) * 16; }

/* This step's own key and value over what the slot has in its place, from row `own` of the group on: behind it are old things that were never numbers, maybe. */
__device__ static inline void attention_replace(uint8_t *keys, int own, int lane)
{
    const decode_shared &s = decode_memory();
    for (int row = own + lane / 8; row < GROUP_KEYS; row += 4) {
        *(uint4 *)(keys + attention_byte(row, lane % 8)) = *(const uint4 *)(decode_attention().k + 8 * (lane % 8));
        *(uint4 *)(keys + KV_VALUES + attention_byte(row, lane % 8)) = *(const uint4 *)(decode_attention().v + 8 * (lane % 8));
    }
    __syncwarp();
}

/* Rotary embedding of this block's query heads and key; values as they are. Heads are the group's, then the key, then the value. */
__device__ static inline void attention_take_qkv(decode_place place, const attention_part &p)
{
    enum { HALF = HEAD_DIM / 2, THREADS = HALF / 2 }; /* of a head; each has dimensions d, d + 1 and those HALF further */
    decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    int group = a.group, thread = decode_thread(), head = thread / THREADS, d = thread % THREADS * 2;
    if (head >= group + 2) return;
    int row = head < group ? p.kv_head * group + head : a.q_heads + (head - group) * a.kv_heads + p.kv_head;
    bf16 *out = head < group ? decode_attention().q[head] : head == group ? decode_attention().k : decode_attention().v;
    int64_t at = (int64_t)(p.context - 1) * HALF + d;
    float2 cosine = *(const float2 *)(a.cosine + at), sine = *(const float2 *)(a.sine + at);
    int index[2] = {a.places.qkv + (row * HEAD_DIM + d) / 2, a.places.qkv + (row * HEAD_DIM + d + HALF) / 2};
    uint32_t words[2];
    words_gather(place, index, words);
    if (head <= group) {
        float2 x = words_unpack(words[0]), y = words_unpack(words[1]);
        words[0] = attention_pack(x.x * cosine.x - y.x * sine.x, x.y * cosine.y - y.y * sine.y);
        words[1] = attention_pack(y.x * cosine.x + x.x * sine.x, y.y * cosine.y + x.y * sine.y);
    }
    *(uint32_t *)(out + d) = words[0];
    *(uint32_t *)(out + d + HALF) = words[1];
}

/* Sums of a warp lie as [heads, 64] numbers, dimensions in an order that keeps the stores below apart. */
__device__ static inline int attention_sum_at(int head, int d) { return head * HEAD_DIM + (d ^ 8 * (head % 4)); }

struct attention_scores {
    float largest, total, sums[HEAD_DIM / 8][4]; /* of head lane / 4; total: this lane's part. Of each four sums two are used */
};

/* 16 keys in shared memory, of which those from `first` to before `end` count. q: the heads' A fragments, rows 8 to 15 absent. */
__device__ static inline void attention_group(attention_scores &v, const uint32_t (&q)[HEAD_DIM / 16][2], const uint8_t *keys, int first, int end, float scale, int lane)
{
    float c[2][4] = {};
    uint32_t key = ring_address(keys) + attention_byte(lane % 8 + lane / 16 * 8, lane / 8 % 2);
    uint32_t value = ring_address(keys) + KV_VALUES + attention_byte(lane % 8 + lane / 8 % 2 * 8, lane / 16);
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 16; i++) {
        const uint32_t a[4] = {q[i][0], 0, q[i][1], 0};
        uint32_t b[4];
        attention_ldmatrix_at(b, key ^ 32 * i); /* chunks 2 i and 2 i + 1 */
        attention_mma(c[0], a, b[0], b[1]);
        attention_mma(c[1], a, b[2], b[3]);
    }
    float scores[4], best = v.largest;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        int at = 8 * (j / 2) + 2 * (lane % 4) + j % 2;
        scores[j] = at >= first && at < end ? c[j / 2][j % 2] * scale : -INFINITY;
        best = fmaxf(best, scores[j]);
    }
    best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
    best = fmaxf(best, __shfl_xor_sync(~0u, best, 2)); /* finite: a group has a key */
    float shrink = __expf(v.largest - best);
    v.largest = best;
    v.total *= shrink;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        scores[j] = __expf(scores[j] - best);
        v.total += scores[j];
    }
    const uint32_t weights[4] = {attention_pack(scores[0], scores[1]), 0, attention_pack(scores[2], scores[3]), 0};
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 16; i++) {
        uint32_t b[4];
        attention_ldmatrix_transposed_at(b, value ^ 32 * i);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float *sums = v.sums[2 * i + half];
            sums[0] *= shrink;
            sums[1] *= shrink;
            attention_mma(sums, weights, b[2 * half], b[2 * half + 1]);
        }
    }
}

/* This warp's groups of the part's keys; if it has any, it leaves sums over them, relative to the largest score, in shared memory. */
__device__ static inline void attention_scan(decode_cursor &c, const attention_part &p, int lane, int warp)
{
    decode_shared &s = decode_memory();
    int g = lane / 4, t = lane % 4;
    uint32_t q[HEAD_DIM / 16][2];
    attention_scores v = {};
    v.largest = -INFINITY;
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 16; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) q[i][half] = *(const uint32_t *)(decode_attention().q[g] + 16 * i + 8 * half + 2 * t);
#pragma unroll 1
    for (int begin = 0; begin < attention_all_groups(p); begin += KV_GROUPS) {
        int within = (warp - begin) & (ATTENTION_WARPS - 1), group = begin + within, first = p.from + group * GROUP_KEYS, own = p.context - 1 - first;
        uint8_t *keys = decode_await(c) + within * GROUP_BYTES;
        if (warp < ATTENTION_WARPS && within < KV_GROUPS && group < attention_all_groups(p)) {
            if (own >= 0 && own < GROUP_KEYS) attention_replace(keys, own, lane);
            attention_group(v, q, keys, p.visible - first, p.to - first, s.args.scale, lane);
            if (own >= 0 && own < GROUP_KEYS) ring_fence();
        }
        decode_release(c, lane, 1);
    }
    if (warp >= min(attention_all_groups(p), (int)ATTENTION_WARPS)) return;
    v.total += __shfl_xor_sync(~0u, v.total, 1);
    v.total += __shfl_xor_sync(~0u, v.total, 2);
    if (t == 0) {
        decode_attention().largest[warp][g] = v.largest;
        decode_attention().total[warp][g] = v.total;
    }
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 8; i++) *(float2 *)(decode_attention().sums[warp] + attention_sum_at(g, 8 * i + 2 * t)) = make_float2(v.sums[i][0], v.sums[i][1]);
}

/* What a (head, two dimensions) of a block's warps, or of a kv head's splits, come to. */
struct attention_sum {
    float x, y, largest, total;
};

/* warps: those that had keys */
__device__ static inline attention_sum attention_of_warps(int head, int d, int warps)
{
    const decode_shared &s = decode_memory();
    attention_sum out = {0, 0, -INFINITY, 0};
#pragma unroll 4
    for (int w = 0; w < warps; w++) out.largest = fmaxf(out.largest, decode_attention().largest[w][head]);
#pragma unroll 4
    for (int w = 0; w < warps; w++) {
        float keep = __expf(decode_attention().largest[w][head] - out.largest);
        float2 v = *(const float2 *)(decode_attention().sums[w] + attention_sum_at(head, d));
        out.total = fmaf(keep, decode_attention().total[w][head], out.total);
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
    int group = a.group, thread = decode_thread(), lane = thread % MAX_SPLITS, end = p.merged.end;
#pragma unroll 1
    for (int base = p.merged.begin; base < end; base += WORKER_THREADS / MAX_SPLITS) { /* all lanes stay together for the shuffles */
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
    int64_t at = ((int64_t)p.own * a.kv_heads + p.kv_head) * HEAD_DIM + d;
    layer.k_cache[at] = decode_attention().k[d];
    layer.v_cache[at] = decode_attention().v[d];
}

/* Once a step, before the first layer: this block's part for each kind of layer. Synchronises the block in between. */
__device__ static inline void attention_prepare(void)
{
    decode_shared &s = decode_memory();
    if (threadIdx.x < OPS_KV_KINDS) s.parts[threadIdx.x] = attention_part_of(s.args, threadIdx.x);
    __syncthreads();
    if (threadIdx.x >= OPS_KV_KINDS * KNOWN_GROUPS) return;
    int kind = threadIdx.x / KNOWN_GROUPS, group = threadIdx.x % KNOWN_GROUPS;
    const attention_part &p = s.parts[kind];
    s.tokens[kind][group] = group < attention_all_groups(p) ? attention_token(p, p.from + GROUP_KEYS * group) : 0;
}

/* By all workers of all blocks; those without a share return soon. */
DECODE_STAGE void attention_stage(decode_cursor &c, int l)
{
    const decode_args &a = decode_memory().args;
    const decode_layer &layer = decode_memory().layers[l % 2];
    int thread = decode_thread(), lane = thread % 32, warp = thread / 32, group = a.group;
    const attention_part &p = decode_memory().parts[layer.kind];
    const decode_place place = decode_place_at(decode_memory().place, p.sequence);
    if (p.split >= p.splits) {
        decode_sync_workers();
        return;
    }
    int head = thread / (HEAD_DIM / 2), d = 2 * (thread % (HEAD_DIM / 2)), warps = min(attention_all_groups(p), (int)ATTENTION_WARPS);
    unsigned short sink = head < group ? __ldg((const unsigned short *)layer.sinks + p.kv_head * group + head) : (unsigned short)0;
    attention_take_qkv(place, p);
    decode_sync_workers();
    attention_scan(c, p, lane, warp);
    attention_write_cache(layer, p);
    decode_sync_workers();
    if (head < group) {
        attention_sum sum = attention_of_warps(head, d, warps);
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
    if (SEQUENCES > 1) decode_sync_workers(); /* attention's result takes this memory */
}

#endif
