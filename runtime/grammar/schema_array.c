#include "runtime/grammar/schema.h"

enum { ITEMS_PER_RULE = 16 };

static expr item_expr(schema *s, const json_t *item, const char *keyword, size_t index, bool numbered)
{
    size_t before = schema_path_enter(s, keyword);
    size_t inside = numbered ? schema_path_enter_index(s, index) : 0;
    expr e = schema_shared(s, item);
    if (numbered) schema_path_leave(s, inside);
    schema_path_leave(s, before);
    return e;
}

/* ", item" from number `from` on: what may follow `from` items, of which there are prefix[0..n) and then any number of
 * `rest`. */
static expr behind(schema *s, const expr *prefix, size_t n, expr rest, uint32_t least, uint32_t most)
{
    expr_pool *p = s->p;
    uint32_t more_least = least > n ? least - (uint32_t)n : 0;
    uint32_t more_most = most == EXPR_NO_LIMIT ? most : most > n ? most - (uint32_t)n : 0;
    expr all = expr_repeat(p, expr_cat3(p, expr_text(p, ","), s->text.space, rest), more_least, more_most);
    for (size_t i = n; i > 1; i--) {
        if (i <= most) all = expr_cat(p, (expr[]){expr_text(p, ","), s->text.space, prefix[i - 1], all}, 4);
        if (i > most) all = EXPR_EMPTY;
        if (i <= most && i > least) all = expr_optional(p, all);
        if (i % ITEMS_PER_RULE == 0) all = expr_as_rule(p, all);
    }
    return all;
}

static expr brackets(schema *s, expr items)
{
    expr parts[] = {expr_text(s->p, "["), s->text.space, items, s->text.space, expr_text(s->p, "]")};
    return expr_cat(s->p, parts, 5);
}

/* The expressions of prefixItems. */
static void read_prefix(schema *s, const json_t *flat, expr_list *out)
{
    const json_t *prefix = json_object_get(flat, "prefixItems");
    size_t index;
    json_t *item;
    if (prefix && !json_is_array(prefix)) schema_path_fail(s, STATUS_INVALID, "'prefixItems' is not a list of schemas");
    json_array_foreach(prefix, index, item)
    {
        if (schema_failed(s)) return;
        expr_list_add(s->p, out, item_expr(s, item, "prefixItems", index, true));
    }
}

expr schema_array(schema *s, const json_t *flat)
{
    expr_list prefix = {0};
    const json_t *items = json_object_get(flat, "items"), *unique = json_object_get(flat, "uniqueItems");
    uint32_t least = schema_keywords_count(s, flat, "minItems", 0),
             most = schema_keywords_count(s, flat, "maxItems", EXPR_NO_LIMIT);
    if (json_is_true(unique) && most > 1)
        return schema_path_fail(s, STATUS_INVALID, "keyword 'uniqueItems' is not supported");
    read_prefix(s, flat, &prefix);
    expr rest = items ? item_expr(s, items, "items", 0, false) : expr_rule_use(s->p, s->text.value);
    expr all = EXPR_FAIL;
    if (!schema_failed(s) && least <= most) {
        expr some = EXPR_FAIL; /* at least one */
        if (most > 0) {
            expr first = prefix.n ? prefix.items[0] : rest;
            uint32_t others_least = least > 0 ? least - 1 : 0, others_most = most == EXPR_NO_LIMIT ? most : most - 1;
            expr others = prefix.n ? behind(s, prefix.items, prefix.n, rest, least, most)
                                   : expr_repeat(s->p, expr_cat3(s->p, expr_text(s->p, ","), s->text.space, rest),
                                                 others_least, others_most);
            some = brackets(s, expr_cat2(s->p, first, others));
        }
        all = least == 0 ? expr_alt2(s->p, expr_text(s->p, "[]"), some) : some;
    }
    expr_list_free(&prefix);
    return all;
}
