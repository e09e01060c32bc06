#include "runtime/grammar/mask.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* Nodes visited for one mask (machine.work), some 30 ms: JSON schemas take thousands. */
    MAX_WORK = 4 << 20,
    /* As many nodes of tries are walked in some 50 us. */
    CHEAP_NODES = 20000,
    MAX_ESCAPES = 1024,
    NO_SLICE = 0xFF,
};

/* A node of a trie where a walk from a local configuration got to the hole. */
typedef struct escape {
    const trie *t;
    uint32_t node;
} escape;

/* A mask as it is remembered: a level of a slice, and tokens besides; or, when those are many, all bits. That of a
 * local configuration goes on at its escapes. */
typedef struct mask_entry {
    uint8_t class; /* or NO_SLICE */
    uint8_t level; /* index in slice.masks */
    bool dense;
    bool useless; /* a local one that got to the hole too often */
    uint32_t n, n_escapes;
    escape *escapes;  /* [n_escapes], in the same allocation */
    uint32_t items[]; /* [n] tokens, or words */
} mask_entry;

static void set_bit(uint32_t *bits, uint32_t token) { bits[token >> 5] |= UINT32_C(1) << (token & 31); }

static void write_slice(const grammar_vocab *v, uint8_t class, uint8_t level, uint32_t *bits)
{
    if (class == NO_SLICE) {
        memset(bits, 0, v->words * sizeof *bits);
    } else {
        memcpy(bits, v->slices[class].masks + level * v->words, v->words * sizeof *bits);
    }
}

static void write_entry(const grammar_vocab *v, const mask_entry *entry, uint32_t *bits)
{
    if (entry->dense) {
        memcpy(bits, entry->items, v->words * sizeof *bits);
        return;
    }
    write_slice(v, entry->class, entry->level, bits);
    for (uint32_t i = 0; i < entry->n; i++) set_bit(bits, entry->items[i]);
}

/* ---- the slice --------------------------------------------------------------------------------------------------- */

typedef struct run {
    uint8_t class; /* NO_SLICE: none */
    uint8_t least; /* 1..SLICE_CHARS: the slice's tokens of so many characters may come */
    const program_marker *marker;
    uint32_t stack;
} run;

static uint8_t limit_of(const machine *m, uint8_t limit, uint32_t stack)
{
    if (limit != PROGRAM_LIMIT_FRAME) return limit;
    const machine_frame *frame = &m->frames[stack];
    uint32_t left = m->g.repeats[m->g.nodes[frame->node].a].most - frame->count;
    return left < SLICE_CHARS ? (uint8_t)left : SLICE_CHARS;
}

/* Can a thread outside of the run at (marker, stack) take a character of its class? */
static bool others_take(const machine *m, const machine_config *config, const program_marker *marker, uint32_t stack)
{
    for (uint32_t i = 0; i < config->n; i++) {
        machine_thread thread = m->threads[config->first + i];
        if (thread.stack == stack && marker->first <= thread.node && thread.node < marker->last) continue;
        for (unsigned byte = 0; byte < 256; byte++)
            if (slice_byte_begins((slice_class)marker->class, byte) &&
                program_takes(&m->g, &m->g.nodes[thread.node], byte))
                return true;
    }
    return false;
}

static run find_run(const machine *m, const grammar_vocab *v, const machine_config *config)
{
    run best = {.class = NO_SLICE};
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->n; i++) {
        machine_thread thread = m->threads[config->first + i];
        uint16_t number = m->g.nodes[thread.node].marker;
        if (number == 0) continue;
        const program_marker *found = &m->g.markers[number - 1];
        uint8_t least = limit_of(m, found->least, thread.stack);
        if (least == 0 || v->slices[found->class].counts[least - 1] <= count) continue;
        count = v->slices[found->class].counts[least - 1];
        best = (run){.class = found->class, .least = least, .marker = found, .stack = thread.stack};
    }
    return best;
}

/* Tokens of the slice that have more characters cannot come. */
static uint8_t most_of(const machine *m, const machine_config *config, run r)
{
    uint8_t most = limit_of(m, r.marker->most, r.stack);
    return most < SLICE_CHARS && others_take(m, config, r.marker, r.stack) ? SLICE_CHARS : most;
}

uint32_t mask_run_config(machine *m, const grammar_vocab *v, uint32_t config)
{
    run r = find_run(m, v, &m->configs[config]);
    uint32_t n = 0;
    for (uint32_t i = 0; r.class != NO_SLICE && i < m->configs[config].n; i++) {
        machine_thread thread = m->threads[m->configs[config].first + i];
        if (thread.stack != r.stack || thread.node < r.marker->first || thread.node >= r.marker->last) continue;
        if (!expr_grow(&m->threads, m->n_threads, &m->threads_capacity, sizeof *m->threads)) return MACHINE_NO_MEMORY;
        m->threads[m->n_threads++] = thread;
        n++;
    }
    if (n == 0) return MACHINE_DEAD;
    uint32_t number = machine_config_number(m, n, false, false);
    return number ? number : MACHINE_NO_MEMORY;
}

/* ---- walking ----------------------------------------------------------------------------------------------------- */

typedef struct walker {
    machine *m;
    const grammar_vocab *v;
    uint32_t *bits;   /* the mask, and one word behind it where nodes without a token set theirs */
    uint32_t *tokens; /* [words + 1] found besides the slice; more than `words` are not worth it */
    uint32_t n;
    escape *escapes; /* [MAX_ESCAPES] */
    uint32_t n_escapes;
    bool useless;                      /* there were more */
    uint64_t most_work;                /* machine.work from which only first bytes are looked at */
    size_t walked;                     /* nodes of tries */
    uint32_t path[TRIE_MAX_TOKEN + 1]; /* configurations, by depth */
} walker;

/* A step that escapes, or is not known. Returns the configuration to go on with. */
static uint32_t rare_step(walker *w, const trie *t, const trie_node *at, uint32_t to)
{
    machine *m = w->m;
    if (to == MACHINE_UNKNOWN) {
        bool afford = at->depth == 0 || m->work < w->most_work;
        to = afford ? machine_step(m, w->path[at->depth], at->byte) : MACHINE_DEAD;
    }
    if (to == MACHINE_NO_MEMORY || !(to & MACHINE_ESCAPES)) return to;
    if (w->n_escapes == MAX_ESCAPES) {
        w->useless = true;
        return MACHINE_DEAD;
    }
    w->escapes[w->n_escapes++] = (escape){t, (uint32_t)(at - t->nodes)};
    to &= ~MACHINE_ESCAPES;
    return to == m->gone ? MACHINE_DEAD : to;
}

/* The innermost loop: nodes first..end-1, whose parents' configurations are in the path. */
static bool walk(walker *w, const trie *t, size_t first, size_t end)
{
    const uint8_t *class_of = w->m->g.class_of;
    uint32_t *path = w->path, *bits = w->bits, *tokens = w->tokens, n = w->n, words = (uint32_t)w->v->words;
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
        set_bit(bits, token);
        tokens[n] = token;
        n += has_token & (n < words);
        at++;
    }
    w->n = n;
    w->walked += end - first;
    return true;
}

static bool walk_all(walker *w, const trie *t) { return walk(w, t, 0, t->n); }

/* The tokens that the slice does not answer for: those that are not in it, and those whose length decides. */
static bool walk_run(walker *w, run r, uint32_t config)
{
    w->path[0] = config;
    if (r.class == NO_SLICE) return walk_all(w, &w->v->all);
    const slice *s = &w->v->slices[r.class];
    uint8_t most = most_of(w->m, &w->m->configs[config], r);
    if (!walk_all(w, &s->rest)) return false;
    for (uint8_t chars = r.least; chars < most; chars++)
        if (!walk_all(w, &s->of_chars[chars])) return false;
    return true;
}

/* What may come behind the hole, which stands for frame `below`. */
static bool walk_escapes(walker *w, const mask_entry *entry, uint32_t below)
{
    if (entry->n_escapes == 0) return true;
    uint32_t behind = machine_return(w->m, below);
    if (behind == MACHINE_DEAD || behind == MACHINE_NO_MEMORY) return behind == MACHINE_DEAD;
    for (uint32_t i = 0; i < entry->n_escapes; i++) {
        escape e = entry->escapes[i];
        trie_node node = e.t->nodes[e.node];
        if (node.token != TRIE_NO_TOKEN) set_bit(w->bits, node.token);
        w->path[node.depth + 1] = behind;
        if (!walk(w, e.t, e.node + 1, e.node + node.size)) return false;
    }
    return true;
}

/* ---- remembering ------------------------------------------------------------------------------------------------- */

static mask_entry *new_entry(const walker *w, run r)
{
    bool dense = w->n == w->v->words;
    size_t n = w->useless ? 0 : dense ? w->v->words : w->n, n_escapes = w->useless ? 0 : w->n_escapes;
    size_t head = sizeof(mask_entry) + n * sizeof *w->bits;
    head = (head + _Alignof(escape) - 1) / _Alignof(escape) * _Alignof(escape);
    mask_entry *entry = malloc(head + n_escapes * sizeof(escape));
    if (!entry) return NULL;
    *entry = (mask_entry){
        .class = r.class, .level = (uint8_t)(r.least - 1), .dense = dense, .useless = w->useless, .n = (uint32_t)n};
    entry->n_escapes = (uint32_t)n_escapes;
    entry->escapes = (escape *)((char *)entry + head);
    if (n) memcpy(entry->items, dense ? w->bits : w->tokens, n * sizeof *w->bits);
    if (n_escapes) memcpy(entry->escapes, w->escapes, n_escapes * sizeof *w->escapes);
    w->m->mask_bytes += head + n_escapes * sizeof(escape);
    return entry;
}

/* The mask of a configuration, into w->bits; that of a local one up to its escapes. Sets *out to the entry that holds
 * it, NULL if there is none: most states of a count never come again, so what is cheap is kept from its second time on.
 */
static bool find_mask(walker *w, uint32_t config, const mask_entry **out)
{
    machine *m = w->m;
    if ((*out = m->configs[config].mask)) {
        if (!(*out)->useless) write_entry(w->v, *out, w->bits);
        return true;
    }
    run r = find_run(m, w->v, &m->configs[config]);
    write_slice(w->v, r.class, (uint8_t)(r.least - 1), w->bits);
    if (!walk_run(w, r, config)) return false;
    if (w->useless || w->walked > CHEAP_NODES || m->configs[config].masked)
        *out = m->configs[config].mask = new_entry(w, r);
    m->configs[config].masked = true;
    return true;
}

static walker new_walker(machine *m, const grammar_vocab *v)
{
    walker w = {.m = m, .v = v, .most_work = m->work + MAX_WORK};
    w.escapes = (escape *)m->scratch;
    w.bits = (uint32_t *)(w.escapes + MAX_ESCAPES);
    w.tokens = w.bits + v->words + 1;
    return w;
}

/* By way of the local configuration. *found false: that is no use here. */
static bool write_local(machine *m, const grammar_vocab *v, uint32_t config, uint32_t *bits, bool *found)
{
    uint32_t below, local = machine_local(m, config, &below);
    *found = false;
    if (local == MACHINE_NO_MEMORY) return false;
    if (local == 0) return true;
    walker w = new_walker(m, v);
    const mask_entry *entry;
    if (!find_mask(&w, local, &entry)) return false;
    mask_entry here = {.n_escapes = w.n_escapes, .escapes = w.escapes};
    if (!entry) entry = &here; /* not kept: its escapes are still in the walker */
    if (w.useless || entry->useless) return true;
    *found = true;
    if (!walk_escapes(&w, entry, below)) return false;
    memcpy(bits, w.bits, v->words * sizeof *bits);
    return true;
}

bool mask_write(machine *m, const grammar_vocab *v, uint32_t config, uint32_t *bits)
{
    bool found = false;
    if (!m->scratch) m->scratch = malloc(MAX_ESCAPES * sizeof(escape) + (2 * v->words + 2) * sizeof *bits);
    if (!m->scratch) return false;
    if (!m->configs[config].mask && !write_local(m, v, config, bits, &found)) return false;
    if (found) return true;
    walker w = new_walker(m, v);
    const mask_entry *entry;
    if (!find_mask(&w, config, &entry)) return false;
    memcpy(bits, w.bits, v->words * sizeof *bits);
    return true;
}
