/* Chained 128-bit hash of blocks of token ids: names a block by its own ids and everything before it.
 *
 * Not cryptographic. The key is drawn anew in each process, so that a client cannot aim at collisions, and kv_cache compares the ids
 * themselves: a collision costs a cache miss, never wrong content.
 */
#ifndef RUNTIME_ENGINE_KV_HASH_H
#define RUNTIME_ENGINE_KV_HASH_H

#include <stdint.h>

typedef struct kv_hash {
    uint64_t lo, hi;
} kv_hash;

/* The hash of a block of `n` ids that follows the block hashed `parent`; the first block's parent is all zero. */
kv_hash kv_hash_block(kv_hash key, kv_hash parent, const int32_t *ids, int n);

/* A well-mixed 64-bit value: spreads consecutive numbers over a hash table. */
uint64_t kv_hash_mix(uint64_t value);

#endif
