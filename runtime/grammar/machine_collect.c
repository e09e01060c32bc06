/* Copying out what is still in use: the roots' threads and the frames below them. */
#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/machine.h"

/* number[f]: non-zero for frames that a root's thread stands on. */
static void mark_frames(const machine *m, const machine_config *config, uint32_t *number)
{
    for (uint32_t i = 0; i < config->n; i++) {
        uint32_t frame = m->threads[config->first + i].stack;
        for (; frame && !number[frame]; frame = m->frames[frame].parent) number[frame] = 1;
    }
}

static bool copy_frames(const machine *m, uint32_t *number, machine *out)
{
    for (size_t f = MACHINE_HOLE + 1; f < m->n_frames; f++) {
        if (!number[f]) continue; /* parents have smaller numbers, so theirs is final here */
        number[f] = machine_frame_number(out, m->frames[f].node, m->frames[f].count, number[m->frames[f].parent]);
        if (number[f] == 0) return false;
    }
    return true;
}

/* New frame numbers keep the order of the old ones, so threads stay ordered. */
static uint32_t copy_config(const machine *m, uint32_t config, const uint32_t *number, machine *out)
{
    const machine_config *old = &m->configs[config];
    for (uint32_t i = 0; i < old->n; i++) {
        if (!expr_grow(&out->threads, out->n_threads, &out->threads_capacity, sizeof *out->threads)) return 0;
        machine_thread thread = m->threads[old->first + i];
        out->threads[out->n_threads++] = (machine_thread){thread.node, number[thread.stack]};
    }
    return machine_config_number(out, old->n, old->done, false);
}

static void take_over(machine *m, machine *fresh)
{
    program g = m->g;
    struct machine_closure *closure = m->closure;
    void *scratch = m->scratch;
    uint64_t work = m->work;
    m->g = (program){0};
    m->closure = NULL;
    m->scratch = NULL;
    machine_close(m);
    *m = *fresh;
    m->g = g;
    m->closure = closure;
    m->scratch = scratch;
    m->work = work;
}

bool machine_collect(machine *m, uint32_t *const *roots, size_t n)
{
    machine fresh = {.n_configs = MACHINE_FIRST, .n_frames = MACHINE_HOLE + 1, .g.n_classes = m->g.n_classes};
    uint32_t *number = calloc(m->n_frames + 1, sizeof *number), *moved = malloc((n + 1) * sizeof *moved);
    bool copied = false;
    fresh.configs = calloc(fresh.configs_capacity = 64, sizeof *fresh.configs);
    fresh.frames = calloc(fresh.frames_capacity = 64, sizeof *fresh.frames);
    fresh.threads = calloc(fresh.threads_capacity = 64, sizeof *fresh.threads);
    if (!number || !moved || !fresh.configs || !fresh.frames || !fresh.threads) goto done;
    fresh.frames[MACHINE_HOLE].depth = MACHINE_HOLE_DEPTH;
    if ((fresh.gone = machine_config_number(&fresh, 0, false, true)) == 0) goto done;
    mark_frames(m, &m->configs[m->start], number);
    for (size_t i = 0; i < n; i++) mark_frames(m, &m->configs[*roots[i]], number);
    if (!copy_frames(m, number, &fresh)) goto done;
    if ((fresh.start = copy_config(m, m->start, number, &fresh)) == 0) goto done;
    for (size_t i = 0; i < n; i++)
        if ((moved[i] = copy_config(m, *roots[i], number, &fresh)) == 0) goto done;
    for (size_t i = 0; i < n; i++) *roots[i] = moved[i];
    take_over(m, &fresh);
    copied = true;
done:
    free(number);
    free(moved);
    if (!copied) machine_close(&fresh);
    return copied;
}
