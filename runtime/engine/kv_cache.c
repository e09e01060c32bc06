#include "runtime/engine/kv_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/engine/kv_pool.h"

/* What a published full block stands for. */
typedef struct kv_node {
    uint64_t id, parent;
    uint64_t hash_hi; /* the low half is the pool's key */
} kv_node;

struct kv_cache {
    kv_shape shape;
    kv_pool pools[OPS_KV_KINDS];
    kv_node *nodes; /* [full blocks] valid where the full pool's block is keyed */
    int32_t *ids;   /* [full blocks, block_tokens] likewise */
    uint64_t last_node;
};

status kv_cache_open(const kv_shape *shape, kv_cache **out, status_detail *detail)
{
    kv_cache *cache = calloc(1, sizeof *cache);
    if (!cache) return status_fail(detail, STATUS_MACHINE, "no memory for the KV cache's bookkeeping");
    cache->shape = *shape;
    status result = STATUS_OK;
    for (int kind = 0; kind < OPS_KV_KINDS && result == STATUS_OK; kind++)
        result = kv_pool_init(&cache->pools[kind], shape->blocks[kind], detail);
    if (result == STATUS_OK && shape->prefix_cache) {
        size_t blocks = (size_t)shape->blocks[OPS_FULL];
        cache->nodes = calloc(blocks, sizeof *cache->nodes);
        cache->ids = calloc(blocks * (size_t)shape->block_tokens, sizeof *cache->ids);
        if (!cache->nodes || !cache->ids)
            result = status_fail(detail, STATUS_MACHINE, "no memory to index %d KV blocks: lower engine.kv_cache",
                                 shape->blocks[OPS_FULL]);
    }
    if (result != STATUS_OK) {
        kv_cache_close(cache);
        return result;
    }
    *out = cache;
    return STATUS_OK;
}

void kv_cache_close(kv_cache *cache)
{
    if (!cache) return;
    free(cache->ids);
    free(cache->nodes);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) kv_pool_free(&cache->pools[kind]);
    free(cache);
}

int kv_cache_free_blocks(const kv_cache *cache, int kind) { return cache->pools[kind].n_free; }

int kv_cache_total_blocks(const kv_cache *cache, int kind) { return cache->pools[kind].n_blocks; }

int kv_cache_window_blocks(const kv_shape *shape)
{
    return (shape->window - 1 + shape->block_tokens - 1) / shape->block_tokens + 1;
}

int kv_cache_room(const kv_cache *cache, const kv_holding *holding)
{
    int full = cache->pools[OPS_FULL].n_free, sliding = cache->pools[OPS_SLIDING].n_free;
    return (holding->count + (full < sliding ? full : sliding)) * cache->shape.block_tokens;
}

void kv_cache_extend(kv_cache *cache, kv_holding *holding, int n_tokens)
{
    while (holding->count * cache->shape.block_tokens < n_tokens) {
        for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
            int32_t block = kv_pool_take(&cache->pools[kind]);
            assert(block >= 0);
            holding->table[kind][holding->count] = block;
        }
        holding->count++;
    }
}

/* The first logical block that a query at `position` sees in a sliding layer. */
static int window_first(const kv_shape *shape, int position)
{
    int key = position - shape->window + 1;
    return key > 0 ? key / shape->block_tokens : 0;
}

void kv_cache_drop_behind(kv_cache *cache, kv_holding *holding, int next_position)
{
    int first = window_first(&cache->shape, next_position);
    if (first > holding->count) first = holding->count;
    for (; holding->sliding_first < first; holding->sliding_first++) {
        int32_t *entry = &holding->table[OPS_SLIDING][holding->sliding_first];
        kv_pool_unref(&cache->pools[OPS_SLIDING], *entry);
        *entry = -1;
    }
}

void kv_cache_release(kv_cache *cache, kv_holding *holding)
{
    /* Last blocks first: of a prefix its end is then reused before its beginning, which more requests share. */
    for (int i = holding->count - 1; i >= 0; i--) {
        kv_pool_unref(&cache->pools[OPS_FULL], holding->table[OPS_FULL][i]);
        if (i >= holding->sliding_first) kv_pool_unref(&cache->pools[OPS_SLIDING], holding->table[OPS_SLIDING][i]);
    }
    *holding = (kv_holding){.table = {holding->table[OPS_FULL], holding->table[OPS_SLIDING]}};
}

/* The full block that holds `ids` after `parent`, or -1. */
static int32_t find_full(const kv_cache *cache, uint64_t parent, kv_hash hash, const int32_t *ids)
{
    const kv_pool *pool = &cache->pools[OPS_FULL];
    size_t width = (size_t)cache->shape.block_tokens;
    int32_t block = -1;
    while ((block = kv_pool_find(pool, hash.lo, block)) >= 0) {
        const kv_node *node = &cache->nodes[block];
        if (node->parent == parent && node->hash_hi == hash.hi &&
            memcmp(cache->ids + (size_t)block * width, ids, width * sizeof *ids) == 0)
            return block;
    }
    return -1;
}

kv_match kv_cache_find(const kv_cache *cache, const int32_t *ids, const kv_hash *hashes, int n_tokens)
{
    const kv_shape *shape = &cache->shape;
    const kv_pool *sliding_pool = &cache->pools[OPS_SLIDING];
    kv_match match = {0};
    if (!shape->prefix_cache) return match;
    uint64_t parent = 0;
    int sliding_run = 0, idle_full = 0; /* sliding blocks present in a row, up to here */
    for (int i = 0; i < n_tokens / shape->block_tokens; i++) {
        int32_t block = find_full(cache, parent, hashes[i], ids + (size_t)i * (size_t)shape->block_tokens);
        if (block < 0) break;
        parent = cache->nodes[block].id;
        idle_full += cache->pools[OPS_FULL].refs[block] == 0;
        sliding_run = kv_pool_find(sliding_pool, parent, -1) >= 0 ? sliding_run + 1 : 0;
        int end = (i + 1) * shape->block_tokens;
        int needed = i + 1 - window_first(shape, end);
        if (sliding_run < needed) continue;
        match.tokens = end;
        match.idle[OPS_FULL] = idle_full;
        match.idle[OPS_SLIDING] = needed; /* at most; counted as if all were idle */
    }
    return match;
}

void kv_cache_attach(kv_cache *cache, kv_holding *holding, const int32_t *ids, const kv_hash *hashes, int n_tokens)
{
    const kv_shape *shape = &cache->shape;
    assert(holding->count == 0);
    int blocks = n_tokens / shape->block_tokens, first = window_first(shape, n_tokens);
    for (int i = 0; i < blocks; i++) {
        int32_t block = find_full(cache, holding->node, hashes[i], ids + (size_t)i * (size_t)shape->block_tokens);
        assert(block >= 0);
        kv_pool_ref(&cache->pools[OPS_FULL], block);
        holding->table[OPS_FULL][i] = block;
        holding->node = cache->nodes[block].id;
        int32_t sliding = -1;
        if (i >= first) {
            sliding = kv_pool_find(&cache->pools[OPS_SLIDING], holding->node, -1);
            assert(sliding >= 0);
            kv_pool_ref(&cache->pools[OPS_SLIDING], sliding);
        }
        holding->table[OPS_SLIDING][i] = sliding;
    }
    holding->count = holding->published = blocks;
    holding->sliding_first = first;
}

/* The node of `ids` after `parent`: the one that is there, or a new one in `block`. */
static uint64_t publish_full(kv_cache *cache, int32_t block, uint64_t parent, kv_hash hash, const int32_t *ids)
{
    int32_t twin = find_full(cache, parent, hash, ids);
    if (twin >= 0) return cache->nodes[twin].id;
    size_t width = (size_t)cache->shape.block_tokens;
    cache->nodes[block] = (kv_node){.id = ++cache->last_node, .parent = parent, .hash_hi = hash.hi};
    memcpy(cache->ids + (size_t)block * width, ids, width * sizeof *ids);
    kv_pool_set_key(&cache->pools[OPS_FULL], block, hash.lo);
    return cache->last_node;
}

void kv_cache_publish(kv_cache *cache, kv_holding *holding, const int32_t *ids, const kv_hash *hashes, int n_tokens)
{
    if (!cache->shape.prefix_cache) return;
    kv_pool *sliding_pool = &cache->pools[OPS_SLIDING];
    for (; (holding->published + 1) * cache->shape.block_tokens <= n_tokens; holding->published++) {
        int i = holding->published;
        holding->node = publish_full(cache, holding->table[OPS_FULL][i], holding->node, hashes[i],
                                     ids + (size_t)i * (size_t)cache->shape.block_tokens);
        int32_t sliding = holding->table[OPS_SLIDING][i];
        if (sliding >= 0 && kv_pool_find(sliding_pool, holding->node, -1) < 0)
            kv_pool_set_key(sliding_pool, sliding, holding->node);
    }
}
