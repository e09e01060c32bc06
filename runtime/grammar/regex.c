#include "runtime/grammar/regex.h"

#include "runtime/grammar/dfa.h"
#include "runtime/grammar/regex_tree.h"
#include "runtime/text/utf8.h"

/* What lies beyond one end of an expression. */
typedef enum edge {
    EDGE_INSIDE, /* more of the expression */
    EDGE_CLOSED, /* the end of the text */
    EDGE_OPEN,   /* any text, then its end */
} edge;

typedef struct lowering {
    expr_pool *p;
    const regex_tree *t;
    expr any; /* any text */
    status_detail *detail;
} lowering;

static expr beyond(const lowering *l, edge e) { return e == EDGE_OPEN ? l->any : EXPR_EMPTY; }

static status lower(const lowering *l, uint32_t at, edge left, edge right, expr *out);

static status refuse_anchor(const lowering *l, const regex_tree_node *node)
{
    return status_fail(l->detail, STATUS_INVALID, "position %u: '%c' is supported only at the %s of an alternative",
                       (unsigned)node->position, node->kind == REGEX_TREE_BEGIN ? '^' : '$',
                       node->kind == REGEX_TREE_BEGIN ? "beginning" : "end");
}

/* A sequence: anchors at its ends close its edges, its first and last parts lie at them. */
static status lower_cat(const lowering *l, uint32_t child, edge left, edge right, expr *out)
{
    const regex_tree_node *nodes = l->t->nodes;
    uint32_t end = 0; /* the first of the '$' that end it */
    for (uint32_t at = child; at; at = nodes[at].next) {
        if (nodes[at].kind != REGEX_TREE_END) {
            end = 0;
        } else if (end == 0) {
            end = at;
        }
    }
    for (; child && child != end && nodes[child].kind == REGEX_TREE_BEGIN; child = nodes[child].next) {
        if (left == EDGE_INSIDE) return refuse_anchor(l, &nodes[child]);
        left = EDGE_CLOSED;
    }
    if (end && right == EDGE_INSIDE) return refuse_anchor(l, &nodes[end]);
    if (end) right = EDGE_CLOSED;
    if (child == end) {
        *out =
            expr_cat2(l->p, beyond(l, left), left == EDGE_OPEN && right == EDGE_OPEN ? EXPR_EMPTY : beyond(l, right));
        return STATUS_OK;
    }
    expr_list parts = {0};
    status code = STATUS_OK;
    for (uint32_t at = child; at != end && code == STATUS_OK; at = nodes[at].next) {
        expr part = EXPR_FAIL;
        code = lower(l, at, at == child ? left : EDGE_INSIDE, nodes[at].next == end ? right : EDGE_INSIDE, &part);
        expr_list_add(l->p, &parts, part);
    }
    if (code == STATUS_OK) *out = expr_cat(l->p, parts.items, parts.n);
    expr_list_free(&parts);
    return code;
}

static status lower(const lowering *l, uint32_t at, edge left, edge right, expr *out)
{
    const regex_tree_node *node = &l->t->nodes[at];
    switch (node->kind) {
    case REGEX_TREE_LEAF: *out = expr_cat3(l->p, beyond(l, left), node->leaf, beyond(l, right)); return STATUS_OK;
    case REGEX_TREE_BEGIN:
        if (left == EDGE_INSIDE) return refuse_anchor(l, node);
        *out = beyond(l, right);
        return STATUS_OK;
    case REGEX_TREE_END:
        if (right == EDGE_INSIDE) return refuse_anchor(l, node);
        *out = beyond(l, left);
        return STATUS_OK;
    case REGEX_TREE_CAT: return lower_cat(l, node->child, left, right, out);
    case REGEX_TREE_ALT: {
        expr_list ways = {0};
        status code = STATUS_OK;
        for (uint32_t way = node->child; way && code == STATUS_OK; way = l->t->nodes[way].next) {
            expr e = EXPR_FAIL;
            code = lower(l, way, left, right, &e);
            expr_list_add(l->p, &ways, e);
        }
        if (code == STATUS_OK) *out = expr_alt(l->p, ways.items, ways.n);
        expr_list_free(&ways);
        return code;
    }
    case REGEX_TREE_REPEAT: {
        expr body;
        STATUS_TRY(lower(l, node->child, EDGE_INSIDE, EDGE_INSIDE, &body));
        *out = expr_cat3(l->p, beyond(l, left), expr_repeat(l->p, body, node->least, node->most), beyond(l, right));
        return STATUS_OK;
    }
    }
    return STATUS_INTERNAL;
}

status regex_parse(expr_pool *p, const char *text, size_t size, regex_match match, expr_encoding encoding, regex *out,
                   status_detail *detail)
{
    static const charset_range all[] = {{0, CHARSET_LAST}};
    if (!utf8_valid(text, size)) return status_fail(detail, STATUS_INVALID, "not valid UTF-8");
    if (size >= UINT32_MAX) return status_fail(detail, STATUS_INVALID, "too long");
    regex_tree t = {0};
    regex made = {0};
    status code = regex_tree_read(p, text, size, match, encoding, &t, detail);
    lowering l = {p, &t, EXPR_FAIL, detail};
    if (code == STATUS_OK) {
        edge outside = match == REGEX_SEARCH ? EDGE_OPEN : EDGE_CLOSED;
        l.any = expr_repeat(p, expr_ranges(p, all, 1, encoding), 0, EXPR_NO_LIMIT);
        code = lower(&l, t.root, outside, outside, &made.whole);
    }
    for (int i = 0; i < t.n_conditions && code == STATUS_OK; i++) {
        made.conditions[i].negated = t.conditions[i].negated;
        code = lower(&l, t.conditions[i].root, EDGE_CLOSED, EDGE_OPEN, &made.conditions[i].whole);
        made.n_conditions = i + 1;
    }
    if (code == STATUS_OK) code = expr_pool_check(p, detail);
    if (code == STATUS_OK) *out = made;
    regex_tree_free(&t);
    return code;
}

status regex_expr(expr_pool *p, const char *text, size_t size, regex_match match, expr_encoding encoding, expr *out,
                  status_detail *detail)
{
    regex r;
    STATUS_TRY(regex_parse(p, text, size, match, encoding, &r, detail));
    dfa *d = NULL;
    if (r.n_conditions) {
        dfa_alphabet a = {0};
        regex_alphabet(p, &a, &r);
        dfa_alphabet_seal(p, &a);
        if ((d = regex_dfa(p, &a, &r))) d->classify = true;
        dfa_alphabet_free(&a);
    } else {
        d = regex_dfa_if_small(p, &r);
    }
    expr made = d || r.n_conditions ? expr_dfa(p, d, encoding) : r.whole;
    status code = expr_pool_check(p, detail);
    if (code == STATUS_OK) *out = made;
    return code;
}

void regex_alphabet(expr_pool *p, dfa_alphabet *a, const regex *r)
{
    dfa_alphabet_add(p, a, r->whole);
    for (int i = 0; i < r->n_conditions; i++) dfa_alphabet_add(p, a, r->conditions[i].whole);
}

/* One set of characters, repeated: its lengths are a limit, and no states. */
static bool is_repeated_set(const expr_pool *p, expr e)
{
    const expr_node *node = &p->nodes[e];
    return node->kind == EXPR_KIND_REPEAT && p->nodes[node->a].kind == EXPR_KIND_CHARS;
}

static dfa *repeated_set(expr_pool *p, const dfa_alphabet *a, expr e)
{
    expr_node node = p->nodes[e];
    bool any = node.n == 0 && node.max == EXPR_NO_LIMIT;
    size_t states = 1 + (size_t)(node.max == EXPR_NO_LIMIT ? node.n : node.max);
    if (states >= DFA_MAX_STATES || states * (a->n_classes + 1) > DFA_SMALL_CELLS) return NULL;
    dfa *d = dfa_subset(p, a, expr_repeat(p, node.a, 0, EXPR_NO_LIMIT));
    return any ? d : dfa_limit(p, a, d, node.n, node.max);
}

dfa *regex_dfa_if_small(expr_pool *p, const regex *r)
{
    /* An automaton takes a millisecond, so a schema of hundreds of patterns gets them for some; the rest of the budget
     * is for those who cannot do without. */
    enum { MOST = 64, MOST_CELLS = EXPR_MAX_CELLS / 8, MOST_RANGES = EXPR_MAX_RANGES / 8 };
    if (r->n_conditions || p->n_dfas >= MOST || p->n_cells > MOST_CELLS || p->n_ranges > MOST_RANGES) return NULL;
    dfa_alphabet a = {0};
    regex_alphabet(p, &a, r);
    dfa_alphabet_seal(p, &a);
    dfa *d = is_repeated_set(p, r->whole) ? repeated_set(p, &a, r->whole) : dfa_subset_if_small(p, &a, r->whole);
    dfa_alphabet_free(&a);
    if (d) d->classify = true;
    return d;
}

dfa *regex_dfa(expr_pool *p, const dfa_alphabet *a, const regex *r)
{
    dfa *d = dfa_subset(p, a, r->whole);
    for (int i = 0; i < r->n_conditions; i++) {
        dfa *condition = dfa_subset(p, a, r->conditions[i].whole);
        d = dfa_product(p, d, r->conditions[i].negated ? dfa_complement(p, condition) : condition);
    }
    return d;
}
