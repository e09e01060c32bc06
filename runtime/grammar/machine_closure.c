#include "runtime/grammar/machine_closure.h"

#include <stdlib.h>

enum { FIRST_SEEN = 1024, FEW = 24 };

machine_closure *machine_closure_open(void)
{
    machine_closure *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->n_seen = FIRST_SEEN;
    c->seen = calloc(c->n_seen, sizeof *c->seen);
    if (!c->seen) {
        free(c);
        return NULL;
    }
    return c;
}

void machine_closure_close(machine_closure *c)
{
    if (!c) return;
    free(c->pending);
    free(c->seen);
    free(c);
}

void machine_closure_begin(machine_closure *c)
{
    c->n_threads = c->visits = 0;
    c->done = c->escapes = c->no_memory = false;
    c->n_pending = 0;
    if (++c->round == 0) { /* after 2^32 steps: old entries must not look new */
        for (size_t i = 0; i < c->n_seen; i++) c->seen[i].round = 0;
        c->round = 1;
    }
}

static size_t slot_of(const machine_closure *c, machine_thread pair)
{
    uint64_t key = (uint64_t)pair.node << 32 | pair.stack;
    size_t at = (size_t)((key ^ key >> 29) * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (c->n_seen - 1);
    while (c->seen[at].round == c->round &&
           (c->seen[at].pair.node != pair.node || c->seen[at].pair.stack != pair.stack))
        at = (at + 1) & (c->n_seen - 1);
    return at;
}

static bool grow_seen(machine_closure *c)
{
    machine_closure grown = {.n_seen = c->n_seen * 2, .round = 1};
    grown.seen = calloc(grown.n_seen, sizeof *grown.seen);
    if (!grown.seen) return false;
    for (size_t i = 0; i < c->n_seen; i++) {
        if (c->seen[i].round != c->round) continue;
        size_t at = slot_of(&grown, c->seen[i].pair);
        grown.seen[at].pair = c->seen[i].pair;
        grown.seen[at].round = 1;
    }
    free(c->seen);
    c->seen = grown.seen;
    c->n_seen = grown.n_seen;
    c->round = 1;
    return true;
}

/* Queues (node, stack) unless it was there already in this step, or cannot be brought to an end within the depth that
 * is left. */
static void push(machine *m, machine_closure *c, uint32_t node, uint32_t stack)
{
    uint32_t need = m->g.nodes[node].need;
    if (need == PROGRAM_NEED_NEVER || m->frames[stack].depth + need > PROGRAM_MAX_DEPTH) return;
    if (c->visits * 2 >= c->n_seen && !grow_seen(c)) {
        c->no_memory = true;
        return;
    }
    machine_thread pair = {node, stack};
    size_t at = slot_of(c, pair);
    if (c->seen[at].round == c->round) return;
    if (!expr_grow(&c->pending, c->n_pending, &c->pending_capacity, sizeof *c->pending)) {
        c->no_memory = true;
        return;
    }
    c->seen[at].pair = pair;
    c->seen[at].round = c->round;
    c->visits++;
    c->pending[c->n_pending++] = pair;
}

static void push_frame(machine *m, machine_closure *c, uint32_t to, uint32_t node, uint32_t count, uint32_t parent)
{
    uint32_t need = m->g.nodes[to].need; /* before the frame is made: most that are too deep never are */
    if (need == PROGRAM_NEED_NEVER || m->frames[parent].depth + 1 + need > PROGRAM_MAX_DEPTH) return;
    uint32_t frame = machine_frame_number(m, node, count, parent);
    if (frame == 0) {
        c->no_memory = true;
    } else {
        push(m, c, to, frame);
    }
}

static void finish_repetition(machine *m, machine_closure *c, machine_frame frame)
{
    const program_node *node = &m->g.nodes[frame.node];
    program_repeat repeat = m->g.repeats[node->a];
    uint32_t count = frame.count + 1;
    if (repeat.most == EXPR_NO_LIMIT && count > repeat.least) count = repeat.least;
    if (count < repeat.most) push_frame(m, c, repeat.body, frame.node, count, frame.parent);
    if (count >= repeat.least) push(m, c, node->next, frame.parent);
}

static void visit(machine *m, machine_closure *c, machine_thread at)
{
    const program_node *node = &m->g.nodes[at.node];
    switch ((program_kind)node->kind) {
    case PROGRAM_KIND_RANGE:
    case PROGRAM_KIND_SWITCH:
        if (c->n_threads < MACHINE_MAX_THREADS) c->threads[c->n_threads++] = at;
        return;
    case PROGRAM_KIND_SPLIT: {
        program_list split = m->g.splits[node->a];
        for (uint32_t i = 0; i < split.n; i++) push(m, c, m->g.targets[split.start + i], at.stack);
        return;
    }
    case PROGRAM_KIND_CALL:
        /* The last call of a rule needs no frame: right recursion runs in constant space. */
        if (node->next == PROGRAM_RETURN) {
            push(m, c, node->a, at.stack);
        } else {
            push_frame(m, c, node->a, node->next, MACHINE_CALL, at.stack);
        }
        return;
    case PROGRAM_KIND_REPEAT:
        if (m->g.repeats[node->a].least == 0) push(m, c, node->next, at.stack);
        push_frame(m, c, m->g.repeats[node->a].body, at.node, 0, at.stack);
        return;
    case PROGRAM_KIND_RETURN: {
        machine_frame frame = m->frames[at.stack];
        if (at.stack == 0) {
            c->done = true;
        } else if (at.stack == MACHINE_HOLE) {
            c->escapes = true;
        } else if (frame.count == MACHINE_CALL) {
            push(m, c, frame.node, frame.parent);
        } else {
            finish_repetition(m, c, frame);
        }
        return;
    }
    }
}

void machine_closure_add(machine *m, machine_closure *c, uint32_t node, uint32_t stack)
{
    push(m, c, node, stack);
    while (c->n_pending && !c->no_memory) {
        if (c->visits > MACHINE_MAX_VISITS && (c->n_threads || c->done || c->escapes)) {
            c->n_pending = 0;
            return;
        }
        visit(m, c, c->pending[--c->n_pending]);
    }
}

static int compare_threads(const void *a, const void *b)
{
    const machine_thread *x = a, *y = b;
    if (x->node != y->node) return x->node < y->node ? -1 : 1;
    return (x->stack > y->stack) - (x->stack < y->stack);
}

void machine_closure_end(machine_closure *c)
{
    if (c->n_threads > FEW) {
        qsort(c->threads, c->n_threads, sizeof *c->threads, compare_threads);
        return;
    }
    for (uint32_t i = 1; i < c->n_threads; i++) {
        machine_thread thread = c->threads[i];
        uint32_t at = i;
        for (; at > 0 && compare_threads(&thread, &c->threads[at - 1]) < 0; at--) c->threads[at] = c->threads[at - 1];
        c->threads[at] = thread;
    }
}
