/* Which lines of a batch were dealt with: a set of 128-bit hashes, so that a million lines take some tens of megabytes.
 *
 * The hashes' key is drawn anew in each process: nobody can make two names collide on purpose, and by chance they do once in 2^60 or so
 * for a billion lines.
 */
#ifndef LAUNCH_BATCH_IDS_H
#define LAUNCH_BATCH_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/engine/kv_hash.h"

typedef struct batch_ids {
    kv_hash key;
    kv_hash *slots; /* [capacity], a power of two; all zero: free. The lowest bit of lo: met in this run */
    size_t capacity, count;
} batch_ids;

typedef enum batch_ids_met {
    BATCH_IDS_NEW,
    BATCH_IDS_BEFORE, /* an earlier run dealt with it */
    BATCH_IDS_AGAIN,  /* this run has met it already */
    BATCH_IDS_NO_MEMORY,
} batch_ids_met;

/* {0} but for `key` is an empty set. */
void batch_ids_free(batch_ids *set);

/* A line is known by its custom_id, or, when it has none, by its number. */
kv_hash batch_ids_name(const batch_ids *set, const char *custom_id, size_t size);
kv_hash batch_ids_number(const batch_ids *set, int64_t line);

/* An earlier run dealt with it. False: no memory. */
bool batch_ids_keep(batch_ids *set, kv_hash id);
/* This run comes upon it. */
batch_ids_met batch_ids_meet(batch_ids *set, kv_hash id);

#endif
