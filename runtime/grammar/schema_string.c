#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/dfa.h"
#include "runtime/grammar/schema.h"
#include "runtime/grammar/schema_string.h"
#include "runtime/grammar/string_format.h"

static expr quoted(schema *s, expr inside)
{
    expr quote = expr_text(s->p, "\"");
    return expr_cat3(s->p, quote, inside, quote);
}

/* ---- what a string must match ------------------------------------------------------------------------------------ */

static void add_regex(schema *s, schema_string_rules *rules, const char *text, size_t size, regex_match match)
{
    regex r;
    status_detail why;
    status code = regex_parse(s->p, text, size, match, EXPR_JSON, &r, &why);
    if (code == STATUS_OK) {
        if (expr_grow(&rules->items, rules->n, &rules->capacity, sizeof *rules->items)) {
            rules->items[rules->n++] = r;
        } else {
            schema_path_no_memory(s);
        }
    } else {
        schema_path_fail(s, code, match == REGEX_SEARCH ? "'pattern': %.400s" : "'format': %.400s", why.text);
    }
}

/* Counting characters besides labels multiplies states: below its natural length, a format is held to short strings
 * instead. */
static const char *pick_regex(const string_format *format, schema_string_rules *rules)
{
    if (!format->short_regex || rules->most >= format->longest || rules->least > STRING_FORMAT_SHORT)
        return format->regex;
    if (rules->most > STRING_FORMAT_SHORT) rules->most = STRING_FORMAT_SHORT;
    return format->short_regex;
}

static void add_format(schema *s, schema_string_rules *rules, const json_t *flat, const char *name)
{
    static const char *const of_numbers[] = {"int32", "int64", "uint32", "float", "double"};
    unsigned types = (unsigned)json_integer_value(json_object_get(flat, "type"));
    for (size_t i = 0; i < 5; i++)
        if (strcmp(of_numbers[i], name) == 0 && (types & SCHEMA_INTEGER)) return;
    const string_format *format = string_format_find(name);
    if (!format) {
        schema_path_fail(s, STATUS_INVALID, "format '%.60s' is not supported; supported are %s", name,
                         string_format_names());
    } else if (format->regex) {
        const char *text = pick_regex(format, rules);
        add_regex(s, rules, text, strlen(text), REGEX_WHOLE);
    }
}

void schema_string_rules_read(schema *s, const json_t *flat, schema_string_rules *out)
{
    size_t index;
    json_t *text;
    *out = (schema_string_rules){0};
    out->least = schema_keywords_count(s, flat, "minLength", 0);
    out->most = schema_keywords_count(s, flat, "maxLength", EXPR_NO_LIMIT);
    json_array_foreach(json_object_get(flat, "pattern"), index, text)
        add_regex(s, out, json_string_value(text), json_string_length(text), REGEX_SEARCH);
    json_array_foreach(json_object_get(flat, "format"), index, text) add_format(s, out, flat, json_string_value(text));
}

void schema_string_rules_free(schema_string_rules *rules)
{
    free(rules->items);
    *rules = (schema_string_rules){0};
}

void schema_string_alphabet(schema *s, dfa_alphabet *a, const schema_string_rules *rules)
{
    for (size_t i = 0; i < rules->n; i++) regex_alphabet(s->p, a, &rules->items[i]);
}

/* Lengths that the other rules leave open. */
static dfa *with_length(schema *s, const dfa_alphabet *a, dfa *d, uint32_t least, uint32_t most)
{
    uint32_t shortest, longest;
    if (!d || !dfa_lengths(s->p, d, &shortest, &longest)) return d;
    if (shortest >= least) least = 0;
    if (longest <= most) most = EXPR_NO_LIMIT;
    return least == 0 && most == EXPR_NO_LIMIT ? d : dfa_limit(s->p, a, d, least, most);
}

dfa *schema_string_dfa(schema *s, const dfa_alphabet *a, const schema_string_rules *rules)
{
    dfa *d = rules->n ? NULL : dfa_of_length(s->p, a, 0, EXPR_NO_LIMIT);
    for (size_t i = 0; i < rules->n; i++) {
        dfa *next = regex_dfa(s->p, a, &rules->items[i]);
        d = i ? dfa_product(s->p, d, next) : next;
    }
    d = rules->least > rules->most
            ? dfa_product(s->p, d, dfa_complement(s->p, dfa_of_length(s->p, a, 0, EXPR_NO_LIMIT)))
            : with_length(s, a, d, rules->least, rules->most);
    if (!d && s->p->too_large)
        schema_path_fail(s, STATUS_INVALID, "'pattern', 'format' and lengths are too complex together");
    return d;
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static expr matching(schema *s, const schema_string_rules *rules)
{
    const regex *only = rules->n == 1 ? &rules->items[0] : NULL;
    if (only && only->n_conditions == 0 && rules->least == 0 && rules->most == EXPR_NO_LIMIT) {
        dfa *small = regex_dfa_if_small(s->p, only);
        return quoted(s, small ? expr_dfa(s->p, small, EXPR_JSON) : only->whole);
    }
    dfa_alphabet a = {0};
    schema_string_alphabet(s, &a, rules);
    dfa_alphabet_seal(s->p, &a);
    dfa *d = schema_string_dfa(s, &a, rules);
    if (d) d->classify = true;
    expr inside = expr_dfa(s->p, d, EXPR_JSON);
    dfa_alphabet_free(&a);
    return quoted(s, inside);
}

/* What makes two schemas the same string. NULL: no memory. */
static char *key_of(const json_t *flat)
{
    static const char *const keywords[] = {"pattern", "format", "minLength", "maxLength"};
    json_t *key = json_array();
    for (size_t i = 0; i < 4; i++) {
        json_t *value = json_object_get(flat, keywords[i]);
        if (value) json_array_append(key, value);
        if (!value) json_array_append_new(key, json_null());
    }
    char *text = json_dumps(key, JSON_COMPACT);
    json_decref(key);
    return text;
}

/* Dates and the like come again and again: the rule is kept by its text. */
static expr remembered(schema *s, const json_t *flat, const schema_string_rules *rules)
{
    char *key = key_of(flat);
    if (!key) return schema_path_no_memory(s);
    json_t *known = schema_path_work(s, strlen(key)) ? json_object_get(s->rules, key) : NULL;
    expr e = EXPR_FAIL;
    if (known) {
        e = expr_rule_use(s->p, (uint32_t)json_integer_value(known));
    } else if (!schema_failed(s)) {
        e = expr_as_rule(s->p, matching(s, rules));
        if (json_object_set_new(s->rules, key, json_integer(s->p->nodes[e].a)) != 0) schema_path_no_memory(s);
    }
    free(key);
    return e;
}

expr schema_string(schema *s, const json_t *flat)
{
    schema_string_rules rules;
    expr e = EXPR_FAIL;
    schema_string_rules_read(s, flat, &rules);
    if (!schema_failed(s) && rules.n) {
        e = remembered(s, flat, &rules);
    } else if (!schema_failed(s) && rules.least <= rules.most) {
        e = quoted(s, expr_repeat(s->p, s->text.any_char, rules.least, rules.most));
    }
    schema_string_rules_free(&rules);
    return e;
}
