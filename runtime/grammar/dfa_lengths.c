#include <stdlib.h>

#include "runtime/grammar/dfa.h"

/* Layer by layer from the start: the first layer with an accepting state is the shortest text; if there is still a
 * layer after as many characters as there are states, some way goes round. Work is at most the table for each layer, so
 * long chains are cut short: an automaton of n states in more than MAX_LAYERS layers counts as unlimited, which is safe
 * for whoever bounds lengths. */
enum { MAX_LAYERS = 4096 };

static uint32_t next_layer(const dfa *d, const bool *now, bool *then)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < d->n_states; s++) then[s] = false;
    for (uint32_t s = 0; s < d->n_states; s++) {
        if (!now[s]) continue;
        for (uint32_t c = 0; c < d->n_classes; c++) {
            uint32_t to = d->next[(size_t)s * d->n_classes + c];
            if (to == DFA_DEAD || then[to]) continue;
            then[to] = true;
            n++;
        }
    }
    return n;
}

static bool any_accepts(const dfa *d, const bool *layer)
{
    for (uint32_t s = 0; s < d->n_states; s++)
        if (layer[s] && d->accepts[s]) return true;
    return false;
}

bool dfa_lengths(expr_pool *p, const dfa *d, uint32_t *shortest, uint32_t *longest)
{
    bool *now = calloc((size_t)d->n_states + 1, sizeof *now), *then = calloc((size_t)d->n_states + 1, sizeof *then);
    if (!now || !then) {
        free(now);
        free(then);
        expr_pool_no_memory(p);
        return false;
    }
    *shortest = *longest = EXPR_NO_LIMIT;
    now[0] = d->n_states > 0;
    uint32_t n = d->n_states > 0, length = 0;
    for (; n > 0 && length < d->n_states && length < MAX_LAYERS; length++) {
        if (*shortest == EXPR_NO_LIMIT && any_accepts(d, now)) *shortest = length;
        n = next_layer(d, now, then);
        bool *swap = now;
        now = then;
        then = swap;
    }
    if (n == 0) *longest = length ? length - 1 : 0; /* in a trimmed automaton the last layer accepts */
    if (*shortest == EXPR_NO_LIMIT) *shortest = 0;  /* beyond MAX_LAYERS: claims nothing */
    free(now);
    free(then);
    return true;
}
