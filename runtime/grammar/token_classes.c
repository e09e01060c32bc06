#include "runtime/grammar/token_classes.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/token_classes_internal.h"

void token_classes_free(token_classes *c)
{
    if (!c) return;
    free(c->pairs);
    free(c->next);
    free(c->accepts);
    free(c->to);
    free(c->alive);
    free(c->ends);
    free(c->steady);
    free(c->sets);
    free(c->set_starts);
    free(c->classes);
    free(c->tokens);
    free(c->tails);
    free(c->masks);
    free(c);
}

size_t token_classes_bytes(const token_classes *c) { return c->bytes; }

/* ---- where a state is -------------------------------------------------------------------------------------------- */

/* A state of the automaton without its limit, and the characters so far. */
typedef struct place {
    uint32_t state, length;
} place;

static place place_of(const token_classes *c, uint32_t state)
{
    if (!c->pairs) return (place){state, 0};
    return (place){(uint32_t)(c->pairs[state] >> 32), (uint32_t)c->pairs[state]};
}

static bool bit(const uint64_t *rows, size_t row_words, uint32_t row, uint32_t column)
{
    return rows[row * row_words + column / 64] >> (column % 64) & 1;
}

/* `to` is `chars` characters behind `from`: can it be, and does the text get to an end from there? */
static bool is_alive(const token_classes *c, place from, uint32_t to, uint32_t chars)
{
    if (to == TOKEN_CLASSES_DEAD || !c->pairs) return to != TOKEN_CLASSES_DEAD;
    uint32_t length = from.length + chars;
    if (length > c->longest && !c->unlimited) return false;
    return bit(c->alive, c->row_words, length < c->longest ? length : c->longest, to);
}

static bool may_end(const token_classes *c, place from, uint32_t to, uint32_t chars)
{
    if (!is_alive(c, from, to, chars)) return false;
    if (!c->pairs) return c->accepts[to];
    uint32_t length = from.length + chars;
    return bit(c->ends, c->row_words, length < c->longest ? length : c->longest, to);
}

static bool cut_is_alive(const token_classes *c, place from, uint32_t to, const token_class *class)
{
    if (to == TOKEN_CLASSES_DEAD) return false;
    for (uint32_t i = c->set_starts[class->set]; i < c->set_starts[class->set + 1]; i++)
        if (is_alive(c, from, c->next[(size_t)to * c->n_letters + c->sets[i]], class->chars + 1)) return true;
    return false;
}

/* ---- masks ------------------------------------------------------------------------------------------------------- */

static void set_class(const token_classes *c, const token_class *class, uint32_t *bits)
{
    if (class->mask == TOKEN_CLASSES_NO_MASK) {
        for (uint32_t i = class->first; i < class->first + class->n; i++)
            bits[c->tokens[i] >> 5] |= UINT32_C(1) << (c->tokens[i] & 31);
        return;
    }
    const uint32_t *mask = c->masks + (size_t) class->mask * c->words;
    for (size_t w = 0; w < c->words; w++) bits[w] |= mask[w];
}

void token_classes_set_inside(const token_classes *c, uint32_t state, uint32_t *bits)
{
    place from = place_of(c, state);
    for (size_t i = 0; i < c->n_inside; i++) {
        const token_class *class = &c->classes[i];
        uint32_t to = c->to[(size_t) class->element * c->n_states + from.state];
        bool comes =
            class->kind == VOCAB_TEXT_CUT ? cut_is_alive(c, from, to, class) : is_alive(c, from, to, class->chars);
        if (comes) set_class(c, class, bits);
    }
}

void token_classes_set_closing(const token_classes *c, uint32_t state, const uint32_t *tails, uint32_t *bits)
{
    place from = place_of(c, state);
    for (size_t i = c->n_inside; i < c->n_classes; i++) {
        const token_class *class = &c->classes[i];
        if (!may_end(c, from, c->to[(size_t) class->element * c->n_states + from.state], class->chars)) continue;
        for (uint32_t t = class->first; t < class->first + class->n; t++) {
            uint32_t tail = c->tails[t - c->first_closing], token = c->tokens[t];
            bits[token >> 5] |= (tails[tail >> 5] >> (tail & 31) & 1) << (token & 31);
        }
    }
}

/* As long as no token gets near a limit, the number of characters so far does not matter. */
uint64_t token_classes_key(const token_classes *c, uint32_t state)
{
    place at = place_of(c, state);
    if (c->pairs) {
        token_classes_steady steady = c->steady[at.length];
        if (steady.last - at.length >= c->reach) at.length = steady.first;
    }
    return (uint64_t)at.length << 32 | at.state;
}
