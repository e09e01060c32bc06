/* How many frames the way to the end of a rule takes at least: what PROGRAM_MAX_DEPTH is compared with, and how nodes
 * are found that no text leads out of. A fixpoint over rules, from below; within a rule one pass is enough, because
 * nodes are made before those that go to them, and loops go back to a split whose need is known without the loop. */
#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/program_build.h"

enum { MAX_WORK = 1 << 26 };

static uint16_t larger(uint16_t a, uint16_t b) { return a > b ? a : b; }
static uint16_t one_more(uint16_t need)
{
    return need >= PROGRAM_MAX_DEPTH ? PROGRAM_NEED_NEVER : (uint16_t)(need + 1);
}

static uint16_t need_of(const program *g, const program_node *node)
{
    switch ((program_kind)node->kind) {
    case PROGRAM_KIND_RETURN: return 0;
    case PROGRAM_KIND_RANGE: return g->nodes[node->next].need;
    case PROGRAM_KIND_SWITCH: {
        uint16_t least = PROGRAM_NEED_NEVER;
        for (uint32_t i = 0; i < g->switches[node->a].n; i++) {
            uint16_t need = g->nodes[g->edges[g->switches[node->a].start + i].next].need;
            if (need < least) least = need;
        }
        return least;
    }
    case PROGRAM_KIND_SPLIT: {
        if (node->next != UINT32_MAX) return g->nodes[node->next].need;
        uint16_t least = PROGRAM_NEED_NEVER;
        for (uint32_t i = 0; i < g->splits[node->a].n; i++) {
            uint16_t need = g->nodes[g->targets[g->splits[node->a].start + i]].need;
            if (need < least) least = need;
        }
        return least;
    }
    case PROGRAM_KIND_CALL: {
        uint16_t callee = g->nodes[node->a].need;
        if (node->next == PROGRAM_RETURN) return callee; /* machine.c pushes no frame either */
        return larger(one_more(callee), g->nodes[node->next].need);
    }
    case PROGRAM_KIND_REPEAT: {
        const program_repeat *repeat = &g->repeats[node->a];
        uint16_t need = g->nodes[node->next].need;
        return repeat->least == 0 ? need : larger(one_more(g->nodes[repeat->body].need), need);
    }
    }
    return PROGRAM_NEED_NEVER;
}

/* The rules that call each rule, as lists: heads[r]..heads[r + 1] in `callers`. */
typedef struct call_graph {
    uint32_t *rule_of; /* [n_nodes] by first node of a rule */
    uint32_t *heads, *callers;
} call_graph;

static bool find_callers(const program_build *b, call_graph *c)
{
    const program *g = b->g;
    size_t n_calls = 0;
    for (size_t i = 0; i < g->n_nodes; i++) n_calls += g->nodes[i].kind == PROGRAM_KIND_CALL;
    c->rule_of = malloc((g->n_nodes + 1) * sizeof *c->rule_of);
    c->heads = calloc(b->n_entries + 2, sizeof *c->heads);
    c->callers = malloc((n_calls + 1) * sizeof *c->callers);
    if (!c->rule_of || !c->heads || !c->callers) return false;
    memset(c->rule_of, 0xFF, (g->n_nodes + 1) * sizeof *c->rule_of);
    /* Rules may share their first node (a rule that is nothing but another's tail); its need is theirs, so any will do.
     */
    for (size_t r = 0; r < b->n_entries; r++)
        if (b->entries[r] != UINT32_MAX) c->rule_of[b->entries[r]] = (uint32_t)r;
    for (size_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].kind == PROGRAM_KIND_CALL) c->heads[c->rule_of[g->nodes[i].a] + 2]++;
    for (size_t r = 1; r < b->n_entries + 2; r++) c->heads[r] += c->heads[r - 1];
    size_t from = 0;
    for (size_t q = 0; q < b->queue.n; q++) {
        uint32_t rule = b->queue.items[q];
        for (size_t i = from; i < b->ends[rule]; i++)
            if (g->nodes[i].kind == PROGRAM_KIND_CALL)
                c->callers[c->heads[c->rule_of[g->nodes[i].a] + 1]++] = (uint32_t)q;
        from = b->ends[rule];
    }
    return true;
}

/* Recomputes the q-th rule compiled. True when its first node needs less than before. */
static bool update(program_build *b, size_t q, size_t *work)
{
    program *g = b->g;
    uint32_t rule = b->queue.items[q], entry = b->entries[rule];
    size_t from = q ? b->ends[b->queue.items[q - 1]] : 0;
    uint16_t before = g->nodes[entry].need;
    for (size_t i = from; i < b->ends[rule]; i++) g->nodes[i].need = need_of(g, &g->nodes[i]);
    *work += b->ends[rule] - from + 1;
    if (*work > MAX_WORK) expr_pool_too_large(b->p);
    return g->nodes[entry].need < before;
}

static void settle(program_build *b, const call_graph *c, expr_list *now, expr_list *then, bool *listed)
{
    size_t work = 0;
    while (now->n && !program_build_broken(b)) {
        then->n = 0;
        for (size_t i = now->n; i > 0 && !program_build_broken(b); i--) {
            uint32_t q = now->items[i - 1];
            listed[q] = false;
            if (!update(b, q, &work)) continue;
            uint32_t rule = c->rule_of[b->entries[b->queue.items[q]]];
            for (uint32_t k = c->heads[rule]; k < c->heads[rule + 1]; k++) {
                if (listed[c->callers[k]]) continue;
                listed[c->callers[k]] = true;
                expr_list_add(b->p, then, c->callers[k]);
            }
        }
        expr_list swap = *now;
        *now = *then;
        *then = swap;
    }
}

void program_need(program_build *b)
{
    call_graph c = {0};
    expr_list now = {0}, then = {0};
    bool *listed = calloc(b->queue.n + 1, sizeof *listed);
    for (size_t i = 0; i < b->g->n_nodes; i++) b->g->nodes[i].need = i == PROGRAM_RETURN ? 0 : PROGRAM_NEED_NEVER;
    if (!listed || !find_callers(b, &c)) expr_pool_no_memory(b->p);
    for (size_t q = 0; q < b->queue.n; q++) {
        expr_list_add(b->p, &now, (uint32_t)q);
        if (listed) listed[q] = true;
    }
    if (!program_build_broken(b)) settle(b, &c, &now, &then, listed);
    free(c.rule_of);
    free(c.heads);
    free(c.callers);
    free(listed);
    expr_list_free(&now);
    expr_list_free(&then);
}
