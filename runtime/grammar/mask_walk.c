#include "runtime/grammar/mask_walk.h"

#include <stdlib.h>

/* Nodes visited for one mask (machine.work), some 30 ms: JSON schemas take thousands. */
enum { MAX_WORK = 4 << 20 };

bool mask_walk_begin(mask_walk *w, machine *m, size_t words)
{
    if (!m->scratch)
        m->scratch = malloc(MASK_WALK_MAX_ESCAPES * sizeof(mask_walk_escape) + (2 * words + 2) * sizeof *w->bits);
    if (!m->scratch) return false;
    w->m = m;
    w->words = (uint32_t)words;
    w->n = w->n_escapes = 0;
    w->useless = false;
    w->walked = 0;
    w->most_work = m->work + MAX_WORK;
    w->escapes = (mask_walk_escape *)m->scratch;
    w->bits = (uint32_t *)(w->escapes + MASK_WALK_MAX_ESCAPES);
    w->tokens = w->bits + words + 1;
    return true;
}

/* A step that escapes, or is not known. Returns the configuration to go on with. */
static uint32_t rare_step(mask_walk *w, const trie *t, const trie_node *at, uint32_t to)
{
    machine *m = w->m;
    if (to == MACHINE_UNKNOWN) {
        bool afford = at->depth == 0 || m->work < w->most_work;
        to = afford ? machine_step(m, w->path[at->depth], at->byte) : MACHINE_DEAD;
    }
    if (to == MACHINE_NO_MEMORY || !(to & MACHINE_ESCAPES)) return to;
    if (w->n_escapes == MASK_WALK_MAX_ESCAPES) {
        w->useless = true;
        return MACHINE_DEAD;
    }
    w->escapes[w->n_escapes++] = (mask_walk_escape){t, (uint32_t)(at - t->nodes)};
    to &= ~MACHINE_ESCAPES;
    return to == m->gone ? MACHINE_DEAD : to;
}

bool mask_walk_nodes(mask_walk *w, const trie *t, size_t first, size_t end)
{
    const uint8_t *class_of = w->m->g.class_of;
    uint32_t *path = w->path, *bits = w->bits, *tokens = w->tokens, n = w->n, words = w->words;
    size_t n_classes = w->m->g.n_classes;
    const uint32_t *rows = w->m->rows;
    const trie_node *last = t->nodes + end;
    for (const trie_node *at = t->nodes + first; at < last;) {
        trie_node node = *at;
        uint32_t to = rows[path[node.depth] * n_classes + class_of[node.byte]];
        if (to == MACHINE_UNKNOWN || to & MACHINE_ESCAPES) {
            to = rare_step(w, t, at, to);
            if (to == MACHINE_NO_MEMORY) return false;
            rows = w->m->rows;
        }
        if (to == MACHINE_DEAD) {
            at += node.size;
            continue;
        }
        path[node.depth + 1] = to;
        bool has_token = node.token != TRIE_NO_TOKEN;
        uint32_t token = has_token ? node.token : words * 32;
        bits[token >> 5] |= UINT32_C(1) << (token & 31);
        tokens[n] = token;
        n += has_token & (n < words);
        at++;
    }
    w->n = n;
    w->walked += end - first;
    return true;
}
