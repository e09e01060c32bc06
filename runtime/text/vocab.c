#define _GNU_SOURCE /* qsort_r */
#include "runtime/text/vocab.h"

#include <stdlib.h>
#include <string.h>

/* ---- the hash table ---------------------------------------------------------------------------------------------- */

enum { SHORT_SIZE = 8, FIRST_SLOT_BITS = 10 };

static uint64_t mix(uint64_t h) { return (h ^ h >> 32) * UINT64_C(0x9E3779B97F4A7C15); }

static uint64_t load64(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static uint64_t load32(const char *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Up to 8 bytes: a value that no other string of this size has. More: a hash. The last words of both overlap instead of
 * reading past the end. */
static uint64_t key_of(const char *bytes, size_t size)
{
    const unsigned char *u = (const unsigned char *)bytes;
    if (size < 4) return u[0] | (uint64_t)u[size / 2] << 8 | (uint64_t)u[size - 1] << 16;
    if (size < 8) return load32(bytes) | load32(bytes + size - 4) << 32;
    uint64_t h = load64(bytes);
    if (size == SHORT_SIZE) return h;
    for (size_t i = 8; i + 8 < size; i += 8) h = mix(h) ^ load64(bytes + i);
    return mix(mix(h) ^ load64(bytes + size - 8));
}

static size_t slot_index(const vocab *v, uint64_t key, size_t size)
{
    return (size_t)(mix(key ^ (uint64_t)size << 56) >> v->shift);
}

static size_t slot_count(const vocab *v) { return (size_t)1 << (64 - v->shift); }

/* The slot of these bytes, or the empty one where they would go. */
static vocab_slot *slot_of(const vocab *v, const char *bytes, size_t size)
{
    uint64_t key = key_of(bytes, size);
    size_t mask = slot_count(v) - 1;
    for (size_t i = slot_index(v, key, size);; i = (i + 1) & mask) {
        vocab_slot *slot = &v->slots[i];
        if (slot->size == 0) return slot;
        if (slot->key != key || slot->size != size) continue;
        if (size <= SHORT_SIZE) return slot;
        if (slot->id >= 0 && memcmp(v->bytes.data + v->tokens[slot->id].start, bytes, size) == 0) return slot;
    }
}

/* Keeps the table at most half full, so that probes stay short. */
static bool make_room(vocab *v)
{
    if (v->slots && (v->n_ordinary + 1) * 2 <= slot_count(v)) return true;
    vocab grown = *v;
    grown.shift = v->slots ? v->shift - 1 : 64 - FIRST_SLOT_BITS;
    grown.slots = calloc(slot_count(&grown), sizeof *grown.slots);
    if (!grown.slots) return false;
    size_t mask = slot_count(&grown) - 1;
    for (size_t i = 0; v->slots && i < slot_count(v); i++) {
        const vocab_slot *old = &v->slots[i];
        if (old->size == 0) continue;
        size_t to = slot_index(&grown, old->key, old->size);
        while (grown.slots[to].size) to = (to + 1) & mask;
        grown.slots[to] = *old;
    }
    free(v->slots);
    *v = grown;
    return true;
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

void vocab_free(vocab *v)
{
    free(v->tokens);
    free(v->slots);
    free(v->specials);
    buffer_free(&v->bytes);
    *v = (vocab){0};
}

static bool make_room_for_id(vocab *v, int32_t id)
{
    if (id >= v->capacity) {
        int32_t capacity = id + 1 > v->capacity * 2 ? id + 1 : v->capacity * 2;
        vocab_token *tokens = realloc(v->tokens, (size_t)capacity * sizeof *tokens);
        if (!tokens) return false;
        memset(tokens + v->capacity, 0, (size_t)(capacity - v->capacity) * sizeof *tokens);
        v->tokens = tokens;
        v->capacity = capacity;
    }
    return true;
}

static bool push_special(vocab *v, int32_t id)
{
    if ((v->n_specials & (v->n_specials - 1)) == 0) {
        size_t capacity = v->n_specials ? v->n_specials * 2 : 1;
        int32_t *specials = realloc(v->specials, capacity * sizeof *specials);
        if (!specials) return false;
        v->specials = specials;
    }
    v->specials[v->n_specials++] = id;
    return true;
}

status vocab_add(vocab *v, int32_t id, const char *bytes, size_t size, bool special, status_detail *detail)
{
    if (id < 0 || id >= VOCAB_MAX_IDS)
        return status_fail(detail, STATUS_MODEL, "token id %d is outside 0..%d", (int)id, VOCAB_MAX_IDS - 1);
    if (size == 0) return status_fail(detail, STATUS_MODEL, "token %d is empty", (int)id);
    if (size > INT32_MAX || v->bytes.size > UINT32_MAX - size)
        return status_fail(detail, STATUS_MODEL, "the tokens together are larger than 4 GiB");
    if (id < v->n_ids && v->tokens[id].size)
        return status_fail(detail, STATUS_MODEL, "two tokens have the id %d", (int)id);

    size_t start = v->bytes.size;
    if (!make_room_for_id(v, id) || !make_room(v) || !buffer_append(&v->bytes, bytes, size)) goto no_memory;
    if (special) {
        if (!push_special(v, id)) goto no_memory;
    } else {
        vocab_slot *slot = slot_of(v, bytes, size);
        if (slot->size) {
            v->bytes.size = start;
            return status_fail(detail, STATUS_MODEL, "tokens %d and %d have the same bytes", (int)slot->id, (int)id);
        }
        *slot = (vocab_slot){.key = key_of(bytes, size), .size = (uint32_t)size, .id = id};
        v->n_ordinary++;
    }
    v->tokens[id] = (vocab_token){.start = (uint32_t)start, .size = (uint32_t)size & INT32_MAX, .special = special};
    if (id >= v->n_ids) v->n_ids = id + 1;
    return STATUS_OK;

no_memory:
    v->bytes.size = start;
    return status_fail(detail, STATUS_INTERNAL, "out of memory while building the vocabulary");
}

static int compare_text(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_specials(const void *a, const void *b, void *of)
{
    const vocab *v = of;
    const vocab_token *x = &v->tokens[*(const int32_t *)a], *y = &v->tokens[*(const int32_t *)b];
    return compare_text(v->bytes.data + x->start, x->size, v->bytes.data + y->start, y->size);
}

status vocab_seal(vocab *v, status_detail *detail)
{
    if (v->n_specials) qsort_r(v->specials, v->n_specials, sizeof *v->specials, compare_specials, v);
    for (size_t i = 1; i < v->n_specials; i++)
        if (compare_specials(&v->specials[i - 1], &v->specials[i], v) == 0)
            return status_fail(detail, STATUS_MODEL, "special tokens %d and %d have the same text",
                               (int)v->specials[i - 1], (int)v->specials[i]);
    return STATUS_OK;
}

/* ---- looking up -------------------------------------------------------------------------------------------------- */

int32_t vocab_find(const vocab *v, const char *bytes, size_t size)
{
    if (size == 0 || !v->slots) return -1;
    const vocab_slot *slot = slot_of(v, bytes, size);
    return slot->size ? slot->id : -1;
}

void vocab_hide(vocab *v, int32_t id)
{
    size_t size;
    const char *bytes = vocab_bytes(v, id, &size);
    if (bytes && !v->tokens[id].special) slot_of(v, bytes, size)->id = -1;
}

int32_t vocab_special(const vocab *v, const char *text)
{
    size_t low = 0, high = v->n_specials, size = strlen(text);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const vocab_token *token = &v->tokens[v->specials[middle]];
        int order = compare_text(text, size, v->bytes.data + token->start, token->size);
        if (order == 0) return v->specials[middle];
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return -1;
}

const char *vocab_bytes(const vocab *v, int32_t id, size_t *size)
{
    *size = 0;
    if (id < 0 || id >= v->n_ids || v->tokens[id].size == 0) return NULL;
    *size = v->tokens[id].size;
    return v->bytes.data + v->tokens[id].start;
}

bool vocab_is_special(const vocab *v, int32_t id) { return id >= 0 && id < v->n_ids && v->tokens[id].special; }
