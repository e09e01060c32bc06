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

static void add_format(schema *s, schema_string_rules *rules, const json_t *flat, const char *name)
{
    static const char *const of_numbers[] = {"int32", "int64", "uint32", "float", "double"};
    const char *text;
    unsigned types = (unsigned)json_integer_value(json_object_get(flat, "type"));
    for (size_t i = 0; i < 5; i++)
        if (strcmp(of_numbers[i], name) == 0 && (types & SCHEMA_INTEGER)) return;
    if (!string_format_find(name, &text)) {
        schema_path_fail(s, STATUS_INVALID, "format '%.60s' is not supported; supported are %s", name, string_format_names());
    } else if (text) {
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
    json_array_foreach (json_object_get(flat, "pattern"), index, text)
        add_regex(s, out, json_string_value(text), json_string_length(text), REGEX_SEARCH);
    json_array_foreach (json_object_get(flat, "format"), index, text) add_format(s, out, flat, json_string_value(text));
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
    return least == 0 && most == EXPR_NO_LIMIT ? d : dfa_product(s->p, d, dfa_of_length(s->p, a, least, most));
}

dfa *schema_string_dfa(schema *s, const dfa_alphabet *a, const schema_string_rules *rules)
{
    dfa *d = rules->n ? NULL : dfa_of_length(s->p, a, 0, EXPR_NO_LIMIT);
    for (size_t i = 0; i < rules->n; i++) {
        dfa *next = regex_dfa(s->p, a, &rules->items[i]);
        d = i ? dfa_product(s->p, d, next) : next;
    }
    d = rules->least > rules->most ? dfa_product(s->p, d, dfa_complement(s->p, dfa_of_length(s->p, a, 0, EXPR_NO_LIMIT)))
                                   : with_length(s, a, d, rules->least, rules->most);
    if (!d && s->p->too_large) schema_path_fail(s, STATUS_INVALID, "'pattern', 'format' and lengths are too complex together");
    return d;
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

expr schema_string(schema *s, const json_t *flat)
{
    schema_string_rules rules;
    dfa_alphabet a = {0};
    expr inside = EXPR_FAIL;
    schema_string_rules_read(s, flat, &rules);
    bool any_length = rules.least == 0 && rules.most == EXPR_NO_LIMIT;
    if (schema_failed(s)) {
        inside = EXPR_FAIL;
    } else if (rules.n == 0) {
        if (rules.least <= rules.most) inside = expr_repeat(s->p, s->text.any_char, rules.least, rules.most);
    } else if (rules.n == 1 && any_length && rules.items[0].n_conditions == 0) {
        inside = rules.items[0].whole;
    } else {
        schema_string_alphabet(s, &a, &rules);
        dfa_alphabet_seal(s->p, &a);
        inside = expr_dfa(s->p, schema_string_dfa(s, &a, &rules), EXPR_JSON);
        dfa_alphabet_free(&a);
    }
    schema_string_rules_free(&rules);
    return quoted(s, inside);
}
