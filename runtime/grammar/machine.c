#include "runtime/grammar/machine.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/machine_closure.h"
#include "runtime/grammar/mask_memo.h"

enum { FIRST_SLOTS = 256 };

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t h, uint64_t value) { return (h ^ value ^ h >> 31) * UINT64_C(0x9E3779B97F4A7C15); }

static uint64_t hash_frame(const machine_frame *f) { return mix(mix(f->parent, f->node), f->count) >> 20; }

static bool rehash_frames(machine *m)
{
    size_t n = m->n_frame_slots ? m->n_frame_slots * 2 : FIRST_SLOTS;
    uint32_t *slots = calloc(n, sizeof *slots);
    if (!slots) return false;
    for (size_t i = MACHINE_HOLE + 1; i < m->n_frames; i++) {
        size_t at = hash_frame(&m->frames[i]) & (n - 1);
        while (slots[at]) at = (at + 1) & (n - 1);
        slots[at] = (uint32_t)i;
    }
    free(m->frame_slots);
    m->frame_slots = slots;
    m->n_frame_slots = n;
    return true;
}

uint32_t machine_frame_number(machine *m, uint32_t node, uint32_t count, uint32_t parent)
{
    machine_frame frame = {node, count, parent, m->frames[parent].depth + 1};
    if (m->n_frames * 2 >= m->n_frame_slots && !rehash_frames(m)) return 0;
    size_t mask = m->n_frame_slots - 1, at = hash_frame(&frame) & mask;
    for (; m->frame_slots[at]; at = (at + 1) & mask) {
        const machine_frame *other = &m->frames[m->frame_slots[at]];
        if (other->node == node && other->count == count && other->parent == parent) return m->frame_slots[at];
    }
    if (!expr_grow(&m->frames, m->n_frames, &m->frames_capacity, sizeof *m->frames)) return 0;
    m->frames[m->n_frames] = frame;
    return m->frame_slots[at] = (uint32_t)m->n_frames++;
}

/* ---- configurations ---------------------------------------------------------------------------------------------- */

static uint32_t hash_threads(const machine_thread *threads, uint32_t n, bool done, bool escapes)
{
    uint64_t h = n * 4 + done * 2 + escapes;
    for (uint32_t i = 0; i < n; i++) h = mix(h, (uint64_t)threads[i].node << 32 | threads[i].stack);
    return (uint32_t)(h ^ h >> 32); /* the low half of a product knows nothing of the high half of its factors */
}

static bool rehash_configs(machine *m)
{
    size_t n = m->n_config_slots ? m->n_config_slots * 2 : FIRST_SLOTS;
    uint32_t *slots = calloc(n, sizeof *slots);
    if (!slots) return false;
    for (size_t i = MACHINE_FIRST; i < m->n_configs; i++) {
        size_t at = m->configs[i].hash & (n - 1);
        while (slots[at]) at = (at + 1) & (n - 1);
        slots[at] = (uint32_t)i;
    }
    free(m->config_slots);
    m->config_slots = slots;
    m->n_config_slots = n;
    return true;
}

/* The row of the next configuration, with nothing known. */
static bool add_row(machine *m)
{
    size_t row = (size_t)m->g.n_classes * sizeof *m->rows;
    if (!expr_grow(&m->rows, m->n_configs, &m->rows_capacity, row)) return false;
    memset(m->rows + m->n_configs * m->g.n_classes, 0, row);
    return true;
}

uint32_t machine_config_number(machine *m, uint32_t n, bool done, bool escapes)
{
    const machine_thread *threads = m->threads + m->n_threads - n;
    if (m->n_configs * 2 >= m->n_config_slots && !rehash_configs(m)) return 0;
    uint32_t hash = hash_threads(threads, n, done, escapes);
    size_t mask = m->n_config_slots - 1, at = hash & mask;
    for (; m->config_slots[at]; at = (at + 1) & mask) {
        const machine_config *other = &m->configs[m->config_slots[at]];
        if (other->hash != hash || other->n != n || other->done != done || other->escapes != escapes) continue;
        if (memcmp(m->threads + other->first, threads, n * sizeof *threads) != 0) continue;
        m->n_threads -= n;
        return m->config_slots[at];
    }
    if (!expr_grow(&m->configs, m->n_configs, &m->configs_capacity, sizeof *m->configs) || !add_row(m)) return 0;
    m->configs[m->n_configs] =
        (machine_config){.first = m->n_threads - n, .n = n, .done = done, .escapes = escapes, .hash = hash};
    return m->config_slots[at] = (uint32_t)m->n_configs++;
}

/* The configuration that the closure holds, as machine_step() has it. */
static uint32_t close_config(machine *m)
{
    machine_closure *c = m->closure;
    m->work += c->visits + 1;
    if (c->no_memory) return MACHINE_NO_MEMORY;
    if (c->n_threads == 0 && !c->done && !c->escapes) return MACHINE_DEAD;
    machine_closure_end(c);
    while (m->threads_capacity < m->n_threads + c->n_threads)
        if (!expr_grow(&m->threads, m->threads_capacity, &m->threads_capacity, sizeof *m->threads))
            return MACHINE_NO_MEMORY;
    if (c->n_threads) memcpy(m->threads + m->n_threads, c->threads, c->n_threads * sizeof *c->threads);
    m->n_threads += c->n_threads;
    uint32_t number = machine_config_number(m, c->n_threads, c->done, c->escapes);
    if (number == 0) return MACHINE_NO_MEMORY;
    return c->escapes ? number | MACHINE_ESCAPES : number;
}

uint32_t machine_step(machine *m, uint32_t config, unsigned byte)
{
    uint32_t class = m->g.class_of[byte], known = m->rows[(size_t)config * m->g.n_classes + class];
    if (known != MACHINE_UNKNOWN) return known;
    size_t first = m->configs[config].first;
    uint32_t n = m->configs[config].n;
    unsigned low = 0, high = 255;
    machine_closure_begin(m->closure);
    for (uint32_t i = 0; i < n; i++) {
        machine_thread thread = m->threads[first + i];
        const program_node *node = &m->g.nodes[thread.node];
        uint32_t next = program_step(&m->g, node, byte, &low, &high);
        if (next != UINT32_MAX) machine_closure_add(m, m->closure, next, thread.stack);
    }
    m->work += n;
    uint32_t to = close_config(m);
    if (to == MACHINE_NO_MEMORY) return to;
    /* The neighbours to which no thread says anything else go the same way: a string's letters are one step, not fifty.
     */
    for (class = m->g.class_of[low]; class <= m->g.class_of[high]; class ++)
        m->rows[(size_t)config * m->g.n_classes + class] = to;
    return to;
}

uint32_t machine_enter(machine *m, uint32_t node, uint32_t stack)
{
    machine_closure_begin(m->closure);
    machine_closure_add(m, m->closure, node, stack);
    return close_config(m);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

status machine_open(program *g, machine *out, status_detail *detail)
{
    machine m = {.g = *g, .n_configs = MACHINE_FIRST, .n_frames = MACHINE_HOLE + 1};
    m.closure = machine_closure_open();
    m.configs = calloc(m.configs_capacity = 64, sizeof *m.configs);
    m.frames = calloc(m.frames_capacity = 64, sizeof *m.frames);
    m.threads = calloc(m.threads_capacity = 64, sizeof *m.threads);
    if (!m.closure || !m.configs || !m.frames || !m.threads) goto no_memory;
    m.frames[MACHINE_HOLE].depth = MACHINE_HOLE_DEPTH;
    if ((m.gone = machine_config_number(&m, 0, false, true)) == 0) goto no_memory;
    m.start = machine_enter(&m, m.g.start, 0);
    if (m.start == MACHINE_NO_MEMORY || m.start == MACHINE_DEAD) goto no_memory;
    *g = (program){0};
    *out = m;
    return STATUS_OK;

no_memory:
    m.g = (program){0};
    machine_close(&m);
    return status_fail(detail, STATUS_INTERNAL, "out of memory while compiling");
}

void machine_close(machine *m)
{
    for (size_t i = MACHINE_FIRST; i < m->n_configs; i++) free(m->configs[i].mask);
    program_free(&m->g);
    free(m->frames);
    free(m->frame_slots);
    free(m->configs);
    free(m->config_slots);
    free(m->threads);
    free(m->rows);
    free(m->scratch);
    mask_memo_free(m->memo);
    machine_closure_close(m->closure);
    *m = (machine){0};
}

size_t machine_size(const machine *m)
{
    size_t config = sizeof *m->configs + 2 * sizeof *m->config_slots + m->g.n_classes * sizeof *m->rows;
    return m->mask_bytes + mask_memo_bytes(m->memo) + m->n_frames * (sizeof *m->frames + 2 * sizeof *m->frame_slots) +
           m->n_configs * config + m->n_threads * sizeof *m->threads;
}
