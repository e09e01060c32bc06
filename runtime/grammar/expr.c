#include "runtime/grammar/expr.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/dfa.h"

bool expr_grow(void *array, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity) return true;
    size_t more = *capacity ? *capacity * 2 : 16;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, more * size);
    if (!grown) return false;
    memcpy(array, &grown, sizeof grown);
    *capacity = more;
    return true;
}

/* ---- the pool ---------------------------------------------------------------------------------------------------- */

expr expr_pool_no_memory(expr_pool *p)
{
    p->no_memory = true;
    return EXPR_FAIL;
}

expr expr_pool_too_large(expr_pool *p)
{
    p->too_large = true;
    return EXPR_FAIL;
}

static bool is_broken(const expr_pool *p) { return p->no_memory || p->too_large; }

static expr add_node(expr_pool *p, expr_node node)
{
    if (is_broken(p)) return EXPR_FAIL;
    if (p->n_nodes == EXPR_MAX_NODES) return expr_pool_too_large(p);
    if (!expr_grow(&p->nodes, p->n_nodes, &p->nodes_capacity, sizeof *p->nodes)) return expr_pool_no_memory(p);
    p->nodes[p->n_nodes] = node;
    return (expr)p->n_nodes++;
}

void expr_pool_init(expr_pool *p)
{
    *p = (expr_pool){0};
    add_node(p, (expr_node){.kind = EXPR_KIND_FAIL});
    add_node(p, (expr_node){.kind = EXPR_KIND_EMPTY});
}

void expr_pool_free(expr_pool *p)
{
    for (size_t i = 0; i < p->n_sets; i++) charset_free(&p->sets[i]);
    for (size_t i = 0; i < p->n_dfas; i++) dfa_free(p->dfas[i]);
    free(p->nodes);
    free(p->kids);
    free(p->sets);
    free(p->dfas);
    free(p->rules);
    buffer_free(&p->bytes);
    *p = (expr_pool){0};
}

status expr_pool_check(const expr_pool *p, status_detail *detail)
{
    if (p->no_memory) return status_fail(detail, STATUS_INTERNAL, "out of memory while compiling");
    if (p->too_large) return status_fail(detail, STATUS_INVALID, "too large or too complex to compile");
    return STATUS_OK;
}

/* ---- leaves ------------------------------------------------------------------------------------------------------ */

expr expr_bytes(expr_pool *p, const void *bytes, size_t size)
{
    if (size == 0) return EXPR_EMPTY;
    if (is_broken(p)) return EXPR_FAIL;
    if (p->bytes.size + size > EXPR_MAX_BYTES) return expr_pool_too_large(p);
    size_t start = p->bytes.size;
    if (!buffer_append(&p->bytes, bytes, size)) return expr_pool_no_memory(p);
    return add_node(p, (expr_node){.kind = EXPR_KIND_BYTES, .a = (uint32_t)start, .n = (uint32_t)size});
}

expr expr_text(expr_pool *p, const char *text) { return expr_bytes(p, text, strlen(text)); }

expr expr_chars(expr_pool *p, charset *set, expr_encoding encoding)
{
    charset taken = *set;
    *set = (charset){0};
    if (taken.n == 0 || is_broken(p)) goto failed;
    if (p->n_ranges + taken.n > EXPR_MAX_RANGES) {
        expr_pool_too_large(p);
        goto failed;
    }
    if (!expr_grow(&p->sets, p->n_sets, &p->sets_capacity, sizeof *p->sets)) {
        expr_pool_no_memory(p);
        goto failed;
    }
    p->sets[p->n_sets] = taken;
    p->n_ranges += taken.n;
    return add_node(p, (expr_node){.kind = EXPR_KIND_CHARS, .encoding = encoding, .a = (uint32_t)p->n_sets++});

failed:
    charset_free(&taken);
    return EXPR_FAIL;
}

expr expr_ranges(expr_pool *p, const charset_range *ranges, size_t n, expr_encoding encoding)
{
    charset set = {0};
    if (!charset_add_all(&set, ranges, n)) {
        charset_free(&set);
        return expr_pool_no_memory(p);
    }
    charset_seal(&set);
    return expr_chars(p, &set, encoding);
}

expr expr_char(expr_pool *p, uint32_t c, expr_encoding encoding)
{
    if (c < 0x80 && encoding == EXPR_UTF8) return expr_bytes(p, &(char){(char)c}, 1);
    return expr_ranges(p, &(charset_range){c, c}, 1, encoding);
}

expr expr_class(expr_pool *p, const char *class)
{
    charset set = {0};
    bool added = true;
    for (const unsigned char *c = (const unsigned char *)class; *c && added; c++) {
        bool is_range = c[1] == '-' && c[2];
        added = charset_add(&set, c[0], is_range ? c[2] : c[0]);
        if (is_range) c += 2;
    }
    if (!added) {
        charset_free(&set);
        return expr_pool_no_memory(p);
    }
    charset_seal(&set);
    return expr_chars(p, &set, EXPR_UTF8);
}

expr expr_dfa(expr_pool *p, dfa *d, expr_encoding encoding)
{
    if (!d || is_broken(p)) goto failed;
    if (dfa_is_empty(d)) goto failed; /* no text: EXPR_FAIL is just that */
    if (p->n_cells + dfa_cells(d) > EXPR_MAX_CELLS) {
        expr_pool_too_large(p);
        goto failed;
    }
    if (!expr_grow(&p->dfas, p->n_dfas, &p->dfas_capacity, sizeof *p->dfas)) {
        expr_pool_no_memory(p);
        goto failed;
    }
    p->n_cells += dfa_cells(d);
    p->dfas[p->n_dfas] = d;
    return add_node(p, (expr_node){.kind = EXPR_KIND_DFA, .encoding = encoding, .a = (uint32_t)p->n_dfas++});

failed:
    dfa_free(d);
    return EXPR_FAIL;
}

/* ---- combinations ------------------------------------------------------------------------------------------------ */

static expr add_kids(expr_pool *p, expr_kind kind, const expr *parts, size_t n, expr left_out)
{
    size_t start = p->n_kids, kept = 0;
    expr only = left_out;
    for (size_t i = 0; i < n; i++) {
        if (parts[i] == left_out) continue;
        if (p->n_kids >= 4 * (size_t)EXPR_MAX_NODES) return expr_pool_too_large(p);
        if (!expr_grow(&p->kids, p->n_kids, &p->kids_capacity, sizeof *p->kids)) return expr_pool_no_memory(p);
        p->kids[p->n_kids++] = only = parts[i];
        kept++;
    }
    if (kept > 1) return add_node(p, (expr_node){.kind = kind, .a = (uint32_t)start, .n = (uint32_t)kept});
    p->n_kids = start;
    return only;
}

expr expr_cat(expr_pool *p, const expr *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (parts[i] == EXPR_FAIL) return EXPR_FAIL;
    return add_kids(p, EXPR_KIND_CAT, parts, n, EXPR_EMPTY);
}

expr expr_cat2(expr_pool *p, expr a, expr b) { return expr_cat(p, (expr[]){a, b}, 2); }
expr expr_cat3(expr_pool *p, expr a, expr b, expr c) { return expr_cat(p, (expr[]){a, b, c}, 3); }

expr expr_alt(expr_pool *p, const expr *parts, size_t n) { return add_kids(p, EXPR_KIND_ALT, parts, n, EXPR_FAIL); }
expr expr_alt2(expr_pool *p, expr a, expr b) { return a == b ? a : expr_alt(p, (expr[]){a, b}, 2); }

expr expr_repeat(expr_pool *p, expr body, uint32_t least, uint32_t most)
{
    if (most == 0 || body == EXPR_EMPTY) return EXPR_EMPTY;
    if (body == EXPR_FAIL) return least == 0 ? EXPR_EMPTY : EXPR_FAIL;
    if (least == 1 && most == 1) return body;
    return add_node(p, (expr_node){.kind = EXPR_KIND_REPEAT, .a = body, .n = least, .max = most});
}

expr expr_optional(expr_pool *p, expr body) { return expr_repeat(p, body, 0, 1); }

/* ---- rules ------------------------------------------------------------------------------------------------------- */

uint32_t expr_rule_new(expr_pool *p)
{
    if (is_broken(p)) return 0;
    if (p->n_rules == EXPR_MAX_NODES) {
        expr_pool_too_large(p);
        return 0;
    }
    if (!expr_grow(&p->rules, p->n_rules, &p->rules_capacity, sizeof *p->rules)) {
        expr_pool_no_memory(p);
        return 0;
    }
    p->rules[p->n_rules] = (expr_rule){0};
    return (uint32_t)p->n_rules++;
}

expr expr_rule_use(expr_pool *p, uint32_t rule) { return add_node(p, (expr_node){.kind = EXPR_KIND_RULE, .a = rule}); }

void expr_rule_define(expr_pool *p, uint32_t rule, expr body)
{
    if (rule < p->n_rules) p->rules[rule].body = body;
}

expr expr_as_rule(expr_pool *p, expr body)
{
    uint32_t rule = expr_rule_new(p);
    expr_rule_define(p, rule, body);
    return expr_rule_use(p, rule);
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

void expr_list_add(expr_pool *p, expr_list *list, expr item)
{
    if (is_broken(p)) return;
    if (!expr_grow(&list->items, list->n, &list->capacity, sizeof *list->items)) {
        expr_pool_no_memory(p);
        return;
    }
    list->items[list->n++] = item;
}

void expr_list_free(expr_list *list)
{
    free(list->items);
    *list = (expr_list){0};
}
