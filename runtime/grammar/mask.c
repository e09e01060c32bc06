#include "runtime/grammar/mask.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/mask_parts.h"
#include "runtime/grammar/mask_region.h"
#include "runtime/grammar/mask_walk.h"

enum {
    /* As many nodes of tries are walked in some 50 us. */
    CHEAP_NODES = 20000,
    NO_SLICE = 0xFF,
};

typedef mask_walk_escape escape;

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
        uint8_t least = mask_parts_limit(m, found->least, thread.stack);
        if (least == 0 || v->slices[found->class].counts[least - 1] <= count) continue;
        count = v->slices[found->class].counts[least - 1];
        best = (run){.class = found->class, .least = least, .marker = found, .stack = thread.stack};
    }
    return best;
}

/* Tokens of the slice that have more characters cannot come. */
static uint8_t most_of(const machine *m, const machine_config *config, run r)
{
    uint8_t most = mask_parts_limit(m, r.marker->most, r.stack);
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

/* The tokens that the slice does not answer for: those that are not in it, and those whose length decides. */
static bool walk_run(mask_walk *w, const grammar_vocab *v, run r, uint32_t config)
{
    w->path[0] = config;
    if (r.class == NO_SLICE) return mask_walk_all(w, &v->all);
    const slice *s = &v->slices[r.class];
    uint8_t most = most_of(w->m, &w->m->configs[config], r);
    if (!mask_walk_all(w, &s->rest)) return false;
    for (uint8_t chars = r.least; chars < most; chars++)
        if (!mask_walk_all(w, &s->of_chars[chars])) return false;
    return true;
}

/* What may come behind the hole, which stands for frame `below`. */
static bool walk_escapes(mask_walk *w, const mask_entry *entry, uint32_t below)
{
    if (entry->n_escapes == 0) return true;
    uint32_t behind = machine_enter(w->m, PROGRAM_RETURN, below);
    if (behind == MACHINE_DEAD || behind == MACHINE_NO_MEMORY) return behind == MACHINE_DEAD;
    for (uint32_t i = 0; i < entry->n_escapes; i++) {
        escape e = entry->escapes[i];
        trie_node node = e.t->nodes[e.node];
        if (node.token != TRIE_NO_TOKEN) set_bit(w->bits, node.token);
        w->path[node.depth + 1] = behind;
        if (!mask_walk_nodes(w, e.t, e.node + 1, e.node + node.size)) return false;
    }
    return true;
}

/* ---- remembering ------------------------------------------------------------------------------------------------- */

static mask_entry *new_entry(const mask_walk *w, run r)
{
    bool dense = w->n == w->words;
    size_t n = w->useless ? 0 : dense ? w->words : w->n, n_escapes = w->useless ? 0 : w->n_escapes;
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
static bool find_mask(mask_walk *w, const grammar_vocab *v, uint32_t config, const mask_entry **out)
{
    machine *m = w->m;
    if ((*out = m->configs[config].mask)) {
        if (!(*out)->useless) write_entry(v, *out, w->bits);
        return true;
    }
    run r = find_run(m, v, &m->configs[config]);
    write_slice(v, r.class, (uint8_t)(r.least - 1), w->bits);
    if (!walk_run(w, v, r, config)) return false;
    if (w->useless || w->walked > CHEAP_NODES || m->configs[config].masked)
        *out = m->configs[config].mask = new_entry(w, r);
    m->configs[config].masked = true;
    return true;
}

/* By way of the local configuration, into w->bits. *found false: that is no use here. */
static bool write_local(machine *m, const grammar_vocab *v, uint32_t config, mask_walk *w, bool *found)
{
    uint32_t below, local = machine_local(m, config, &below);
    *found = false;
    if (local == MACHINE_NO_MEMORY) return false;
    if (local == 0) return true;
    const mask_entry *entry;
    if (!mask_walk_begin(w, m, v->words) || !find_mask(w, v, local, &entry)) return false;
    mask_entry here = {.n_escapes = w->n_escapes, .escapes = w->escapes};
    if (!entry) entry = &here; /* not kept: its escapes are still in the walker */
    if (w->useless || entry->useless) return true;
    *found = true;
    return walk_escapes(w, entry, below);
}

/* `add`: besides the tokens that are there. */
static bool write_walked(machine *m, const grammar_vocab *v, uint32_t config, bool add, uint32_t *bits)
{
    bool found = false;
    mask_walk w;
    const mask_entry *entry;
    if (!m->configs[config].mask && !write_local(m, v, config, &w, &found)) return false;
    if (!found && (!mask_walk_begin(&w, m, v->words) || !find_mask(&w, v, config, &entry))) return false;
    if (add) {
        for (size_t i = 0; i < v->words; i++) bits[i] |= w.bits[i];
    } else {
        memcpy(bits, w.bits, v->words * sizeof *bits);
    }
    return true;
}

bool mask_write(machine *m, const grammar_vocab *v, uint32_t config, uint32_t *bits)
{
    mask_parts parts;
    mask_parts_find(m, v, config, &parts);
    if (parts.whole) return write_walked(m, v, config, false, bits);
    bool written = true;
    for (uint32_t i = 0; i < parts.n && written; i++) {
        const mask_part *part = &parts.items[i];
        if (part->region) {
            written = mask_region_write(m, v, part, i > 0, bits);
            continue;
        }
        uint32_t alone = mask_parts_config(m, config, part);
        written = alone != MACHINE_NO_MEMORY && write_walked(m, v, alone, i > 0, bits);
    }
    return written;
}
