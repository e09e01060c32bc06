#include <stdlib.h>

#include "runtime/grammar/dfa.h"
#include "runtime/grammar/program_build.h"

/* Tables beyond this get no markers: their runs take 32 passes for each class. */
enum { MAX_MARKED_CELLS = 1 << 19 };

typedef struct runs_table {
    uint8_t *least, *most; /* [SLICE_CLASSES][n_states]; NULL: not known */
} runs_table;

static void find_runs(const dfa *d, runs_table *t)
{
    if (dfa_cells(d) > MAX_MARKED_CELLS) return;
    t->least = malloc((size_t)SLICE_CLASSES * d->n_states);
    t->most = malloc((size_t)SLICE_CLASSES * d->n_states);
    for (int class = 0; t->least && t->most && class < SLICE_CLASSES; class ++)
        dfa_runs(d, (slice_class) class, t->least + (size_t) class * d->n_states,
                 t->most + (size_t) class * d->n_states);
}

/* The characters that lead from `state` to `to`. */
static bool edge_chars(const dfa *d, uint32_t state, uint32_t to, charset *out)
{
    const uint32_t *row = d->next + (size_t)state * d->n_classes;
    for (uint32_t c = 0; c < d->n_classes; c++)
        if (row[c] == to && !charset_add(out, d->classes[c].low, d->classes[c].high)) return false;
    charset_seal(out);
    return true;
}

static void write_edges(program_build *b, const dfa *d, uint32_t state, expr_encoding encoding, const uint32_t *entries,
                        program_edges *out)
{
    const uint32_t *row = d->next + (size_t)state * d->n_classes;
    for (uint32_t c = 0; c < d->n_classes && !program_build_broken(b); c++) {
        bool seen = row[c] == DFA_DEAD;
        for (uint32_t before = 0; before < c && !seen; before++) seen = row[before] == row[c];
        if (seen) continue;
        charset set = {0};
        if (edge_chars(d, state, row[c], &set)) {
            program_chars(b, &set, encoding, entries[row[c]], out);
        } else {
            expr_pool_no_memory(b->p);
        }
        charset_free(&set);
    }
}

static void mark_state(program_build *b, const dfa *d, uint32_t state, const runs_table *t, uint32_t first,
                       uint32_t next, uint32_t at)
{
    program_runs runs;
    if (!t->least || !t->most) return;
    for (int class = 0; class < SLICE_CLASSES; class ++) {
        runs.least[class] = t->least[(size_t) class * d->n_states + state];
        bool ends = program_mark_excludes(b->g, next, (slice_class) class);
        runs.most[class] = ends ? t->most[(size_t) class * d->n_states + state] : SLICE_CHARS;
    }
    program_mark(b, at, first, &runs);
}

uint32_t program_dfa(program_build *b, const dfa *d, expr_encoding encoding, uint32_t next)
{
    runs_table t = {0};
    program_edges edges = {0};
    uint32_t *entries = malloc(((size_t)d->n_states + 1) * sizeof *entries),
             *chars = malloc(((size_t)d->n_states + 1) * sizeof *chars), first = (uint32_t)b->g->n_nodes, start = 0;
    token_classes *classes = NULL;
    if (!entries || !chars) {
        expr_pool_no_memory(b->p);
        goto done;
    }
    /* A trimmed automaton gets to its end from everywhere and pushes no frame on the way: it needs what `next` needs.
     */
    for (uint32_t s = 0; s < d->n_states; s++) entries[s] = program_build_split(b, NULL, 0, next);
    if (!(classes = program_region_classify(b, d, encoding, next))) find_runs(d, &t);
    for (uint32_t s = 0; s < d->n_states && !program_build_broken(b); s++) {
        uint32_t before = (uint32_t)b->g->n_nodes;
        uint32_t ways[2];
        size_t n_ways = 0;
        edges.n = 0;
        chars[s] = UINT32_MAX;
        write_edges(b, d, s, encoding, entries, &edges);
        if (edges.n && !program_build_broken(b)) {
            ways[n_ways++] = chars[s] = program_build_switch(b, &edges);
            mark_state(b, d, s, &t, before, next, ways[0]);
        }
        if (d->accepts[s]) ways[n_ways++] = next;
        program_build_fill_split(b, entries[s], ways, n_ways);
    }
    if (!program_build_broken(b)) start = entries[0];
    if (classes) program_region_add(b, d, classes, encoding, next, first, chars);
done:
    free(entries);
    free(chars);
    free(t.least);
    free(t.most);
    free(edges.items);
    return start;
}
