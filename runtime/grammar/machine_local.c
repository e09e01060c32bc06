#include "runtime/grammar/machine.h"

enum { MAX_CUT = 6 }; /* frames that a thread may have above the cut: deeper ones hardly ever come again */

static uint32_t common_frame(const machine *m, uint32_t a, uint32_t b)
{
    while (a != b) {
        if (m->frames[a].depth >= m->frames[b].depth) {
            a = m->frames[a].parent;
        } else {
            b = m->frames[b].parent;
        }
    }
    return a;
}

/* The frame that all threads share. Not the repetition of a run that a thread is in: its count tells how long that may
 * be. */
static uint32_t find_cut(const machine *m, const machine_config *config)
{
    const machine_thread *threads = m->threads + config->first;
    uint32_t cut = threads[0].stack;
    for (uint32_t i = 1; i < config->n && cut; i++) cut = common_frame(m, cut, threads[i].stack);
    for (bool again = true; again && cut;) {
        again = false;
        for (uint32_t i = 0; i < config->n && m->frames[cut].count != MACHINE_CALL; i++)
            again |= threads[i].stack == cut && m->g.nodes[threads[i].node].marker != 0;
        if (again) cut = m->frames[cut].parent;
    }
    return cut;
}

/* The frames of `stack` above `cut`, on the hole instead. 0: no memory. */
static uint32_t move_to_hole(machine *m, uint32_t stack, uint32_t cut)
{
    uint32_t above[MAX_CUT], moved = MACHINE_HOLE;
    int n = 0;
    for (; stack != cut; stack = m->frames[stack].parent) above[n++] = stack;
    while (n-- > 0 && moved)
        moved = machine_frame_number(m, m->frames[above[n]].node, m->frames[above[n]].count, moved);
    return moved;
}

static void sort_threads(machine_thread *threads, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        machine_thread thread = threads[i];
        uint32_t at = i;
        for (; at > 0; at--) {
            machine_thread before = threads[at - 1];
            if (before.node < thread.node || (before.node == thread.node && before.stack < thread.stack)) break;
            threads[at] = before;
        }
        threads[at] = thread;
    }
}

uint32_t machine_local(machine *m, uint32_t config, uint32_t *below)
{
    enum { MAX_THREADS = 64 };
    uint32_t n = m->configs[config].n;
    if (n == 0 || n > MAX_THREADS) return 0;
    uint32_t cut = find_cut(m, &m->configs[config]);
    if (cut == 0 || cut == MACHINE_HOLE || m->frames[cut].depth > MACHINE_HOLE_DEPTH) return 0;
    for (uint32_t i = 0; i < n; i++) {
        machine_thread thread = m->threads[m->configs[config].first + i];
        uint32_t need = m->g.nodes[thread.node].need;
        if (m->frames[thread.stack].depth - m->frames[cut].depth > MAX_CUT) return 0;
        if (need > (PROGRAM_MAX_DEPTH - MACHINE_HOLE_DEPTH) / 2) return 0;
        thread.stack = move_to_hole(m, thread.stack, cut);
        if (thread.stack == 0) return MACHINE_NO_MEMORY;
        if (!expr_grow(&m->threads, m->n_threads + i, &m->threads_capacity, sizeof *m->threads))
            return MACHINE_NO_MEMORY;
        m->threads[m->n_threads + i] = thread;
    }
    sort_threads(m->threads + m->n_threads, n);
    m->n_threads += n;
    uint32_t number = machine_config_number(m, n, false, false);
    *below = cut;
    return number ? number : MACHINE_NO_MEMORY;
}
