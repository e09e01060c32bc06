/* Proofs that no value is valid against two schemas. False is no proof of the opposite. */
#include <string.h>

#include "runtime/grammar/schema.h"

enum { MAX_DEPTH = 12, WORK = 64 };

typedef struct view {
    const json_t *schema; /* an object with plain keywords among others */
    unsigned types;
} view;

static bool disjoint(schema *s, const json_t *a, const json_t *b, int depth);

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* The only values, if they are listed. */
static bool values_of(const json_t *of, const json_t **constant, const json_t **list)
{
    *constant = json_object_get(of, "const");
    *list = json_object_get(of, "enum");
    return *constant || json_is_array(*list);
}

static bool equal(const json_t *a, const json_t *b)
{
    decimal x, y;
    if (json_is_number(a) && json_is_number(b))
        return !decimal_read(a, &x) || !decimal_read(b, &y) || decimal_compare(&x, &y) == 0;
    return json_equal(a, b);
}

static bool may_be(const json_t *value, const view *other)
{
    const json_t *constant, *list, *item;
    size_t index;
    if (!(schema_keywords_type_of(value) & other->types)) return false;
    if (!values_of(other->schema, &constant, &list)) return true;
    if (constant) return equal(value, constant);
    json_array_foreach(list, index, item) if (equal(value, item)) return true;
    return false;
}

/* `a` lists its values, and none may be one of `b`. */
static bool values_disjoint(schema *s, const view *a, const view *b)
{
    const json_t *constant, *list, *item;
    size_t index;
    if (!values_of(a->schema, &constant, &list)) return false;
    if (constant) return !may_be(constant, b);
    if (!schema_path_work(s, json_array_size(list) * (1 + json_array_size(json_object_get(b->schema, "enum")))))
        return false;
    json_array_foreach(list, index, item) if (may_be(item, b)) return false;
    return true;
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

static bool requires(const json_t *of, const char *key)
{
    size_t index;
    const json_t *name;
    json_array_foreach(json_object_get(of, "required"), index,
                       name) if (json_is_string(name) && strcmp(json_string_value(name), key) == 0) return true;
    return false;
}

/* A property that `a` requires, and that cannot be there, or not so, in `b`. */
static bool property_disjoint(schema *s, const json_t *a, const json_t *b, int depth)
{
    const json_t *in_a = json_object_get(a, "properties"), *in_b = json_object_get(b, "properties"), *name;
    bool closed = json_is_false(json_object_get(b, "additionalProperties")) && !json_object_get(b, "patternProperties");
    size_t index;
    json_array_foreach(json_object_get(a, "required"), index, name)
    {
        const char *key = json_string_value(name);
        if (!key) continue;
        const json_t *x = json_object_get(in_a, key), *y = json_object_get(in_b, key);
        if (!y && closed) return true;
        if (x && y && requires(b, key) && disjoint(s, x, y, depth + 1)) return true;
    }
    const json_t *x = json_object_get(in_a, s->discriminator), *y = json_object_get(in_b, s->discriminator);
    return s->discriminator && x && y && disjoint(s, x, y, depth + 1);
}

static bool below(schema *s, const json_t *a, const json_t *b)
{
    decimal most, least;
    bool strict_most, strict_least;
    if (!schema_number_bound(s, a, false, &most, &strict_most) ||
        !schema_number_bound(s, b, true, &least, &strict_least))
        return false;
    int order = decimal_compare(&most, &least);
    return order < 0 || (order == 0 && (strict_most || strict_least));
}

static bool shorter(const json_t *a, const json_t *b, const char *most, const char *least)
{
    const json_t *x = json_object_get(a, most), *y = json_object_get(b, least);
    return json_is_number(x) && json_is_number(y) && json_number_value(x) < json_number_value(y);
}

static bool type_disjoint(schema *s, unsigned type, const json_t *a, const json_t *b, int depth)
{
    switch (type) {
    case SCHEMA_INTEGER:
    case SCHEMA_NUMBER: return below(s, a, b) || below(s, b, a);
    case SCHEMA_STRING: return shorter(a, b, "maxLength", "minLength") || shorter(b, a, "maxLength", "minLength");
    case SCHEMA_ARRAY: return shorter(a, b, "maxItems", "minItems") || shorter(b, a, "maxItems", "minItems");
    case SCHEMA_OBJECT: return property_disjoint(s, a, b, depth) || property_disjoint(s, b, a, depth);
    default: return false;
    }
}

/* ---- schemas ----------------------------------------------------------------------------------------------------- */

/* `a` is composed: each way (anyOf, oneOf) or one part (allOf, $ref) excludes `b`. */
static bool parts_disjoint(schema *s, const json_t *a, const json_t *b, int depth)
{
    static const char *const ways[] = {"anyOf", "oneOf"};
    size_t index;
    json_t *part;
    const json_t *ref = json_object_get(a, "$ref");
    if (json_is_true(json_object_get(a, "nullable"))) return false;
    if (ref) {
        const json_t *target = schema_ref_find(s, ref);
        if (target && disjoint(s, target, b, depth + 1)) return true;
    }
    json_array_foreach(json_object_get(a, "allOf"), index, part) if (disjoint(s, part, b, depth + 1)) return true;
    for (int i = 0; i < 2; i++) {
        const json_t *list = json_object_get(a, ways[i]);
        if (json_array_size(list) == 0) continue;
        bool all = true;
        json_array_foreach(list, index, part) all = all && disjoint(s, part, b, depth + 1);
        if (all) return true;
    }
    return false;
}

static bool disjoint(schema *s, const json_t *a, const json_t *b, int depth)
{
    if (schema_failed(s) || depth > MAX_DEPTH || !schema_path_work(s, WORK)) return false;
    if (json_is_false(a) || json_is_false(b)) return true;
    if (!json_is_object(a) || !json_is_object(b)) return false;
    view x = {a, schema_keywords_types(s, json_object_get(a, "type"))};
    view y = {b, schema_keywords_types(s, json_object_get(b, "type"))};
    if (json_is_true(json_object_get(a, "nullable"))) x.types |= SCHEMA_NULL;
    if (json_is_true(json_object_get(b, "nullable"))) y.types |= SCHEMA_NULL;
    unsigned common = x.types & y.types;
    if (schema_failed(s)) return false;
    if (common == 0 || values_disjoint(s, &x, &y) || values_disjoint(s, &y, &x)) return true;
    bool each = true; /* a type is disjoint by its own keywords */
    for (unsigned type = 1; type <= SCHEMA_OBJECT && each; type *= 2)
        if (common & type) each = type_disjoint(s, type, a, b, depth);
    return each || parts_disjoint(s, a, b, depth) || parts_disjoint(s, b, a, depth);
}

bool schema_disjoint(schema *s, const json_t *a, const json_t *b) { return disjoint(s, a, b, 0); }

/* The first two branches that may both match, or false. */
static bool find_overlap(schema *s, const json_t *branches, size_t *first, size_t *second)
{
    for (*second = 0; *second < json_array_size(branches); ++*second)
        for (*first = 0; *first < *second && !schema_failed(s); ++*first)
            if (!schema_disjoint(s, json_array_get(branches, *first), json_array_get(branches, *second))) return true;
    return false;
}

/* The branches, each of which must have property `name`. */
static json_t *with_property(schema *s, const json_t *branches, const char *name)
{
    json_t *all = schema_path_keep(s, json_array()), *branch;
    size_t index;
    json_array_foreach(branches, index, branch)
    {
        json_t *both = json_pack("{s:[O,{s:s,s:[s]}]}", "allOf", branch, "type", "object", "required", name);
        if (all && (!both || json_array_append_new(all, both) != 0)) schema_path_no_memory(s);
    }
    return schema_failed(s) ? NULL : all;
}

const json_t *schema_disjoint_branches(schema *s, const json_t *of)
{
    const json_t *branches = json_object_get(of, "oneOf");
    size_t first, second;
    if (!find_overlap(s, branches, &first, &second) || schema_failed(s)) return schema_failed(s) ? NULL : branches;
    /* pydantic gives the property that tells its unions apart a default, so that nothing requires it. */
    s->discriminator = json_string_value(json_object_get(json_object_get(of, "discriminator"), "propertyName"));
    bool overlap = !s->discriminator || find_overlap(s, branches, &first, &second);
    const char *name = s->discriminator;
    s->discriminator = NULL;
    if (!overlap && !schema_failed(s)) return with_property(s, branches, name);
    schema_path_fail(s, STATUS_INVALID,
                     "'oneOf' is supported only where its branches exclude each other, by type, const, enum, bounds or "
                     "a required property; "
                     "branches %zu and %zu may both match (anyOf allows that)",
                     first, second);
    return NULL;
}
