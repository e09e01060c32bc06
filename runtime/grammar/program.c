/* Expressions to nodes: Thompson's construction, from the end of each expression to its beginning. */
#include "runtime/grammar/program.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/program_build.h"

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

bool program_build_broken(const program_build *b) { return b->p->no_memory || b->p->too_large; }

uint32_t program_build_node(program_build *b, program_node node)
{
    program *g = b->g;
    if (program_build_broken(b)) return 0;
    if (g->n_nodes == PROGRAM_MAX_NODES) return expr_pool_too_large(b->p);
    if (!expr_grow(&g->nodes, g->n_nodes, &g->nodes_capacity, sizeof *g->nodes)) return expr_pool_no_memory(b->p);
    g->nodes[g->n_nodes] = node;
    return (uint32_t)g->n_nodes++;
}

void program_build_fill_split(program_build *b, uint32_t split, const uint32_t *targets, size_t n)
{
    program *g = b->g;
    if (program_build_broken(b)) return;
    program_list *s = &g->splits[g->nodes[split].a];
    *s = (program_list){(uint32_t)g->n_targets, (uint32_t)n};
    for (size_t i = 0; i < n; i++) {
        if (g->n_targets >= 2 * (size_t)PROGRAM_MAX_NODES) {
            expr_pool_too_large(b->p);
        } else if (expr_grow(&g->targets, g->n_targets, &g->targets_capacity, sizeof *g->targets)) {
            g->targets[g->n_targets++] = targets[i];
            continue;
        } else {
            expr_pool_no_memory(b->p);
        }
        s->n = (uint32_t)i;
        return;
    }
}

uint32_t program_build_split(program_build *b, const uint32_t *targets, size_t n, uint32_t need_of)
{
    program *g = b->g;
    if (program_build_broken(b)) return 0;
    if (!expr_grow(&g->splits, g->n_splits, &g->splits_capacity, sizeof *g->splits)) return expr_pool_no_memory(b->p);
    uint32_t split =
        program_build_node(b, (program_node){.kind = PROGRAM_KIND_SPLIT, .a = (uint32_t)g->n_splits, .next = need_of});
    if (program_build_broken(b)) return 0;
    g->splits[g->n_splits++] = (program_list){0};
    program_build_fill_split(b, split, targets, n);
    return split;
}

void program_build_edge(program_build *b, program_edges *edges, unsigned low, unsigned high, uint32_t next)
{
    if (program_build_broken(b)) return;
    if (!expr_grow(&edges->items, edges->n, &edges->capacity, sizeof *edges->items)) {
        expr_pool_no_memory(b->p);
        return;
    }
    edges->items[edges->n++] = (program_edge){(uint8_t)low, (uint8_t)high, next};
}

static int compare_edges(const void *a, const void *b)
{
    const program_edge *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

/* Edges of the same bytes become one to a split; neighbours that go the same way become one. */
static void join_edges(program_build *b, program_edges *edges)
{
    size_t n = 0;
    qsort(edges->items, edges->n, sizeof *edges->items, compare_edges);
    for (size_t i = 0, end; i < edges->n; i = end) {
        program_edge edge = edges->items[i];
        expr_list ways = {0};
        for (end = i; end < edges->n && edges->items[end].low == edge.low; end++)
            expr_list_add(b->p, &ways, edges->items[end].next);
        if (ways.n > 1) edge.next = program_build_split(b, ways.items, ways.n, UINT32_MAX);
        expr_list_free(&ways);
        if (n && edges->items[n - 1].high + 1 == edge.low && edges->items[n - 1].next == edge.next) {
            edges->items[n - 1].high = edge.high;
        } else {
            edges->items[n++] = edge;
        }
    }
    edges->n = n;
}

uint32_t program_build_switch(program_build *b, program_edges *edges)
{
    program *g = b->g;
    if (edges->n == 0 && !program_build_broken(b)) return program_build_split(b, NULL, 0, UINT32_MAX); /* no way */
    if (!program_build_broken(b)) join_edges(b, edges);
    if (program_build_broken(b)) return 0;
    program_edge only = edges->items[0];
    if (edges->n == 1)
        return program_build_node(
            b, (program_node){.kind = PROGRAM_KIND_RANGE, .low = only.low, .high = only.high, .next = only.next});
    program_list list = {(uint32_t)g->n_edges, (uint32_t)edges->n};
    for (size_t i = 0; i < edges->n; i++) {
        if (g->n_edges >= 2 * (size_t)PROGRAM_MAX_NODES) return expr_pool_too_large(b->p);
        if (!expr_grow(&g->edges, g->n_edges, &g->edges_capacity, sizeof *g->edges)) return expr_pool_no_memory(b->p);
        g->edges[g->n_edges++] = edges->items[i];
    }
    if (!expr_grow(&g->switches, g->n_switches, &g->switches_capacity, sizeof *g->switches))
        return expr_pool_no_memory(b->p);
    g->switches[g->n_switches++] = list;
    return program_build_node(b, (program_node){.kind = PROGRAM_KIND_SWITCH, .a = (uint32_t)g->n_switches - 1});
}

/* ---- expressions ------------------------------------------------------------------------------------------------- */

static uint32_t write_expr(program_build *b, expr e, uint32_t next);

static uint32_t write_bytes(program_build *b, const expr_node *node, uint32_t next)
{
    const unsigned char *bytes = (const unsigned char *)b->p->bytes.data + node->a;
    for (uint32_t i = node->n; i > 0; i--)
        next = program_build_node(
            b, (program_node){.kind = PROGRAM_KIND_RANGE, .low = bytes[i - 1], .high = bytes[i - 1], .next = next});
    return next;
}

/* A character; `limit` more of them may follow, 0: it does not repeat. */
static uint32_t write_chars(program_build *b, const expr_node *node, uint32_t next, uint8_t limit, uint32_t behind)
{
    program_edges edges = {0};
    uint32_t first = (uint32_t)b->g->n_nodes;
    const charset *set = &b->p->sets[node->a];
    program_chars(b, set, (expr_encoding)node->encoding, next, &edges);
    uint32_t at = program_build_switch(b, &edges);
    free(edges.items);
    if (limit == 0 || program_build_broken(b)) return at;
    program_runs runs = {{0}, {0}};
    for (int class = 0; class < SLICE_CLASSES; class ++) {
        size_t n;
        const charset_range *ranges = slice_ranges((slice_class) class, &n);
        if (!charset_covers(set, ranges, n)) continue;
        runs.least[class] = limit;
        runs.most[class] = program_mark_excludes(b->g, behind, (slice_class) class) ? limit : SLICE_CHARS;
    }
    program_mark(b, at, first, &runs);
    return at;
}

static uint32_t write_body(program_build *b, expr body, uint32_t next, uint8_t limit, uint32_t behind)
{
    expr_node node = b->p->nodes[body];
    if (node.kind == EXPR_KIND_CHARS) return write_chars(b, &node, next, limit, behind);
    return write_expr(b, body, next);
}

static uint32_t write_loop(program_build *b, expr body, bool at_least_once, uint32_t next)
{
    uint32_t loop = program_build_split(b, NULL, 0, UINT32_MAX);
    uint32_t first = write_body(b, body, loop, SLICE_CHARS, next);
    program_build_fill_split(b, loop, (uint32_t[]){first, next}, 2);
    return at_least_once ? first : loop;
}

static uint32_t write_counted(program_build *b, const expr_node *node, uint32_t next)
{
    program *g = b->g;
    uint8_t limit = node->max == EXPR_NO_LIMIT ? SLICE_CHARS : PROGRAM_LIMIT_FRAME;
    program_repeat repeat = {
        .body = write_body(b, node->a, PROGRAM_RETURN, limit, next), .least = node->n, .most = node->max};
    if (program_build_broken(b)) return 0;
    if (!expr_grow(&g->repeats, g->n_repeats, &g->repeats_capacity, sizeof *g->repeats))
        return expr_pool_no_memory(b->p);
    g->repeats[g->n_repeats++] = repeat;
    return program_build_node(
        b, (program_node){.kind = PROGRAM_KIND_REPEAT, .a = (uint32_t)g->n_repeats - 1, .next = next});
}

static uint32_t write_repeat(program_build *b, expr_node node, uint32_t next)
{
    if (node.max == 1) return program_build_split(b, (uint32_t[]){write_expr(b, node.a, next), next}, 2, UINT32_MAX);
    if (expr_nullable(b->p, node.a)) {
        /* Without the empty text any number of repetitions is enough; with it, counts could go up without a byte. */
        node.a = expr_nullable_strip(b->p, &b->stripped, node.a);
        node.n = 0;
    }
    if (node.max == EXPR_NO_LIMIT && node.n <= 1) return write_loop(b, node.a, node.n == 1, next);
    return write_counted(b, &node, next);
}

static uint32_t write_call(program_build *b, uint32_t rule, uint32_t next)
{
    while (b->n_entries <= rule) {
        if (!expr_grow(&b->entries, b->n_entries, &b->entries_capacity, sizeof *b->entries) ||
            !expr_grow(&b->ends, b->n_entries, &b->ends_capacity, sizeof *b->ends))
            return expr_pool_no_memory(b->p);
        b->ends[b->n_entries] = 0;
        b->entries[b->n_entries++] = UINT32_MAX;
    }
    if (b->entries[rule] == UINT32_MAX) {
        b->entries[rule] = 0; /* queued; link_calls() puts the node there once it is known */
        expr_list_add(b->p, &b->queue, rule);
    }
    return program_build_node(b, (program_node){.kind = PROGRAM_KIND_CALL, .a = rule, .next = next});
}

static uint32_t write_expr(program_build *b, expr e, uint32_t next)
{
    if (program_build_broken(b)) return 0;
    expr_node node = b->p->nodes[e];
    switch ((expr_kind)node.kind) {
    case EXPR_KIND_FAIL: return program_build_split(b, NULL, 0, UINT32_MAX);
    case EXPR_KIND_EMPTY: return next;
    case EXPR_KIND_BYTES: return write_bytes(b, &node, next);
    case EXPR_KIND_CHARS: return write_chars(b, &node, next, 0, next);
    case EXPR_KIND_CAT:
        for (uint32_t i = node.n; i > 0; i--) next = write_expr(b, b->p->kids[node.a + i - 1], next);
        return next;
    case EXPR_KIND_ALT: {
        expr_list ways = {0};
        for (uint32_t i = 0; i < node.n; i++) expr_list_add(b->p, &ways, write_expr(b, b->p->kids[node.a + i], next));
        uint32_t split = program_build_broken(b) ? 0 : program_build_split(b, ways.items, ways.n, UINT32_MAX);
        expr_list_free(&ways);
        return split;
    }
    case EXPR_KIND_REPEAT: return write_repeat(b, node, next);
    case EXPR_KIND_RULE: return write_call(b, node.a, next);
    case EXPR_KIND_DFA: return program_dfa(b, b->p->dfas[node.a], (expr_encoding)node.encoding, next);
    }
    return 0;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void write_rules(program_build *b, uint32_t root)
{
    program_build_node(b, (program_node){.kind = PROGRAM_KIND_RETURN});
    b->g->start = write_call(b, root, PROGRAM_RETURN);
    for (size_t q = 0; q < b->queue.n && !program_build_broken(b); q++) {
        uint32_t rule = b->queue.items[q];
        uint32_t entry = write_expr(b, b->p->rules[rule].body, PROGRAM_RETURN);
        b->entries[rule] = entry;
        b->ends[rule] = (uint32_t)b->g->n_nodes;
    }
    for (size_t i = 0; i < b->g->n_nodes && !program_build_broken(b); i++)
        if (b->g->nodes[i].kind == PROGRAM_KIND_CALL) b->g->nodes[i].a = b->entries[b->g->nodes[i].a];
}

/* Where the set of bytes that a node takes begins or ends, bytes differ. */
static void find_classes(program *g)
{
    bool cut[257] = {false};
    for (size_t i = 0; i < g->n_nodes; i++) {
        const program_node *node = &g->nodes[i];
        if (node->kind == PROGRAM_KIND_RANGE) cut[node->low] = cut[node->high + 1] = true;
    }
    for (size_t i = 0; i < g->n_edges; i++) cut[g->edges[i].low] = cut[g->edges[i].high + 1] = true;
    uint32_t class = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (byte > 0 && cut[byte]) class ++;
        g->class_of[byte] = (uint8_t) class;
    }
    g->n_classes = class + 1;
}

void program_free(program *g)
{
    free(g->nodes);
    free(g->targets);
    free(g->splits);
    free(g->repeats);
    free(g->edges);
    free(g->switches);
    free(g->markers);
    for (size_t i = 0; i < g->n_regions; i++) program_region_free(&g->regions[i]);
    free(g->regions);
    *g = (program){0};
}

status program_compile(expr_pool *p, uint32_t root, const grammar_vocab *v, program *out, status_detail *detail)
{
    program g = {0};
    program_build b = {.p = p, .g = &g, .vocab = v};
    status code = expr_pool_check(p, detail);
    if (code == STATUS_OK) {
        if (expr_nullable_mark(p)) write_rules(&b, root);
        if (!program_build_broken(&b)) program_need(&b);
        code = expr_pool_check(p, detail);
    }
    if (code == STATUS_OK && g.nodes[g.start].need == PROGRAM_NEED_NEVER)
        code = status_fail(detail, STATUS_INVALID,
                           "no text can satisfy this, or only one that is nested more than %d levels deep",
                           PROGRAM_MAX_DEPTH);
    if (code == STATUS_OK) {
        find_classes(&g);
        *out = g;
    } else {
        program_free(&g);
    }
    expr_nullable_free(&b.stripped);
    expr_list_free(&b.queue);
    free(b.entries);
    free(b.ends);
    return code;
}
