#include "launch/batch_ids.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 1 << 10, MET = 1 };
enum { NAME = 1, NUMBER = 2 }; /* apart from each other, so that no custom_id stands for a line's number */

void batch_ids_free(batch_ids *set)
{
    free(set->slots);
    set->slots = NULL;
    set->capacity = set->count = 0;
}

/* Leaves the lowest bit free, and is never all zero. */
static kv_hash finish(kv_hash h)
{
    h.lo &= ~(uint64_t)MET;
    h.hi |= !(h.lo | h.hi);
    return h;
}

kv_hash batch_ids_name(const batch_ids *set, const char *custom_id, size_t size)
{
    enum { WORDS = 64 };
    kv_hash h = {NAME, size};
    for (size_t at = 0; at < size;) {
        int32_t words[WORDS] = {0};
        size_t n = size - at < sizeof words ? size - at : sizeof words;
        memcpy(words, custom_id + at, n);
        h = kv_hash_block(set->key, h, words, WORDS);
        at += n;
    }
    return finish(h);
}

kv_hash batch_ids_number(const batch_ids *set, int64_t line)
{
    int32_t words[2];
    memcpy(words, &line, sizeof words);
    return finish(kv_hash_block(set->key, (kv_hash){NUMBER, 0}, words, 2));
}

static kv_hash *find(kv_hash *slots, size_t capacity, kv_hash id)
{
    size_t at = (size_t)kv_hash_mix(id.lo ^ id.hi) & (capacity - 1);
    while ((slots[at].lo | slots[at].hi) && ((slots[at].lo ^ id.lo) > MET || slots[at].hi != id.hi)) at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static bool grow(batch_ids *set)
{
    if (set->capacity && set->count < set->capacity / 4 * 3) return true;
    size_t capacity = set->capacity ? 2 * set->capacity : FIRST_CAPACITY;
    kv_hash *slots = calloc(capacity, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < set->capacity; i++) {
        kv_hash id = set->slots[i];
        if (!(id.lo | id.hi)) continue;
        *find(slots, capacity, (kv_hash){id.lo & ~(uint64_t)MET, id.hi}) = id;
    }
    free(set->slots);
    set->slots = slots;
    set->capacity = capacity;
    return true;
}

/* The slot of `id`, where it now stands. NULL: no memory. */
static kv_hash *put(batch_ids *set, kv_hash id, bool *fresh)
{
    if (!grow(set)) return NULL;
    kv_hash *slot = find(set->slots, set->capacity, id);
    *fresh = !(slot->lo | slot->hi);
    if (*fresh) {
        *slot = id;
        set->count++;
    }
    return slot;
}

bool batch_ids_keep(batch_ids *set, kv_hash id)
{
    bool fresh;
    return put(set, id, &fresh);
}

batch_ids_met batch_ids_meet(batch_ids *set, kv_hash id)
{
    bool fresh;
    kv_hash *slot = put(set, id, &fresh);
    if (!slot) return BATCH_IDS_NO_MEMORY;
    bool met = slot->lo & MET;
    slot->lo |= MET;
    return fresh ? BATCH_IDS_NEW : met ? BATCH_IDS_AGAIN : BATCH_IDS_BEFORE;
}
