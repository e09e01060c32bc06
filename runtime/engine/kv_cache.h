/* The KV cache of one data-parallel group, as block numbers: which blocks a sequence holds, and which blocks hold a known prefix.
 *
 * Every logical block (position / block_tokens) of a sequence has one physical block in the pool of full layers and, while it lies
 * within reach of the sliding window, one in the pool of sliding layers. Memory itself belongs to the model; nothing here touches it.
 *
 * Prefix cache: a full block (block_tokens computed ids) is published under a node, a number that stands for exactly one chain of
 * ids from the start. The full pool finds a node by (parent node, hash, ids); the sliding pool finds a block by its node. Equal nodes
 * mean equal ids by induction, whatever the hash does. Blocks stay findable after their last holder let go, until they are reused.
 */
#ifndef RUNTIME_ENGINE_KV_CACHE_H
#define RUNTIME_ENGINE_KV_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/ops.h"
#include "runtime/base/status.h"
#include "runtime/engine/kv_hash.h"

typedef struct kv_cache kv_cache;

typedef struct kv_shape {
    int block_tokens;
    int window;               /* keys that a query of a sliding layer sees, itself included */
    int blocks[OPS_KV_KINDS]; /* of each pool */
    bool prefix_cache;        /* false: nothing is published, nothing is found */
} kv_shape;

/* What one running sequence holds. Zeroed but for `table`, it holds nothing. */
typedef struct kv_holding {
    int32_t *table[OPS_KV_KINDS]; /* caller's memory, [blocks of the longest sequence]: physical blocks by logical block; -1 where given back */
    int count;                    /* logical blocks */
    int sliding_first;            /* logical blocks before this one are given back in the sliding table */
    int published;                /* leading logical blocks that have a node */
    uint64_t node;                /* of the last published block; 0: none */
} kv_holding;

/* A prefix that is there. */
typedef struct kv_match {
    int tokens;             /* a multiple of block_tokens */
    int idle[OPS_KV_KINDS]; /* how many blocks taking it would remove from the free ones */
} kv_match;

status kv_cache_open(const kv_shape *shape, kv_cache **out, status_detail *detail);
void kv_cache_close(kv_cache *cache); /* NULL is allowed */

/* Blocks that can be taken now, of one kind. */
int kv_cache_free_blocks(const kv_cache *cache, int kind);
/* Blocks of one kind, in use or free. */
int kv_cache_total_blocks(const kv_cache *cache, int kind);
/* Sliding blocks that one sequence holds at most while it decodes: the window's positions span this many. */
int kv_cache_window_blocks(const kv_shape *shape);

/* Positions [0, result) that `holding` could cover if it took every free block. */
int kv_cache_room(const kv_cache *cache, const kv_holding *holding);
/* Takes blocks until positions [0, n_tokens) are covered; n_tokens at most kv_cache_room(). */
void kv_cache_extend(kv_cache *cache, kv_holding *holding, int n_tokens);
/* Gives back the sliding blocks that neither a query at `next_position` nor a later one sees. */
void kv_cache_drop_behind(kv_cache *cache, kv_holding *holding, int next_position);
/* Gives everything back; `holding` is as new. */
void kv_cache_release(kv_cache *cache, kv_holding *holding);

/* The longest usable prefix among the first n_tokens of `ids`: full blocks all there, sliding blocks there for the window before its
 * end. `hashes`: of the blocks of `ids`. */
kv_match kv_cache_find(const kv_cache *cache, const int32_t *ids, const kv_hash *hashes, int n_tokens);
/* Gives `holding`, which holds nothing, the first n_tokens as kv_cache_find() just found them. */
void kv_cache_attach(kv_cache *cache, kv_holding *holding, const int32_t *ids, const kv_hash *hashes, int n_tokens);
/* Makes the holding's blocks findable that lie wholly in the first n_tokens, computed and known. */
void kv_cache_publish(kv_cache *cache, kv_holding *holding, const int32_t *ids, const kv_hash *hashes, int n_tokens);

#endif
