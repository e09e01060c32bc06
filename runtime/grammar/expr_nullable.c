#include "runtime/grammar/expr_nullable.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/dfa.h"

enum { MAX_ROUNDS_WORK = 1 << 26 };

bool expr_nullable(const expr_pool *p, expr e)
{
    const expr_node *node = &p->nodes[e];
    switch ((expr_kind)node->kind) {
    case EXPR_KIND_EMPTY: return true;
    case EXPR_KIND_CAT:
        for (uint32_t i = 0; i < node->n; i++)
            if (!expr_nullable(p, p->kids[node->a + i])) return false;
        return true;
    case EXPR_KIND_ALT:
        for (uint32_t i = 0; i < node->n; i++)
            if (expr_nullable(p, p->kids[node->a + i])) return true;
        return false;
    case EXPR_KIND_REPEAT: return node->n == 0 || expr_nullable(p, node->a);
    case EXPR_KIND_RULE: return node->a < p->n_rules && p->rules[node->a].nullable;
    case EXPR_KIND_DFA: return p->dfas[node->a]->accepts[0];
    default: return false;
    }
}

bool expr_nullable_mark(expr_pool *p)
{
    size_t work = 0;
    for (bool changed = true; changed;) {
        changed = false;
        /* Front ends define rules after those that use them as often as before: both directions, so that chains settle
         * in one round. */
        for (size_t i = 0; i < 2 * p->n_rules; i++) {
            expr_rule *rule = &p->rules[i < p->n_rules ? i : 2 * p->n_rules - 1 - i];
            if (rule->nullable || !expr_nullable(p, rule->body)) continue;
            rule->nullable = changed = true;
        }
        work += p->n_nodes + p->n_rules;
        if (work > MAX_ROUNDS_WORK) expr_pool_too_large(p);
        if (p->no_memory || p->too_large) return false;
    }
    return true;
}

/* ---- without the empty text -------------------------------------------------------------------------------------- */

static expr strip_rule(expr_pool *p, expr_nullable_memo *memo, uint32_t rule)
{
    if (rule >= memo->n) {
        size_t n = p->n_rules + 1;
        uint32_t *rules = realloc(memo->rules, n * sizeof *rules);
        if (!rules) return expr_pool_no_memory(p);
        memset(rules + memo->n, 0, (n - memo->n) * sizeof *rules);
        memo->rules = rules;
        memo->n = n;
    }
    if (memo->rules[rule]) return expr_rule_use(p, memo->rules[rule] - 1);
    uint32_t stripped = expr_rule_new(p);
    memo->rules[rule] = stripped + 1;
    expr_rule_define(p, stripped, expr_nullable_strip(p, memo, p->rules[rule].body));
    return expr_rule_use(p, stripped);
}

static expr strip_cat(expr_pool *p, expr_nullable_memo *memo, expr_node node)
{
    expr_list ways = {0}, tail = {0};
    for (uint32_t i = 0; i < node.n; i++) {
        tail.n = 0;
        expr_list_add(p, &tail, expr_nullable_strip(p, memo, p->kids[node.a + i]));
        for (uint32_t j = i + 1; j < node.n; j++) expr_list_add(p, &tail, p->kids[node.a + j]);
        expr_list_add(p, &ways, expr_cat(p, tail.items, tail.n));
    }
    expr all = expr_alt(p, ways.items, ways.n);
    expr_list_free(&ways);
    expr_list_free(&tail);
    return all;
}

static expr strip_dfa(expr_pool *p, expr_node node)
{
    /* The start may be entered again, where it accepts: a copy of it that does not becomes the start. */
    const dfa *d = p->dfas[node.a];
    dfa *out = dfa_new(p, d->classes, d->n_classes, (size_t)d->n_states + 1);
    if (!out) return EXPR_FAIL;
    for (size_t s = 0; s <= d->n_states; s++) {
        const uint32_t *from = d->next + (s ? s - 1 : 0) * d->n_classes;
        for (uint32_t c = 0; c < d->n_classes; c++)
            out->next[s * d->n_classes + c] = from[c] == DFA_DEAD ? DFA_DEAD : from[c] + 1;
        out->accepts[s] = s > 0 && d->accepts[s - 1];
    }
    return expr_dfa(p, dfa_trim(p, out), (expr_encoding)node.encoding);
}

expr expr_nullable_strip(expr_pool *p, expr_nullable_memo *memo, expr e)
{
    expr_node node = p->nodes[e];
    if (!expr_nullable(p, e)) return e;
    switch ((expr_kind)node.kind) {
    case EXPR_KIND_CAT: return strip_cat(p, memo, node);
    case EXPR_KIND_ALT: {
        expr_list ways = {0};
        for (uint32_t i = 0; i < node.n; i++)
            expr_list_add(p, &ways, expr_nullable_strip(p, memo, p->kids[node.a + i]));
        expr all = expr_alt(p, ways.items, ways.n);
        expr_list_free(&ways);
        return all;
    }
    case EXPR_KIND_REPEAT: return expr_repeat(p, expr_nullable_strip(p, memo, node.a), 1, node.max);
    case EXPR_KIND_RULE: return strip_rule(p, memo, node.a);
    case EXPR_KIND_DFA: return strip_dfa(p, node);
    default: return EXPR_FAIL; /* the empty text alone */
    }
}

void expr_nullable_free(expr_nullable_memo *memo)
{
    free(memo->rules);
    *memo = (expr_nullable_memo){0};
}

/* ---- left recursion ---------------------------------------------------------------------------------------------- */

/* Adds the rules that a text of `e` may begin with. */
static void add_first_rules(expr_pool *p, expr e, expr_list *out)
{
    expr_node node = p->nodes[e];
    switch ((expr_kind)node.kind) {
    case EXPR_KIND_CAT:
        for (uint32_t i = 0; i < node.n; i++) {
            add_first_rules(p, p->kids[node.a + i], out);
            if (!expr_nullable(p, p->kids[node.a + i])) return;
        }
        return;
    case EXPR_KIND_ALT:
        for (uint32_t i = 0; i < node.n; i++) add_first_rules(p, p->kids[node.a + i], out);
        return;
    case EXPR_KIND_REPEAT: add_first_rules(p, node.a, out); return;
    case EXPR_KIND_RULE: expr_list_add(p, out, node.a); return;
    default: return;
    }
}

/* Depth first over "may begin with": a rule that is met while it is open begins with itself. */
static uint32_t find_cycle(expr_pool *p, uint8_t *state, expr_list *firsts, expr_list *path, uint32_t from)
{
    enum { NEW, OPEN, CLOSED };
    if (state[from] != NEW) return UINT32_MAX;
    path->n = firsts->n = 0;
    expr_list_add(p, path, from);
    expr_list_add(p, firsts, UINT32_MAX); /* ends the rules that `from` may begin with */
    add_first_rules(p, p->rules[from].body, firsts);
    state[from] = OPEN;
    while (path->n && firsts->n && !p->no_memory && !p->too_large) {
        uint32_t rule = firsts->items[--firsts->n];
        if (rule == UINT32_MAX) {
            state[path->items[--path->n]] = CLOSED;
        } else if (state[rule] == OPEN) {
            return rule;
        } else if (state[rule] == NEW) {
            state[rule] = OPEN;
            expr_list_add(p, path, rule);
            expr_list_add(p, firsts, UINT32_MAX);
            add_first_rules(p, p->rules[rule].body, firsts);
        }
    }
    return UINT32_MAX;
}

uint32_t expr_nullable_left_recursion(expr_pool *p)
{
    expr_list firsts = {0}, path = {0};
    uint8_t *state = calloc(p->n_rules + 1, sizeof *state);
    uint32_t found = UINT32_MAX;
    if (!state) expr_pool_no_memory(p);
    for (uint32_t rule = 0; state && rule < p->n_rules && found == UINT32_MAX; rule++)
        found = find_cycle(p, state, &firsts, &path, rule);
    expr_list_free(&firsts);
    expr_list_free(&path);
    free(state);
    return found;
}
