#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/dfa.h"

/* Pairs of states that were reached, numbered in the order of their discovery; found again by open addressing. */
typedef struct pairs {
    uint64_t *items; /* [n] a state of each: a << 32 | b */
    size_t n, capacity;
    uint32_t *slots; /* [n_slots] number + 1 */
    size_t n_slots;  /* a power of two */
} pairs;

static size_t slot_of(const pairs *set, uint64_t pair)
{
    size_t mask = set->n_slots - 1;
    size_t at = (size_t)((pair ^ pair >> 29) * UINT64_C(0x9E3779B97F4A7C15) >> 32) & mask;
    while (set->slots[at] && set->items[set->slots[at] - 1] != pair) at = (at + 1) & mask;
    return at;
}

static bool rehash(pairs *set)
{
    size_t n_slots = set->n_slots ? set->n_slots * 2 : 64;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) return false;
    free(set->slots);
    set->slots = slots;
    set->n_slots = n_slots;
    for (size_t i = 0; i < set->n; i++) slots[slot_of(set, set->items[i])] = (uint32_t)i + 1;
    return true;
}

/* The number of a pair, DFA_DEAD when it cannot be had. */
static uint32_t number_of(expr_pool *p, pairs *set, uint32_t a, uint32_t b)
{
    uint64_t pair = (uint64_t)a << 32 | b;
    if (set->n * 2 >= set->n_slots && !rehash(set)) goto no_memory;
    size_t slot = slot_of(set, pair);
    if (set->slots[slot]) return set->slots[slot] - 1;
    if (set->n >= DFA_MAX_STATES) {
        expr_pool_too_large(p);
        return DFA_DEAD;
    }
    if (!expr_grow(&set->items, set->n, &set->capacity, sizeof *set->items)) goto no_memory;
    set->items[set->n] = pair;
    set->slots[slot] = (uint32_t)++set->n;
    return (uint32_t)set->n - 1;

no_memory:
    expr_pool_no_memory(p);
    return DFA_DEAD;
}

/* Discovers all pairs; `next` gets a row for each. */
static bool explore(expr_pool *p, const dfa *a, const dfa *b, pairs *set, uint32_t **next, size_t *next_capacity)
{
    if (number_of(p, set, 0, 0) == DFA_DEAD) return false;
    for (size_t i = 0; i < set->n; i++) {
        if ((i + 1) * a->n_classes > EXPR_MAX_CELLS) {
            expr_pool_too_large(p);
            return false;
        }
        const uint32_t *from_a = a->next + (size_t)(set->items[i] >> 32) * a->n_classes;
        const uint32_t *from_b = b->next + (size_t)(uint32_t)set->items[i] * b->n_classes;
        for (uint32_t c = 0; c < a->n_classes; c++) {
            size_t cell = i * a->n_classes + c;
            if (!expr_grow(next, cell, next_capacity, sizeof **next)) {
                expr_pool_no_memory(p);
                return false;
            }
            (*next)[cell] = DFA_DEAD;
            if (from_a[c] == DFA_DEAD || from_b[c] == DFA_DEAD) continue;
            uint32_t to = number_of(p, set, from_a[c], from_b[c]);
            if (to == DFA_DEAD) return false;
            (*next)[cell] = to;
        }
    }
    return true;
}

/* `keep_pairs`: what states are made of stays with the product. */
static dfa *multiply(expr_pool *p, dfa *a, dfa *b, bool keep_pairs)
{
    pairs set = {0};
    uint32_t *next = NULL;
    size_t next_capacity = 0;
    dfa *out = NULL;
    if (!a || !b) goto done;
    if (dfa_is_empty(a) || dfa_is_empty(b)) {
        out = dfa_new(p, a->classes, a->n_classes, 0);
        goto done;
    }
    if (!explore(p, a, b, &set, &next, &next_capacity)) goto done;
    out = dfa_new(p, a->classes, a->n_classes, set.n);
    if (!out) goto done;
    memcpy(out->next, next, set.n * a->n_classes * sizeof *next);
    for (size_t i = 0; i < set.n; i++)
        out->accepts[i] = a->accepts[set.items[i] >> 32] && b->accepts[(uint32_t)set.items[i]];
    if (keep_pairs) {
        out->pairs = set.items;
        set.items = NULL;
    }
    out = dfa_trim(p, out);
done:
    free(set.items);
    free(set.slots);
    free(next);
    dfa_free(a);
    dfa_free(b);
    return out;
}

dfa *dfa_product(expr_pool *p, dfa *a, dfa *b) { return multiply(p, a, b, false); }

dfa *dfa_limit(expr_pool *p, const dfa_alphabet *a, dfa *d, uint32_t least, uint32_t most)
{
    dfa *base = dfa_copy(p, d), *out = multiply(p, d, dfa_of_length(p, a, least, most), true);
    if (!base || !out || !out->pairs) {
        dfa_free(base);
        return out;
    }
    out->base = base;
    out->unlimited = most == EXPR_NO_LIMIT;
    out->longest = out->unlimited ? least : most;
    return out;
}
