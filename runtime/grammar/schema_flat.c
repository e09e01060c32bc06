#include <string.h>

#include "runtime/grammar/schema.h"

/* ---- plain schemas ----------------------------------------------------------------------------------------------- */

static void set(schema *s, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0) schema_path_no_memory(s);
}

/* const and enum together: the values of both. */
static void set_values(schema *s, const json_t *from, json_t *flat)
{
    json_t *constant = json_object_get(from, "const"), *values = json_object_get(from, "enum");
    if (values && (!json_is_array(values) || json_array_size(values) == 0))
        schema_path_fail(s, STATUS_INVALID, "'enum' is not a list of values");
    if (!constant && !values) return;
    if (!constant) {
        set(s, flat, "enum", json_incref(values));
        return;
    }
    bool allowed = !values;
    size_t index;
    json_t *value;
    json_array_foreach(values, index, value) allowed |= json_equal(value, constant);
    set(s, flat, "enum", allowed ? json_pack("[O]", constant) : json_array());
}

/* Draft 7: a list of items is what prefixItems is since, and additionalItems the rest. */
static void set_items(schema *s, const json_t *from, json_t *flat)
{
    json_t *items = json_object_get(from, "items"), *rest = json_object_get(from, "additionalItems");
    if (!json_is_array(items)) {
        if (items) set(s, flat, "items", json_incref(items));
        return;
    }
    if (json_object_get(from, "prefixItems"))
        schema_path_fail(s, STATUS_INVALID, "'items' is a list beside 'prefixItems'");
    set(s, flat, "prefixItems", json_incref(items));
    if (rest) set(s, flat, "items", json_incref(rest));
}

static void set_texts(schema *s, const json_t *from, const char *key, json_t *flat)
{
    json_t *text = json_object_get(from, key);
    if (!text) return;
    if (!json_is_string(text)) schema_path_fail(s, STATUS_INVALID, "'%s' is not a string", key);
    set(s, flat, key, json_pack("[O]", text));
}

json_t *schema_flat_plain(schema *s, const json_t *of)
{
    static const char *const done[] = {"type", "const", "enum", "items", "additionalItems", "pattern", "format"};
    json_t *flat = schema_path_keep(s, json_object());
    if (!flat) return NULL;
    set(s, flat, "type", json_integer(schema_keywords_types(s, json_object_get(of, "type"))));
    set_values(s, of, flat);
    set_items(s, of, flat);
    set_texts(s, of, "pattern", flat);
    set_texts(s, of, "format", flat);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)of, key, value)
    {
        if (schema_keywords_find(key, NULL) != SCHEMA_KEYWORD_PLAIN) continue;
        size_t i = 0;
        while (i < sizeof done / sizeof *done && strcmp(done[i], key) != 0) i++;
        if (i == sizeof done / sizeof *done) set(s, flat, key, json_incref(value));
    }
    return schema_failed(s) ? NULL : flat;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* Every way to satisfy one of `a` and one of `b`. */
static json_t *cross(schema *s, const json_t *a, const json_t *b)
{
    json_t *all = schema_path_keep(s, json_array()), *x, *y;
    size_t i, j;
    if (!all || !a || !b) return NULL;
    json_array_foreach(a, i, x)
    {
        json_array_foreach(b, j, y)
        {
            json_t *both = schema_merge(s, x, y);
            if (!both) return NULL;
            if (json_is_null(both)) {
                json_decref(both);
                continue;
            }
            if (json_array_append_new(all, both) != 0) schema_path_no_memory(s);
            if (json_array_size(all) > SCHEMA_MAX_BRANCHES)
                schema_path_fail(s, STATUS_INVALID,
                                 "anyOf, oneOf and what stands beside them multiply to more than %d schemas",
                                 SCHEMA_MAX_BRANCHES);
            if (schema_failed(s)) return NULL;
        }
    }
    return all;
}

static json_t *flat_reference(schema *s, const json_t *ref)
{
    const json_t *target = schema_ref_find(s, ref);
    if (!target) return NULL;
    buffer path = s->path;
    s->path = (buffer){0};
    if (!buffer_append_text(&s->path, json_string_value(ref) + 1)) schema_path_no_memory(s);
    json_t *flats = NULL;
    if (++s->depth > SCHEMA_MAX_DEPTH) {
        schema_path_fail(s, STATUS_INVALID, "'$ref' refers to itself");
    } else {
        flats = schema_flat(s, target);
    }
    s->depth--;
    buffer_free(&s->path);
    s->path = path;
    return flats;
}

/* allOf: all of them; anyOf, oneOf: all ways of all of them. */
static json_t *flat_list(schema *s, const json_t *flats, const char *keyword, const json_t *list)
{
    bool every = strcmp(keyword, "allOf") == 0;
    json_t *ways = every ? NULL : schema_path_keep(s, json_array());
    size_t index;
    json_t *item;
    if (json_array_size(list) == 0) schema_path_fail(s, STATUS_INVALID, "'%s' is not a list of schemas", keyword);
    size_t before = schema_path_enter(s, keyword);
    json_array_foreach(list, index, item)
    {
        if (schema_failed(s)) break;
        size_t inside = schema_path_enter_index(s, index);
        json_t *of_item = schema_flat(s, item);
        schema_path_leave(s, inside);
        if (every) {
            flats = cross(s, flats, of_item);
        } else if (of_item && json_array_extend(ways, of_item) != 0) {
            schema_path_no_memory(s);
        }
    }
    schema_path_leave(s, before);
    if (schema_failed(s)) return NULL;
    return every ? (json_t *)flats : cross(s, flats, ways);
}

static json_t *flat_nullable(schema *s, const json_t *of)
{
    json_t *rest = schema_path_keep(s, json_copy((json_t *)of));
    if (!rest) return NULL;
    bool nullable = json_is_true(json_object_get(of, "nullable"));
    json_object_del(rest, "nullable");
    json_t *flats = schema_flat(s, rest);
    if (flats && nullable && json_array_append_new(flats, json_pack("{s:i}", "type", SCHEMA_NULL)) != 0)
        schema_path_no_memory(s);
    return schema_failed(s) ? NULL : flats;
}

static json_t *flat_object(schema *s, const json_t *of)
{
    if (!schema_keywords_check(s, of)) return NULL;
    if (json_object_get(of, "nullable")) return flat_nullable(s, of);
    json_t *plain = schema_flat_plain(s, of);
    json_t *flats = plain ? schema_path_keep(s, json_pack("[O]", plain)) : NULL;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)of, key, value)
    {
        if (!flats || schema_keywords_find(key, NULL) != SCHEMA_KEYWORD_COMPOSED) continue;
        if (strcmp(key, "$ref") == 0) {
            flats = cross(s, flats, flat_reference(s, value));
        } else {
            flats = flat_list(s, flats, key, strcmp(key, "oneOf") == 0 ? schema_disjoint_branches(s, of) : value);
        }
    }
    return schema_failed(s) ? NULL : flats;
}

json_t *schema_flat(schema *s, const json_t *any)
{
    if (schema_failed(s)) return NULL;
    if (json_is_true(any)) return schema_path_keep(s, json_pack("[{s:i}]", "type", SCHEMA_ALL));
    if (json_is_false(any)) return schema_path_keep(s, json_array());
    if (!json_is_object(any)) {
        schema_path_fail(s, STATUS_INVALID, "a schema is an object, true or false");
        return NULL;
    }
    return flat_object(s, any);
}
