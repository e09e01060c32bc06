/* Two flat schemas as one that says what both say. */
#include <string.h>

#include "runtime/grammar/schema.h"

static void set(schema *s, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0) schema_path_no_memory(s);
}

static void refuse(schema *s, const char *keyword)
{
    schema_path_fail(s, STATUS_INVALID,
                     "'%s' in schemas that have to be merged (allOf, or beside $ref, anyOf, oneOf) is not supported",
                     keyword);
}

json_t *schema_merge_both(schema *s, json_t *a, json_t *b)
{
    if (!a || json_is_true(a)) return b ? json_incref(b) : json_true();
    if (!b || json_is_true(b)) return json_incref(a);
    if (json_is_false(a) || json_is_false(b)) return json_false();
    if (a == b) return json_incref(a);
    /* What was merged before gets one part more: many schemas make a long list, not a deep one. */
    json_t *parts = json_object_size(a) == 1 ? json_object_get(a, "allOf") : NULL;
    schema_path_work(s, 8 * json_array_size(parts));
    parts = json_is_array(parts) ? json_copy(parts) : json_pack("[O]", a);
    json_t *both = parts && json_array_append(parts, b) == 0 ? json_pack("{s:O}", "allOf", parts) : NULL;
    json_decref(parts);
    if (!both) schema_path_no_memory(s);
    return both;
}

/* ---- values, lists of texts, bounds ------------------------------------------------------------------------------ */

static bool same_value(const json_t *a, const json_t *b)
{
    decimal x, y;
    if (json_is_number(a) && json_is_number(b))
        return decimal_read(a, &x) && decimal_read(b, &y) && decimal_compare(&x, &y) == 0;
    return json_equal(a, b);
}

/* Both have it: the values of both, or the texts of either. */
static void merge_lists(schema *s, json_t *a, json_t *b, const char *key, bool common, json_t *out)
{
    json_t *list = common ? json_array() : json_copy(a), *x, *y;
    size_t i, j;
    if (!schema_path_work(s, json_array_size(a) * json_array_size(b))) {
        json_decref(list);
        return;
    }
    json_array_foreach(b, i, y)
    {
        bool found = false;
        json_array_foreach(a, j, x) found |= same_value(x, y);
        if (found == common && json_array_append(list, y) != 0) schema_path_no_memory(s);
    }
    set(s, out, key, list);
}

static json_t *tighter(json_t *a, json_t *b, bool larger)
{
    decimal x, y;
    if (!json_is_number(a) || !json_is_number(b) || !decimal_read(a, &x) || !decimal_read(b, &y))
        return json_is_number(a) ? b : a; /* whoever reads it refuses it */
    return (decimal_compare(&x, &y) > 0) == larger ? a : b;
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

/* What `of` says about a property that it does not list. */
static json_t *rest_of(const json_t *of) { return json_object_get(of, "additionalProperties"); }

static void merge_object_keywords(schema *s, const json_t *a, const json_t *b, json_t *out)
{
    json_t *in_a = json_object_get(a, "properties"), *in_b = json_object_get(b, "properties"), *value;
    bool has_rest = rest_of(a) || rest_of(b), both_say = (in_a || rest_of(a)) && (in_b || rest_of(b));
    const char *key;
    if (!in_a && !in_b && !has_rest) return;
    if (both_say && (json_object_get(a, "patternProperties") || json_object_get(b, "patternProperties"))) {
        refuse(s, "patternProperties");
        return;
    }
    schema_path_work(s, 16 * (json_object_size(in_a) + json_object_size(in_b)));
    json_t *properties = json_object();
    json_object_foreach(in_a, key, value)
    {
        json_t *other = json_object_get(in_b, key);
        set(s, properties, key, schema_merge_both(s, value, other ? other : rest_of(b)));
    }
    json_object_foreach(in_b, key, value) if (!json_object_get(in_a, key))
        set(s, properties, key, schema_merge_both(s, rest_of(a), value));
    if (in_a || in_b) {
        set(s, out, "properties", properties);
    } else {
        json_decref(properties);
    }
    if (has_rest) set(s, out, "additionalProperties", schema_merge_both(s, rest_of(a), rest_of(b)));
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

static json_t *item_of(const json_t *of, size_t index)
{
    json_t *prefix = json_object_get(of, "prefixItems");
    return index < json_array_size(prefix) ? json_array_get(prefix, index) : json_object_get(of, "items");
}

static void merge_array_keywords(schema *s, const json_t *a, const json_t *b, json_t *out)
{
    size_t in_a = json_array_size(json_object_get(a, "prefixItems")),
           in_b = json_array_size(json_object_get(b, "prefixItems"));
    size_t n = in_a > in_b ? in_a : in_b;
    json_t *prefix = n ? json_array() : NULL;
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(prefix, schema_merge_both(s, item_of(a, i), item_of(b, i))) != 0)
            schema_path_no_memory(s);
    if (prefix) set(s, out, "prefixItems", prefix);
    json_t *x = json_object_get(a, "items"), *y = json_object_get(b, "items");
    if (x || y) set(s, out, "items", schema_merge_both(s, x, y));
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

typedef enum rule {
    RULE_TYPE,
    RULE_COMMON,
    RULE_ALL,
    RULE_LARGER,
    RULE_SMALLER,
    RULE_EITHER,
    RULE_SCHEMA,
    RULE_SAME,
    RULE_APART
} rule;

static const struct {
    const char *key;
    rule rule;
} rules[] = {
    {"type", RULE_TYPE},
    {"enum", RULE_COMMON},
    {"pattern", RULE_ALL},
    {"format", RULE_ALL},
    {"required", RULE_ALL},
    {"minimum", RULE_LARGER},
    {"exclusiveMinimum", RULE_LARGER},
    {"minLength", RULE_LARGER},
    {"minItems", RULE_LARGER},
    {"minProperties", RULE_LARGER},
    {"maximum", RULE_SMALLER},
    {"exclusiveMaximum", RULE_SMALLER},
    {"maxLength", RULE_SMALLER},
    {"maxItems", RULE_SMALLER},
    {"maxProperties", RULE_SMALLER},
    {"uniqueItems", RULE_EITHER},
    {"propertyNames", RULE_SCHEMA},
    {"multipleOf", RULE_SAME},
    {"patternProperties", RULE_SAME},
    {"properties", RULE_APART}, /* these four by the functions above */
    {"additionalProperties", RULE_APART},
    {"items", RULE_APART},
    {"prefixItems", RULE_APART},
};

static void merge_key(schema *s, const char *key, rule how, json_t *x, json_t *y, json_t *out)
{
    if (how == RULE_APART || (!x && !y)) return;
    if (!x || !y) {
        set(s, out, key, json_incref(x ? x : y));
        return;
    }
    switch (how) {
    case RULE_TYPE: set(s, out, key, json_integer(json_integer_value(x) & json_integer_value(y))); break;
    case RULE_COMMON:
    case RULE_ALL:
        if (json_is_array(x) && json_is_array(y)) {
            merge_lists(s, how == RULE_COMMON ? y : x, how == RULE_COMMON ? x : y, key, how == RULE_COMMON, out);
        } else {
            schema_path_fail(s, STATUS_INVALID, "'%s' is not a list", key);
        }
        break;
    case RULE_LARGER:
    case RULE_SMALLER: set(s, out, key, json_incref(tighter(x, y, how == RULE_LARGER))); break;
    case RULE_EITHER: set(s, out, key, json_incref(json_is_false(x) ? y : x)); break;
    case RULE_SCHEMA: set(s, out, key, schema_merge_both(s, x, y)); break;
    case RULE_SAME:
        if (!json_equal(x, y)) refuse(s, key);
        set(s, out, key, json_incref(x));
        break;
    case RULE_APART: break;
    }
}

json_t *schema_merge(schema *s, const json_t *a, const json_t *b)
{
    json_t *out = json_object();
    if (!out) {
        schema_path_no_memory(s);
        return NULL;
    }
    schema_path_work(s, 64);
    for (size_t i = 0; i < sizeof rules / sizeof *rules && !schema_failed(s); i++)
        merge_key(s, rules[i].key, rules[i].rule, json_object_get(a, rules[i].key), json_object_get(b, rules[i].key),
                  out);
    if (!schema_failed(s)) merge_object_keywords(s, a, b, out);
    if (!schema_failed(s)) merge_array_keywords(s, a, b, out);
    const json_t *values = json_object_get(out, "enum");
    bool none = json_integer_value(json_object_get(out, "type")) == 0 || (values && json_array_size(values) == 0);
    if (!schema_failed(s) && !none) return out;
    json_decref(out);
    return schema_failed(s) ? NULL : json_null();
}
