/* Finding the functions: a walk over all tokens that keeps an element of the monoid for each character of the last one,
 * as a trie's walk keeps states. What a character makes of an element is found once. */
#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/token_classes_internal.h"

enum {
    MAX_CELLS = 1 << 21,      /* elements * states */
    MAX_CLASSES = 1 << 13,    /* each is asked for in each mask */
    MAX_LIMIT_BITS = 1 << 23, /* of `alive` */
    FEW = 100,                /* fewer than one token in so many: not worth it */
    WORDS_PER_TOKEN = 4,      /* a class with a token for every so many words of a mask gets a mask of its own */
    NOT_KNOWN = -1,
    DEAD_ELEMENT = -2,
};

typedef struct builder {
    const dfa *d; /* without its limit */
    const vocab_text *t;
    token_classes *c;
    uint16_t *letter_of; /* [t->n_letters] */

    size_t n_elements, to_capacity, steps_capacity;
    int32_t *steps;          /* [n_elements][n_letters] an element, NOT_KNOWN or DEAD_ELEMENT */
    uint32_t *element_slots; /* element + 1, by open addressing */
    size_t n_element_slots;

    uint64_t *keys; /* [n_classes] */
    size_t n_keys_capacity, classes_capacity;
    uint32_t *key_slots; /* [2 * MAX_CLASSES] class + 1 */
    uint32_t *class_of;  /* [t->n_entries], or UINT32_MAX */
    uint32_t *set_of;    /* [t->n_cuts], UINT32_MAX: no letter */
    size_t sets_capacity, starts_capacity;

    size_t n_whole; /* tokens */
    bool too_many, no_memory;
} builder;

static bool broken(const builder *b) { return b->too_many || b->no_memory; }

/* ---- elements ---------------------------------------------------------------------------------------------------- */

static uint64_t hash_element(const uint16_t *to, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) h = (h ^ to[i] ^ h >> 31) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 32;
}

static bool rehash_elements(builder *b)
{
    size_t n_slots = b->n_element_slots ? b->n_element_slots * 2 : 64, n_states = b->c->n_states;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) return false;
    free(b->element_slots);
    b->element_slots = slots;
    b->n_element_slots = n_slots;
    for (size_t e = 0; e < b->n_elements; e++) {
        size_t at = hash_element(b->c->to + e * n_states, n_states) & (n_slots - 1);
        while (slots[at]) at = (at + 1) & (n_slots - 1);
        slots[at] = (uint32_t)e + 1;
    }
    return true;
}

/* Room for one more element behind the last. */
static bool grow_elements(builder *b)
{
    size_t n_states = b->c->n_states, n_letters = b->c->n_letters;
    if ((b->n_elements + 1) * n_states > MAX_CELLS) {
        b->too_many = true;
        return false;
    }
    if (!expr_grow(&b->c->to, b->n_elements, &b->to_capacity, n_states * sizeof *b->c->to) ||
        !expr_grow(&b->steps, b->n_elements, &b->steps_capacity, n_letters * sizeof *b->steps) ||
        (b->n_elements * 2 >= b->n_element_slots && !rehash_elements(b))) {
        b->no_memory = true;
        return false;
    }
    return true;
}

/* The number of the element that was written behind the last one. */
static int32_t number_element(builder *b)
{
    size_t n_states = b->c->n_states, mask = b->n_element_slots - 1;
    const uint16_t *made = b->c->to + b->n_elements * n_states;
    size_t at = hash_element(made, n_states) & mask;
    for (; b->element_slots[at]; at = (at + 1) & mask) {
        uint32_t e = b->element_slots[at] - 1;
        if (memcmp(b->c->to + e * n_states, made, n_states * sizeof *made) == 0) return (int32_t)e;
    }
    for (size_t l = 0; l < b->c->n_letters; l++) b->steps[b->n_elements * b->c->n_letters + l] = NOT_KNOWN;
    b->element_slots[at] = (uint32_t)++b->n_elements;
    return (int32_t)b->n_elements - 1;
}

/* The element that is `element` and then `letter`. */
static int32_t step(builder *b, int32_t element, uint16_t letter)
{
    token_classes *c = b->c;
    if (!grow_elements(b)) return DEAD_ELEMENT;
    const uint16_t *from = c->to + (size_t)element * c->n_states;
    uint16_t *made = c->to + b->n_elements * c->n_states;
    bool any = false;
    for (uint32_t s = 0; s < c->n_states; s++) {
        made[s] = from[s] == TOKEN_CLASSES_DEAD ? TOKEN_CLASSES_DEAD : c->next[(size_t)from[s] * c->n_letters + letter];
        any |= made[s] != TOKEN_CLASSES_DEAD;
    }
    int32_t to = any ? number_element(b) : DEAD_ELEMENT;
    b->steps[(size_t)element * c->n_letters + letter] = to;
    return to;
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

/* UINT32_MAX: it cannot be had. */
static uint32_t number_class(builder *b, token_class class)
{
    token_classes *c = b->c;
    uint64_t key = (uint64_t) class.element << 32 | (uint64_t) class.set << 16 | class.chars << 8 | class.kind;
    size_t mask = 2 * MAX_CLASSES - 1, at = (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 40) & mask;
    for (; b->key_slots[at]; at = (at + 1) & mask)
        if (b->keys[b->key_slots[at] - 1] == key) return b->key_slots[at] - 1;
    if (c->n_classes == MAX_CLASSES) {
        b->too_many = true;
        return UINT32_MAX;
    }
    if (!expr_grow(&c->classes, c->n_classes, &b->classes_capacity, sizeof *c->classes) ||
        !expr_grow(&b->keys, c->n_classes, &b->n_keys_capacity, sizeof *b->keys)) {
        b->no_memory = true;
        return UINT32_MAX;
    }
    b->keys[c->n_classes] = key;
    c->classes[c->n_classes] = class;
    b->key_slots[at] = (uint32_t)++c->n_classes;
    return (uint32_t)c->n_classes - 1;
}

static uint32_t class_of_entry(builder *b, const vocab_text_entry *entry, int32_t element, uint32_t chars)
{
    token_class class = {.element = (uint32_t)element, .chars = b->c->pairs ? chars : 0, .kind = entry->kind};
    class.mask = TOKEN_CLASSES_NO_MASK;
    if (entry->kind == VOCAB_TEXT_CUT) {
        if (b->set_of[entry->rest] == UINT32_MAX) return UINT32_MAX;
        class.set = (uint16_t)b->set_of[entry->rest];
    }
    if (b->c->reach < chars + 1) b->c->reach = chars + 1;
    b->n_whole += entry->kind == VOCAB_TEXT_WHOLE;
    return number_class(b, class);
}

/* Gives every token its class. */
static void classify(builder *b)
{
    int32_t path[TRIE_MAX_TOKEN + 1] = {0}; /* elements by characters; 0 is the identity */
    uint32_t dead_from = UINT32_MAX;        /* the characters of the last token from which it is dead */
    const uint32_t *fresh = b->t->stream;
    for (size_t i = 0; i < b->t->n_entries && !broken(b); i++) {
        const vocab_text_entry *entry = &b->t->entries[i];
        uint32_t chars = entry->shared, all = chars + entry->fresh;
        b->class_of[i] = UINT32_MAX;
        if (dead_from > chars) dead_from = UINT32_MAX;
        for (; dead_from == UINT32_MAX && chars < all; chars++) {
            uint16_t letter = b->letter_of[fresh[chars - entry->shared]];
            int32_t to = b->steps[(size_t)path[chars] * b->c->n_letters + letter];
            if (to == NOT_KNOWN) to = step(b, path[chars], letter);
            path[chars + 1] = to;
            if (to == DEAD_ELEMENT) dead_from = chars + 1;
        }
        fresh += entry->fresh;
        if (dead_from == UINT32_MAX && !broken(b)) b->class_of[i] = class_of_entry(b, entry, path[all], all);
    }
}

/* ---- letters ----------------------------------------------------------------------------------------------------- */

static void find_letters(builder *b)
{
    uint32_t letter = 0;
    for (size_t i = 0; i < b->t->n_letters; i++) {
        while (b->d->classes[letter].high < b->t->letters[i]) letter++;
        b->letter_of[i] = (uint16_t)letter;
    }
}

/* The number of the set that was gathered behind the last one; equal ones are one. */
static uint32_t number_set(builder *b, size_t *n_sets, uint32_t n)
{
    token_classes *c = b->c;
    uint32_t start = c->set_starts[*n_sets];
    if (n == 0) return UINT32_MAX;
    for (size_t s = 0; s < *n_sets; s++) {
        if (c->set_starts[s + 1] - c->set_starts[s] != n) continue;
        if (memcmp(c->sets + c->set_starts[s], c->sets + start, n * sizeof *c->sets) == 0) return (uint32_t)s;
    }
    if (!expr_grow(&c->set_starts, *n_sets + 1, &b->starts_capacity, sizeof *c->set_starts)) {
        b->no_memory = true;
        return UINT32_MAX;
    }
    c->set_starts[++*n_sets] = start + n;
    return (uint32_t)*n_sets - 1;
}

/* What the characters that tokens cut off can become. */
static void find_sets(builder *b)
{
    token_classes *c = b->c;
    size_t n_sets = 0;
    if (!expr_grow(&c->set_starts, 0, &b->starts_capacity, sizeof *c->set_starts)) {
        b->no_memory = true;
        return;
    }
    c->set_starts[0] = 0;
    for (size_t i = 0; i < b->t->n_cuts && !broken(b); i++) {
        uint32_t start = c->set_starts[n_sets], n = 0;
        for (uint32_t l = 0; l < c->n_letters; l++) {
            if (!charset_meets(&b->d->classes[l], 1, b->t->cuts[i].ranges, b->t->cuts[i].n)) continue;
            if (!expr_grow(&c->sets, start + n, &b->sets_capacity, sizeof *c->sets)) {
                b->no_memory = true;
                return;
            }
            c->sets[start + n++] = l;
        }
        b->set_of[i] = number_set(b, &n_sets, n);
    }
}

/* ---- the limit --------------------------------------------------------------------------------------------------- */

static bool same_row(const token_classes *c, uint32_t a, uint32_t b)
{
    return memcmp(c->alive + a * c->row_words, c->alive + b * c->row_words, c->row_words * sizeof *c->alive) == 0;
}

/* False: no memory. */
static bool copy_limit(token_classes *c, const dfa *d)
{
    size_t rows = (size_t)d->longest + 1;
    c->longest = d->longest;
    c->unlimited = d->unlimited;
    c->row_words = (c->n_states + 63) / 64;
    c->pairs = malloc(d->n_states * sizeof *c->pairs);
    c->alive = calloc(rows * c->row_words, sizeof *c->alive);
    c->ends = calloc(rows * c->row_words, sizeof *c->ends);
    c->steady = malloc(rows * sizeof *c->steady);
    c->bytes += d->n_states * sizeof *c->pairs + rows * (2 * c->row_words * sizeof *c->alive + sizeof *c->steady);
    if (!c->pairs || !c->alive || !c->ends || !c->steady) return false;
    memcpy(c->pairs, d->pairs, d->n_states * sizeof *c->pairs);
    for (uint32_t s = 0; s < d->n_states; s++) {
        size_t word = (uint32_t)d->pairs[s] * c->row_words + (d->pairs[s] >> 32) / 64;
        uint64_t bit = UINT64_C(1) << ((d->pairs[s] >> 32) % 64);
        c->alive[word] |= bit;
        if (d->accepts[s]) c->ends[word] |= bit;
    }
    for (uint32_t from = 0, to; from < rows; from = to + 1) {
        for (to = from; to + 1 < rows && same_row(c, to, to + 1);) to++;
        uint32_t last = c->unlimited && to == c->longest ? UINT32_MAX : to;
        for (uint32_t n = from; n <= to; n++) c->steady[n] = (token_classes_steady){from, last};
    }
    return true;
}

static bool limit_fits(const dfa *d)
{
    return !d->base || ((uint64_t)d->longest + 1) * ((d->base->n_states + 63) / 64 * 64) <= MAX_LIMIT_BITS;
}

/* ---- the result -------------------------------------------------------------------------------------------------- */

/* Puts classes of closing tokens behind the others. moved[old] is the new number. */
static bool order_classes(builder *b, uint32_t *moved)
{
    token_classes *c = b->c;
    token_class *ordered = malloc((c->n_classes + 1) * sizeof *ordered);
    if (!ordered) return false;
    uint32_t n = 0;
    for (int closing = 0; closing < 2; closing++) {
        for (size_t i = 0; i < c->n_classes; i++) {
            if ((c->classes[i].kind == VOCAB_TEXT_CLOSING) != closing) continue;
            moved[i] = n;
            ordered[n++] = c->classes[i];
        }
        if (!closing) c->n_inside = n;
    }
    free(c->classes);
    c->classes = ordered;
    return true;
}

/* Large classes get masks, the others and the closing ones a part of `tokens`. */
static bool place_classes(builder *b, const uint32_t *moved)
{
    token_classes *c = b->c;
    size_t n_tokens = 0, n_masks = 0;
    for (size_t i = 0; i < b->t->n_entries; i++)
        if (b->class_of[i] != UINT32_MAX) c->classes[moved[b->class_of[i]]].n++;
    for (size_t i = 0; i < c->n_classes; i++) {
        token_class *class = &c->classes[i];
        if (i == c->n_inside) c->first_closing = n_tokens;
        class->first = (uint32_t)n_tokens;
        if (i < c->n_inside && class->n >= c->words / WORDS_PER_TOKEN) {
            class->mask = (uint16_t)n_masks++;
        } else {
            n_tokens += class->n;
        }
    }
    if (c->n_inside == c->n_classes) c->first_closing = n_tokens;
    size_t n_tails = n_tokens - c->first_closing;
    c->tokens = malloc((n_tokens + 1) * sizeof *c->tokens);
    c->tails = malloc((n_tails + 1) * sizeof *c->tails);
    c->masks = calloc(n_masks * c->words + 1, sizeof *c->masks);
    c->bytes += n_tokens * sizeof *c->tokens + n_tails * sizeof *c->tails + n_masks * c->words * sizeof *c->masks;
    return c->tokens && c->tails && c->masks;
}

static bool fill_classes(builder *b)
{
    token_classes *c = b->c;
    uint32_t *moved = malloc((c->n_classes + 1) * sizeof *moved);
    bool filled = moved && order_classes(b, moved) && place_classes(b, moved);
    for (size_t i = 0; i < c->n_classes && filled; i++) c->classes[i].n = 0;
    for (size_t i = 0; i < b->t->n_entries && filled; i++) {
        const vocab_text_entry *entry = &b->t->entries[i];
        if (b->class_of[i] == UINT32_MAX) continue;
        token_class *class = &c->classes[moved[b->class_of[i]]];
        if (class->mask != TOKEN_CLASSES_NO_MASK) {
            c->masks[class->mask * c->words + entry->token / 32] |= UINT32_C(1) << (entry->token % 32);
            continue;
        }
        size_t at = class->first + class->n++;
        c->tokens[at] = entry->token;
        if (entry->kind == VOCAB_TEXT_CLOSING) c->tails[at - c->first_closing] = (uint16_t)entry->rest;
    }
    free(moved);
    return filled;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool copy_automaton(builder *b)
{
    token_classes *c = b->c;
    const dfa *d = b->d;
    size_t cells = (size_t)d->n_states * d->n_classes;
    c->n_states = d->n_states;
    c->n_letters = d->n_classes;
    c->next = malloc((cells + 1) * sizeof *c->next);
    c->accepts = malloc(d->n_states * sizeof *c->accepts);
    if (!c->next || !c->accepts) return false;
    for (size_t i = 0; i < cells; i++) c->next[i] = d->next[i] == DFA_DEAD ? TOKEN_CLASSES_DEAD : (uint16_t)d->next[i];
    memcpy(c->accepts, d->accepts, d->n_states * sizeof *c->accepts);
    return true;
}

static void build(builder *b, const dfa *d)
{
    token_classes *c = b->c;
    b->letter_of = malloc((b->t->n_letters + 1) * sizeof *b->letter_of);
    b->key_slots = calloc(2 * MAX_CLASSES, sizeof *b->key_slots);
    b->class_of = malloc((b->t->n_entries + 1) * sizeof *b->class_of);
    b->set_of = malloc((b->t->n_cuts + 1) * sizeof *b->set_of);
    if (!b->letter_of || !b->key_slots || !b->class_of || !b->set_of || !copy_automaton(b) ||
        (d->base && !copy_limit(c, d))) {
        b->no_memory = true;
        return;
    }
    find_letters(b);
    find_sets(b);
    if (broken(b) || !grow_elements(b)) return;
    for (uint32_t s = 0; s < c->n_states; s++) c->to[s] = (uint16_t)s;
    number_element(b);
    classify(b);
    if (b->n_whole < b->t->n_entries / FEW) b->too_many = true;
    if (!broken(b) && !fill_classes(b)) b->no_memory = true;
    c->bytes += sizeof *c + ((size_t)c->n_letters + b->n_elements) * c->n_states * sizeof *c->to +
                c->n_classes * sizeof *c->classes;
}

token_classes *token_classes_build(const dfa *d, const vocab_text *t, size_t words, bool *no_memory)
{
    builder b = {.d = d->base ? d->base : d, .t = t};
    if (b.d->n_states >= TOKEN_CLASSES_DEAD || b.d->n_classes >= UINT16_MAX || t->n_tails > UINT16_MAX ||
        !limit_fits(d))
        return NULL;
    b.c = calloc(1, sizeof *b.c);
    if (b.c) {
        b.c->words = words;
        build(&b, d);
    } else {
        b.no_memory = true;
    }
    free(b.letter_of);
    free(b.steps);
    free(b.element_slots);
    free(b.keys);
    free(b.key_slots);
    free(b.class_of);
    free(b.set_of);
    *no_memory |= b.no_memory;
    if (!broken(&b)) return b.c;
    token_classes_free(b.c);
    return NULL;
}
