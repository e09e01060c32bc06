#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/expr_strings.h"
#include "runtime/grammar/schema.h"
#include "runtime/grammar/schema_string.h"
#include "runtime/grammar/utf8_ranges.h"
#include "runtime/text/harmony_json.h"

/* What stands beside `enum` and must hold of its values too. */
typedef struct filter {
    unsigned types;
    schema_string_rules strings;
    dfa *allowed; /* strings; NULL: all, or none were asked for yet */
    bool has_bound[2], strict[2];
    decimal bound[2];
} filter;

/* Fails where the values of a type cannot be held against the keywords for it. */
static void refuse_keywords(schema *s, const json_t *flat, unsigned of_type)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)flat, key, value)
    {
        unsigned types = 0;
        schema_keywords_find(key, &types);
        bool checked = of_type == SCHEMA_NUMBER && strcmp(key, "multipleOf") != 0;
        if (types == of_type && !checked)
            schema_path_fail(s, STATUS_INVALID, "'%.60s' beside 'enum' or 'const' is not supported", key);
    }
}

static void open_filter(schema *s, const json_t *flat, unsigned types, filter *f)
{
    *f = (filter){.types = types};
    for (int side = 0; side < 2; side++)
        f->has_bound[side] = schema_number_bound(s, flat, side == 0, &f->bound[side], &f->strict[side]);
    schema_string_rules_read(s, flat, &f->strings);
    if (f->strings.n == 0 || schema_failed(s)) return;
    dfa_alphabet a = {0};
    schema_string_alphabet(s, &a, &f->strings);
    dfa_alphabet_seal(s->p, &a);
    f->allowed = schema_string_dfa(s, &a, &f->strings);
    dfa_alphabet_free(&a);
}

static void close_filter(filter *f)
{
    schema_string_rules_free(&f->strings);
    dfa_free(f->allowed);
}

static bool string_passes(const filter *f, const json_t *value)
{
    const char *text = json_string_value(value), *end = text + json_string_length(value);
    if (f->allowed) return dfa_accepts(f->allowed, text, json_string_length(value));
    uint32_t chars = 0;
    for (const char *at = text; at < end; chars++) utf8_ranges_decode(&at);
    return f->strings.least <= chars && chars <= f->strings.most;
}

static bool number_passes(const filter *f, const json_t *value)
{
    decimal d;
    if (!decimal_read(value, &d)) return false;
    for (int side = 0; side < 2; side++) {
        if (!f->has_bound[side]) continue;
        int order = decimal_compare(&d, &f->bound[side]);
        if (side) order = -order;
        if (order < 0 || (order == 0 && f->strict[side])) return false;
    }
    return true;
}

static bool passes(schema *s, const json_t *flat, const filter *f, const json_t *value)
{
    unsigned type = schema_keywords_type_of(value);
    if (!(type & f->types)) return false;
    if (type == SCHEMA_STRING) return string_passes(f, value);
    if (type & (SCHEMA_INTEGER | SCHEMA_NUMBER)) {
        refuse_keywords(s, flat, SCHEMA_NUMBER);
        return number_passes(f, value);
    }
    if (type & (SCHEMA_ARRAY | SCHEMA_OBJECT)) refuse_keywords(s, flat, type);
    return true;
}

/* Texts of scalars, one behind the other, for the trie. */
typedef struct texts {
    buffer bytes;
    size_t *starts;
    size_t n, capacity;
} texts;

static void add_text(schema *s, texts *t, const json_t *value)
{
    bool added = expr_grow(&t->starts, t->n, &t->capacity, sizeof *t->starts);
    if (added) t->starts[t->n++] = t->bytes.size;
    if (added && json_is_string(value)) {
        added = buffer_append(&t->bytes, "\"", 1) &&
                json_text_escape(&t->bytes, json_string_value(value), json_string_length(value)) &&
                buffer_append(&t->bytes, "\"", 1);
    } else if (added) {
        added = harmony_json_write(value, &t->bytes);
    }
    if (!added) schema_path_no_memory(s);
}

static expr trie_of(schema *s, const texts *t)
{
    expr_strings_item *items = malloc((t->n + 1) * sizeof *items);
    if (!items) return schema_path_no_memory(s);
    for (size_t i = 0; i < t->n; i++) {
        size_t end = i + 1 < t->n ? t->starts[i + 1] : t->bytes.size;
        items[i] = (expr_strings_item){t->bytes.data + t->starts[i], end - t->starts[i], EXPR_EMPTY};
    }
    expr e = expr_strings(s->p, items, t->n);
    free(items);
    return e;
}

expr schema_enum(schema *s, const json_t *flat, unsigned types)
{
    filter f;
    texts scalars = {0};
    expr_list ways = {0};
    size_t index;
    json_t *value;
    open_filter(s, flat, types, &f);
    json_array_foreach(json_object_get(flat, "enum"), index, value)
    {
        if (schema_failed(s)) break;
        if (!passes(s, flat, &f, value)) continue;
        if (json_is_object(value) || json_is_array(value)) {
            expr_list_add(s->p, &ways, json_text_constant(&s->text, value));
        } else {
            add_text(s, &scalars, value);
        }
    }
    if (!schema_failed(s)) expr_list_add(s->p, &ways, trie_of(s, &scalars));
    expr all = expr_alt(s->p, ways.items, ways.n);
    close_filter(&f);
    buffer_free(&scalars.bytes);
    free(scalars.starts);
    expr_list_free(&ways);
    return all;
}
