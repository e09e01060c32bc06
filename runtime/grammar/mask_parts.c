#include "runtime/grammar/mask_parts.h"

/* A token that goes on behind the region is known only where a quote ends it or nothing follows. */
static bool in_region(const program_region *r, machine_thread thread)
{
    return r && (r->encoding == EXPR_JSON || thread.stack == 0);
}

/* What allows the tokens that only end the region belongs to it: they are closing tokens without a character before. */
static bool ends_region(const mask_part *part, machine_thread thread)
{
    return part->region && part->region->next == thread.node && part->stack == thread.stack;
}

static uint32_t take_regions(const machine *m, const machine_thread *threads, uint32_t n, mask_parts *out)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < n; i++) {
        mask_part part = {.stack = threads[i].stack, .threads = UINT32_C(1) << i};
        part.region = program_region_of(&m->g, threads[i].node, &part.state);
        if (in_region(part.region, threads[i])) {
            out->items[out->n++] = part;
        } else {
            left |= part.threads;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t p = 0; p < out->n && left >> i & 1; p++) {
            if (!ends_region(&out->items[p], threads[i])) continue;
            out->items[p].threads |= UINT32_C(1) << i;
            left &= ~(UINT32_C(1) << i);
        }
    return left;
}

uint8_t mask_parts_limit(const machine *m, uint8_t limit, uint32_t stack)
{
    if (limit != PROGRAM_LIMIT_FRAME) return limit;
    const machine_frame *frame = &m->frames[stack];
    uint32_t left = m->g.repeats[m->g.nodes[frame->node].a].most - frame->count;
    return left < SLICE_CHARS ? (uint8_t)left : SLICE_CHARS;
}

/* Next to other runs, the tokens that are longer than the longest of them allows have to be walked: are there many? */
static bool many_are_longer(const machine *m, const grammar_vocab *v, const machine_thread *threads, uint32_t n)
{
    enum { MANY = 8192 };
    uint32_t best = 0, all = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint16_t number = m->g.nodes[threads[i].node].marker;
        if (number == 0) continue;
        const program_marker *run = &m->g.markers[number - 1];
        uint8_t least = mask_parts_limit(m, run->least, threads[i].stack);
        const uint32_t *counts = v->slices[run->class].counts;
        if (least == 0 || counts[least - 1] <= best) continue;
        best = counts[least - 1];
        all = counts[SLICE_CHARS - 1];
    }
    return all - best > MANY;
}

/* Each run (program_marker) on its own. */
static uint32_t take_runs(const machine *m, const machine_thread *threads, uint32_t n, uint32_t left, mask_parts *out)
{
    for (uint32_t i = 0; i < n; i++) {
        uint16_t number = m->g.nodes[threads[i].node].marker;
        if (number == 0 || !(left >> i & 1)) continue;
        const program_marker *run = &m->g.markers[number - 1];
        mask_part part = {.stack = threads[i].stack};
        for (uint32_t k = 0; k < n; k++)
            if (threads[k].stack == part.stack && run->first <= threads[k].node && threads[k].node < run->last)
                part.threads |= left & UINT32_C(1) << k;
        left &= ~part.threads;
        out->items[out->n++] = part;
    }
    return left;
}

void mask_parts_find(const machine *m, const grammar_vocab *v, uint32_t config, mask_parts *out)
{
    const machine_config *of = &m->configs[config];
    const machine_thread *threads = m->threads + of->first;
    out->n = 0;
    out->whole = true;
    if (of->n > MASK_PARTS_THREADS) return;
    uint32_t left = take_regions(m, threads, of->n, out), regions = out->n;
    uint32_t rest = many_are_longer(m, v, threads, of->n) ? take_runs(m, threads, of->n, left, out) : left;
    if (out->n - regions <= 1) { /* nothing is gained by cutting off one that is alone */
        out->n = regions;
        rest = left;
    }
    out->whole = out->n == 0;
    if (rest && !out->whole) out->items[out->n++] = (mask_part){.threads = rest};
}

uint32_t mask_parts_config(machine *m, uint32_t config, const mask_part *part)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < MASK_PARTS_THREADS; i++) {
        if (!(part->threads >> i & 1)) continue;
        machine_thread thread = m->threads[m->configs[config].first + i];
        if (!expr_grow(&m->threads, m->n_threads + n, &m->threads_capacity, sizeof *m->threads))
            return MACHINE_NO_MEMORY;
        m->threads[m->n_threads + n++] = thread;
    }
    m->n_threads += n;
    uint32_t number = machine_config_number(m, n, false, false);
    return number ? number : MACHINE_NO_MEMORY;
}
