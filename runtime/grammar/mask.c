#include "runtime/grammar/mask.h"

#include <stdlib.h>
#include <string.h>

/* Nodes visited for one mask (machine.work), some 30 ms: JSON schemas take thousands. */
enum { MAX_WORK = 4 << 20 };
enum { NO_SLICE = 0xFF };

/* A mask as it is remembered: a level of a slice, and tokens besides; or, when those are many, all bits. */
typedef struct mask_entry {
    uint8_t class; /* or NO_SLICE */
    uint8_t level; /* index in slice.masks */
    bool dense;
    uint32_t n;
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
    uint8_t limit; /* 1..SLICE_CHARS */
    bool rest_only; /* tokens of the slice that are longer than the limit cannot come by another way */
    const program_marker *marker;
    uint32_t stack;
} run;

static uint8_t limit_of(const machine *m, const program_marker *marker, uint32_t stack)
{
    if (marker->limit != PROGRAM_LIMIT_FRAME) return marker->limit;
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
            if (slice_byte_begins((slice_class)marker->class, byte) && program_takes(&m->g, &m->g.nodes[thread.node], byte))
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
        uint8_t limit = limit_of(m, found, thread.stack);
        if (limit == 0 || v->slices[found->class].counts[limit - 1] <= count) continue;
        count = v->slices[found->class].counts[limit - 1];
        best = (run){.class = found->class, .limit = limit, .marker = found, .stack = thread.stack};
    }
    if (best.class != NO_SLICE)
        best.rest_only = best.limit == SLICE_CHARS ||
                         (best.marker->exact && !others_take(m, config, best.marker, best.stack));
    return best;
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
    uint32_t number = machine_config_number(m, n, false);
    return number ? number : MACHINE_NO_MEMORY;
}

/* ---- walking ----------------------------------------------------------------------------------------------------- */

/* Tokens that were found. */
typedef struct found {
    uint32_t *tokens; /* [words]: more are not worth it */
    uint32_t words, n;
} found;

/* `bits` has room for a word behind the mask, where nodes without a token set theirs: this is the innermost loop. Subtrees of tokens of up to
 * `skipped` characters, as most_chars has it, are left out (NULL: none): the slice has them. */
static inline bool walk(machine *m, const trie *t, const uint8_t *most_chars, uint8_t skipped, uint32_t config, uint32_t none,
                        uint32_t *bits, found *out)
{
    uint32_t path[TRIE_MAX_TOKEN + 1] = {config}; /* by depth */
    uint64_t most_work = m->work + MAX_WORK;
    size_t n_classes = m->g.n_classes;
    const uint32_t *rows = m->rows;
    for (const trie_node *at = t->nodes, *end = at + t->n; at < end;) {
        trie_node node = *at;
        if (most_chars && most_chars[at - t->nodes] <= skipped) {
            at += node.size;
            continue;
        }
        uint32_t from = path[node.depth], to = rows[from * n_classes + m->g.class_of[node.byte]];
        if (to == MACHINE_UNKNOWN) {
            bool afford = node.depth == 0 || m->work < most_work;
            to = afford ? machine_step(m, from, node.byte) : MACHINE_DEAD;
            if (to == MACHINE_NO_MEMORY) return false;
            rows = m->rows;
        }
        if (to == MACHINE_DEAD) {
            at += node.size;
            continue;
        }
        path[node.depth + 1] = to;
        bool has_token = node.token != TRIE_NO_TOKEN;
        uint32_t token = has_token ? node.token : none;
        set_bit(bits, token);
        out->tokens[out->n] = token;
        out->n += has_token & (out->n < out->words);
        at++;
    }
    return true;
}

static bool walk_run(machine *m, const grammar_vocab *v, run r, uint32_t config, uint32_t *bits, found *out)
{
    uint32_t none = (uint32_t)v->words * 32;
    if (r.class == NO_SLICE) return walk(m, &v->all, NULL, 0, config, none, bits, out);
    const slice *s = &v->slices[r.class];
    if (r.rest_only) return walk(m, &s->rest, NULL, 0, config, none, bits, out);
    return walk(m, &v->all, s->most_chars, r.limit, config, none, bits, out);
}

static void remember(machine *m, const grammar_vocab *v, uint32_t config, run r, const found *tokens, const uint32_t *bits)
{
    bool dense = tokens->n == tokens->words;
    size_t n = dense ? v->words : tokens->n, size = sizeof(mask_entry) + n * sizeof *bits;
    mask_entry *entry = malloc(size);
    if (!entry) return; /* it will be found again */
    entry->class = r.class;
    entry->level = (uint8_t)(r.limit - 1);
    entry->dense = dense;
    entry->n = (uint32_t)n;
    if (n) memcpy(entry->items, dense ? bits : tokens->tokens, n * sizeof *bits);
    m->configs[config].mask = entry;
    m->mask_bytes += size;
}

bool mask_write(machine *m, const grammar_vocab *v, uint32_t config, uint32_t *bits)
{
    if (m->configs[config].mask) {
        write_entry(v, m->configs[config].mask, bits);
        return true;
    }
    /* The mask and its word behind; tokens and one more. */
    if (!m->scratch) m->scratch = malloc((2 * v->words + 2) * sizeof *m->scratch);
    if (!m->scratch) return false;
    run r = find_run(m, v, &m->configs[config]);
    bool rest_only = r.class != NO_SLICE && r.rest_only;
    found tokens = {m->scratch + v->words + 1, (uint32_t)v->words, 0};
    write_slice(v, r.class, (uint8_t)(r.limit - 1), m->scratch);
    if (!walk_run(m, v, r, config, m->scratch, &tokens)) return false;
    memcpy(bits, m->scratch, v->words * sizeof *bits);
    /* Most states of a count never come again: what is cheap is kept from its second time on. */
    if (!rest_only || m->configs[config].masked) remember(m, v, config, r, &tokens, bits);
    m->configs[config].masked = true;
    return true;
}
