#include "runtime/grammar/expr_strings.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_OF_RULES = 32, NO_RULES = 1 << 30 };

static int compare_items(const void *a, const void *b)
{
    const expr_strings_item *x = a, *y = b;
    size_t n = x->size < y->size ? x->size : y->size;
    int order = n ? memcmp(x->bytes, y->bytes, n) : 0;
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* The strings of `items`, which are ordered and share their first `from` bytes, behind those. */
static expr branch(expr_pool *p, const expr_strings_item *items, size_t n, size_t from, int depth, int depth_of_rules)
{
    const expr_strings_item *first = &items[0], *last = &items[n - 1];
    size_t to = from; /* ordered: what the first and last share, all share */
    while (to < first->size && to < last->size && first->bytes[to] == last->bytes[to]) to++;
    expr_list ways = {0};
    size_t i = 0;
    for (; i < n && items[i].size == to; i++) expr_list_add(p, &ways, items[i].then);
    while (i < n) {
        size_t start = i++;
        while (i < n && items[i].bytes[to] == items[start].bytes[to]) i++;
        expr_list_add(p, &ways, branch(p, items + start, i - start, to, depth + 1, depth_of_rules));
        if (p->too_large || p->no_memory) break;
    }
    expr all = expr_cat2(p, expr_bytes(p, first->bytes + from, to - from), expr_alt(p, ways.items, ways.n));
    expr_list_free(&ways);
    return depth > 0 && depth % depth_of_rules == 0 ? expr_as_rule(p, all) : all;
}

static expr all_strings(expr_pool *p, expr_strings_item *items, size_t n, int depth_of_rules)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += items[i].size;
    if (n == 0) return EXPR_FAIL;
    if (total > EXPR_MAX_BYTES)
        return expr_pool_too_large(p); /* and bounds the recursion: n nested strings have n^2 / 2 bytes */
    qsort(items, n, sizeof *items, compare_items);
    return branch(p, items, n, 0, 0, depth_of_rules);
}

expr expr_strings(expr_pool *p, expr_strings_item *items, size_t n) { return all_strings(p, items, n, DEPTH_OF_RULES); }
expr expr_strings_flat(expr_pool *p, expr_strings_item *items, size_t n) { return all_strings(p, items, n, NO_RULES); }
