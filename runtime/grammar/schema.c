/* A schema becomes one expression. What is referred to, and what has to be merged first, becomes a rule that is
 * compiled later: so schemas may refer to themselves, nothing is compiled twice, and the C stack only grows with the
 * nesting of the JSON text. */
#include "runtime/grammar/schema.h"

#include <stdlib.h>
#include <string.h>

typedef struct schema_later {
    uint32_t rule;
    json_t *schema; /* a reference */
    char *path;
    bool merge; /* has composed keywords beside others */
} schema_later;

/* ---- rules for later --------------------------------------------------------------------------------------------- */

/* The rule of `key`, which is made and queued if it is new. `path` NULL: where we are. */
static expr rule_later(schema *s, const char *key, const json_t *of, const char *path, bool merge)
{
    json_t *known = json_object_get(s->rules, key);
    if (known) return expr_rule_use(s->p, (uint32_t)json_integer_value(known));
    uint32_t rule = expr_rule_new(s->p);
    char *copy = strdup(path ? path : s->path.size ? s->path.data : "");
    if (!copy || json_object_set_new(s->rules, key, json_integer(rule)) != 0 ||
        !expr_grow(&s->later, s->n_later, &s->later_capacity, sizeof *s->later)) {
        free(copy);
        return schema_path_no_memory(s);
    }
    s->later[s->n_later++] = (schema_later){rule, json_incref((json_t *)of), copy, merge};
    return expr_rule_use(s->p, rule);
}

static expr reference(schema *s, const json_t *ref)
{
    const json_t *target = schema_ref_find(s, ref);
    if (!target) return EXPR_FAIL;
    const char *text = json_string_value(ref);
    return rule_later(s, text, target, text + 1, false);
}

static expr merged(schema *s, const json_t *of)
{
    char *key = json_dumps(of, JSON_COMPACT | JSON_ENCODE_ANY); /* begins with '{', a reference with '#' */
    if (!key) return schema_path_no_memory(s);
    expr e = schema_path_work(s, strlen(key)) ? rule_later(s, key, of, NULL, true) : EXPR_FAIL;
    free(key);
    return e;
}

/* ---- one flat schema --------------------------------------------------------------------------------------------- */

/* Without `type`, keywords of a type mean that type. */
static unsigned types_of(const json_t *flat)
{
    unsigned types = (unsigned)json_integer_value(json_object_get(flat, "type")), spoken_of = 0;
    const char *key;
    json_t *value;
    if (types != SCHEMA_ALL || json_object_get(flat, "enum")) return types;
    json_object_foreach((json_t *)flat, key, value)
    {
        unsigned speaks_of = 0;
        schema_keywords_find(key, &speaks_of);
        spoken_of |= speaks_of == SCHEMA_NUMBER ? SCHEMA_NUMBER | SCHEMA_INTEGER : speaks_of;
    }
    return spoken_of ? spoken_of : types;
}

static expr compile_flat(schema *s, const json_t *flat)
{
    expr ways[8];
    size_t n = 0;
    unsigned types = types_of(flat);
    if (json_object_get(flat, "enum")) return schema_enum(s, flat, types);
    if (types == SCHEMA_ALL && json_object_size(flat) == 1) return expr_rule_use(s->p, s->text.value);
    if (types & SCHEMA_OBJECT) ways[n++] = schema_object(s, flat);
    if (types & SCHEMA_ARRAY) ways[n++] = schema_array(s, flat);
    if (types & SCHEMA_STRING) ways[n++] = schema_string(s, flat);
    if (types & SCHEMA_INTEGER) ways[n++] = schema_number(s, flat, !(types & SCHEMA_NUMBER));
    if (types & SCHEMA_BOOLEAN) ways[n++] = expr_alt2(s->p, expr_text(s->p, "true"), expr_text(s->p, "false"));
    if (types & SCHEMA_NULL) ways[n++] = expr_text(s->p, "null");
    return expr_alt(s->p, ways, n);
}

static expr compile_flats(schema *s, const json_t *flats)
{
    expr_list ways = {0};
    size_t index;
    json_t *flat;
    json_array_foreach(flats, index, flat)
    {
        if (schema_failed(s)) break;
        expr_list_add(s->p, &ways, compile_flat(s, flat));
    }
    expr all = expr_alt(s->p, ways.items, ways.n);
    expr_list_free(&ways);
    return all;
}

/* ---- composed keywords ------------------------------------------------------------------------------------------- */

static expr any_of(schema *s, const json_t *of, const char *keyword)
{
    expr_list ways = {0};
    size_t index;
    json_t *branch;
    const json_t *branches =
        strcmp(keyword, "oneOf") == 0 ? schema_disjoint_branches(s, of) : json_object_get(of, keyword);
    if (json_array_size(branches) == 0)
        return schema_path_fail(s, STATUS_INVALID, "'%s' is not a list of schemas", keyword);
    size_t before = schema_path_enter(s, keyword);
    json_array_foreach(branches, index, branch)
    {
        size_t inside = schema_path_enter_index(s, index);
        expr_list_add(s->p, &ways, schema_compile(s, branch));
        schema_path_leave(s, inside);
    }
    schema_path_leave(s, before);
    expr all = expr_alt(s->p, ways.items, ways.n);
    expr_list_free(&ways);
    return all;
}

/* A schema whose only keyword that counts is a composed one. */
static expr compile_single(schema *s, const json_t *of, const char *keyword)
{
    const json_t *value = json_object_get(of, keyword);
    if (strcmp(keyword, "$ref") == 0) return reference(s, value);
    if (strcmp(keyword, "allOf") != 0) return any_of(s, of, keyword);
    if (json_array_size(value) != 1) return merged(s, of);
    size_t before = schema_path_enter(s, "allOf/0");
    expr e = schema_compile(s, json_array_get(value, 0));
    schema_path_leave(s, before);
    return e;
}

static expr compile_nullable(schema *s, const json_t *of)
{
    json_t *rest = schema_path_keep(s, json_copy((json_t *)of));
    if (!rest) return EXPR_FAIL;
    bool nullable = json_is_true(json_object_get(of, "nullable"));
    json_object_del(rest, "nullable");
    expr e = schema_compile(s, rest);
    return nullable ? expr_alt2(s->p, e, expr_text(s->p, "null")) : e;
}

static expr compile_object(schema *s, const json_t *of)
{
    const char *key, *composed = NULL;
    json_t *value;
    size_t n = 0;
    if (!schema_keywords_check(s, of)) return EXPR_FAIL;
    if (json_object_get(of, "nullable")) return compile_nullable(s, of);
    json_object_foreach((json_t *)of, key, value)
    {
        schema_keyword kind = schema_keywords_find(key, NULL);
        n += kind != SCHEMA_KEYWORD_ANNOTATION;
        if (kind == SCHEMA_KEYWORD_COMPOSED) composed = key;
    }
    if (n == 0) return expr_rule_use(s->p, s->text.value);
    if (composed) return n == 1 ? compile_single(s, of, composed) : merged(s, of);
    const json_t *flat = schema_flat_plain(s, of);
    return flat ? compile_flat(s, flat) : EXPR_FAIL;
}

/* ---- any schema -------------------------------------------------------------------------------------------------- */

expr schema_compile(schema *s, const json_t *any)
{
    if (schema_failed(s) || json_is_false(any)) return EXPR_FAIL;
    if (json_is_true(any)) return expr_rule_use(s->p, s->text.value);
    if (!json_is_object(any)) return schema_path_fail(s, STATUS_INVALID, "a schema is an object, true or false");
    return compile_object(s, any);
}

expr schema_shared(schema *s, const json_t *any)
{
    expr e = schema_compile(s, any);
    uint8_t kind = s->p->n_nodes ? s->p->nodes[e].kind : EXPR_KIND_FAIL;
    bool small = kind == EXPR_KIND_RULE || kind == EXPR_KIND_BYTES || kind == EXPR_KIND_FAIL || kind == EXPR_KIND_EMPTY;
    return small ? e : expr_as_rule(s->p, e);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void compile_later(schema *s, size_t i)
{
    schema_later later = s->later[i];
    s->depth = 0;
    buffer_clear(&s->path);
    if (!buffer_append_text(&s->path, later.path)) schema_path_no_memory(s);
    expr body;
    if (later.merge) {
        const json_t *flats = schema_flat(s, later.schema);
        body = flats ? compile_flats(s, flats) : EXPR_FAIL;
    } else {
        body = schema_compile(s, later.schema);
    }
    expr_rule_define(s->p, later.rule, body);
}

static bool open_schema(schema *s, const json_t *root, bool compact)
{
    s->root = root;
    s->rules = json_object();
    s->made = json_array();
    json_text_init(&s->text, s->p, compact);
    return s->rules && s->made;
}

static void close_schema(schema *s)
{
    json_decref(s->rules);
    json_decref(s->made);
    buffer_free(&s->path);
    for (size_t i = 0; i < s->n_later; i++) {
        json_decref(s->later[i].schema);
        free(s->later[i].path);
    }
    free(s->later);
}

status schema_rule(expr_pool *p, const json_t *root, bool compact, uint32_t *out, status_detail *detail)
{
    schema s = {.p = p, .detail = detail};
    if (!open_schema(&s, root, compact)) schema_path_no_memory(&s);
    expr whole = schema_failed(&s) ? EXPR_FAIL : rule_later(&s, "#", root, "", false);
    for (size_t i = 0; i < s.n_later && !schema_failed(&s) && expr_pool_check(p, NULL) == STATUS_OK; i++)
        compile_later(&s, i);
    if (!schema_failed(&s)) s.code = expr_pool_check(p, detail);
    if (!schema_failed(&s)) *out = p->nodes[whole].a;
    close_schema(&s);
    return s.code;
}
