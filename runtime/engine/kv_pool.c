#include "runtime/engine/kv_pool.h"

#include <assert.h>
#include <stdlib.h>

#include "runtime/engine/kv_hash.h"

static void list_remove(kv_pool *pool, int32_t block)
{
    pool->next[pool->prev[block]] = pool->next[block];
    pool->prev[pool->next[block]] = pool->prev[block];
    pool->n_free--;
}

/* Puts `block` between `before` and whatever follows it. */
static void list_insert(kv_pool *pool, int32_t before, int32_t block)
{
    pool->prev[block] = before;
    pool->next[block] = pool->next[before];
    pool->prev[pool->next[before]] = block;
    pool->next[before] = block;
    pool->n_free++;
}

status kv_pool_init(kv_pool *pool, int n_blocks, status_detail *detail)
{
    *pool = (kv_pool){.n_blocks = n_blocks};
    uint32_t buckets = 16;
    while (buckets < (uint32_t)n_blocks) buckets *= 2;
    pool->mask = buckets - 1;
    size_t n = (size_t)n_blocks;
    pool->refs = calloc(n, sizeof *pool->refs);
    pool->prev = malloc((n + 1) * sizeof *pool->prev);
    pool->next = malloc((n + 1) * sizeof *pool->next);
    pool->keys = calloc(n, sizeof *pool->keys);
    pool->keyed = calloc(n, sizeof *pool->keyed);
    pool->chain = malloc(n * sizeof *pool->chain);
    pool->buckets = malloc(buckets * sizeof *pool->buckets);
    if (!pool->refs || !pool->prev || !pool->next || !pool->keys || !pool->keyed || !pool->chain || !pool->buckets)
        return status_fail(detail, STATUS_MACHINE, "no memory to keep track of %d KV blocks: lower engine.kv_cache",
                           n_blocks);
    for (uint32_t i = 0; i < buckets; i++) pool->buckets[i] = -1;
    pool->prev[n_blocks] = pool->next[n_blocks] = n_blocks;
    for (int32_t block = 0; block < n_blocks; block++) list_insert(pool, pool->prev[n_blocks], block);
    return STATUS_OK;
}

void kv_pool_free(kv_pool *pool)
{
    free(pool->buckets);
    free(pool->chain);
    free(pool->keyed);
    free(pool->keys);
    free(pool->next);
    free(pool->prev);
    free(pool->refs);
    *pool = (kv_pool){0};
}

static int32_t *bucket_of(const kv_pool *pool, uint64_t key)
{
    return &pool->buckets[(uint32_t)kv_hash_mix(key) & pool->mask];
}

static void unset_key(kv_pool *pool, int32_t block)
{
    int32_t *link = bucket_of(pool, pool->keys[block]);
    while (*link != block) link = &pool->chain[*link];
    *link = pool->chain[block];
    pool->keyed[block] = false;
}

int32_t kv_pool_take(kv_pool *pool)
{
    int32_t block = pool->next[pool->n_blocks];
    if (block == pool->n_blocks) return -1;
    list_remove(pool, block);
    if (pool->keyed[block]) unset_key(pool, block);
    pool->refs[block] = 1;
    return block;
}

void kv_pool_ref(kv_pool *pool, int32_t block)
{
    if (pool->refs[block]++ == 0) list_remove(pool, block);
}

void kv_pool_unref(kv_pool *pool, int32_t block)
{
    assert(pool->refs[block] > 0);
    if (--pool->refs[block] > 0) return;
    list_insert(pool, pool->keyed[block] ? pool->prev[pool->n_blocks] : pool->n_blocks, block);
}

void kv_pool_set_key(kv_pool *pool, int32_t block, uint64_t key)
{
    assert(!pool->keyed[block]);
    int32_t *bucket = bucket_of(pool, key);
    pool->keys[block] = key;
    pool->keyed[block] = true;
    pool->chain[block] = *bucket;
    *bucket = block;
}

int32_t kv_pool_find(const kv_pool *pool, uint64_t key, int32_t after)
{
    int32_t block = after < 0 ? *bucket_of(pool, key) : pool->chain[after];
    while (block >= 0 && pool->keys[block] != key) block = pool->chain[block];
    return block;
}
