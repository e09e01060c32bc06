/* A pool of equal blocks: reference counts, the free list, and an index of blocks by a 64-bit key.
 *
 * The free list holds every unreferenced block in the order of reuse: blocks without a key first, then keyed ones, least recently
 * used first. A keyed block keeps its key on the list, so it can be found and taken back into use until it is handed out anew.
 * Not thread safe; belongs to kv_cache.
 */
#ifndef RUNTIME_ENGINE_KV_POOL_H
#define RUNTIME_ENGINE_KV_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef struct kv_pool {
    int n_blocks;
    int n_free;           /* unreferenced blocks, keyed or not */
    int32_t *refs;        /* [n_blocks] */
    int32_t *prev, *next; /* [n_blocks + 1] ring of the free blocks; entry n_blocks is its head: next is reused first */
    uint64_t *keys;       /* [n_blocks] valid where keyed */
    bool *keyed;          /* [n_blocks] */
    int32_t *buckets;     /* [mask + 1] first block of a bucket, or -1 */
    int32_t *chain;       /* [n_blocks] next block of the same bucket, or -1 */
    uint32_t mask;
} kv_pool;

/* Fills `pool`; kv_pool_free() also after a failure. */
status kv_pool_init(kv_pool *pool, int n_blocks, status_detail *detail);
void kv_pool_free(kv_pool *pool);

/* The free block that is reused first, with one reference and without its key; -1: none is free. */
int32_t kv_pool_take(kv_pool *pool);
/* One more reference; the block may lie on the free list. */
void kv_pool_ref(kv_pool *pool, int32_t block);
/* One reference less; without any, the block goes to the free list. */
void kv_pool_unref(kv_pool *pool, int32_t block);

/* Makes an unkeyed block findable. Several blocks may bear one key. */
void kv_pool_set_key(kv_pool *pool, int32_t block, uint64_t key);
/* The next block with that key after block `after` (-1: the first), or -1. */
int32_t kv_pool_find(const kv_pool *pool, uint64_t key, int32_t after);

#endif
