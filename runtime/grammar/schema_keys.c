#include "runtime/grammar/schema_keys.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/expr_strings.h"
#include "runtime/grammar/schema_string.h"

/* What is needed only while names are told apart. */
typedef struct reader {
    schema *s;
    schema_keys *out;
    const json_t *flat;
    json_t *patterns; /* pattern -> schema */
    json_t *rest;     /* additionalProperties */
    regex *regexes;   /* [n_patterns] */
    dfa **matches;    /* [n_patterns] */
    size_t n_patterns;
    bool has_names;             /* propertyNames is there ... */
    const json_t *listed_names; /* ... and lists them, or NULL */
    schema_string_rules names;  /* ... and says what they look like */
    dfa *allowed;               /* by `names`; NULL: all */
    dfa_alphabet alphabet;
} reader;

/* ---- keywords ---------------------------------------------------------------------------------------------------- */

static json_t *member_object(schema *s, const json_t *flat, const char *keyword)
{
    json_t *object = json_object_get(flat, keyword);
    if (object && !json_is_object(object))
        schema_path_fail(s, STATUS_INVALID, "'%s' is not an object of schemas", keyword);
    return json_is_object(object) ? object : NULL;
}

static void add_key(reader *r, const char *name, bool listed)
{
    schema_keys *out = r->out;
    if (expr_grow(&out->keys, out->n, &out->capacity, sizeof *out->keys)) {
        out->keys[out->n++] = (schema_key){.name = name, .listed = listed, .required = !listed};
    } else {
        schema_path_no_memory(r->s);
    }
}

/* The names of `properties`, of `required` that are not among them, and of an enum in propertyNames. */
static void read_names(reader *r)
{
    json_t *places = json_object(), *properties = member_object(r->s, r->flat, "properties"), *value, *place;
    const json_t *required = json_object_get(r->flat, "required");
    const char *name;
    size_t index;
    if (required && !json_is_array(required))
        schema_path_fail(r->s, STATUS_INVALID, "'required' is not a list of names");
    json_object_foreach(properties, name, value)
    {
        if (json_object_set_new(places, name, json_integer((json_int_t)r->out->n)) != 0) schema_path_no_memory(r->s);
        add_key(r, name, true);
    }
    for (int list = 0; list < 2; list++) {
        const json_t *names = list ? r->listed_names : required;
        json_array_foreach(names, index, value)
        {
            if (schema_failed(r->s)) break;
            if (!json_is_string(value)) {
                if (!list) schema_path_fail(r->s, STATUS_INVALID, "'required' is not a list of names");
                continue; /* a value that is no name */
            }
            name = json_string_value(value);
            place = json_object_get(places, name);
            if (!place) {
                if (json_object_set_new(places, name, json_integer((json_int_t)r->out->n)) != 0)
                    schema_path_no_memory(r->s);
                add_key(r, name, false);
                if (r->out->n) r->out->keys[r->out->n - 1].required = !list;
            } else if (!list) {
                r->out->keys[json_integer_value(place)].required = true;
            }
        }
    }
    json_decref(places);
}

static void read_name_rules(reader *r)
{
    const json_t *of = json_object_get(r->flat, "propertyNames");
    if (!of) return;
    size_t before = schema_path_enter(r->s, "propertyNames");
    json_t *flats = schema_flat(r->s, of);
    json_t *flat = json_array_get(flats, 0);
    r->has_names = true;
    if (flats && json_array_size(flats) > 1) {
        schema_path_fail(r->s, STATUS_INVALID, "alternatives (anyOf, oneOf) are not supported here");
    } else if (flats && (!flat || !(json_integer_value(json_object_get(flat, "type")) & SCHEMA_STRING))) {
        r->listed_names = schema_path_keep(r->s, json_array());
    } else if (flat) {
        r->listed_names = json_object_get(flat, "enum");
        schema_string_rules_read(r->s, flat, &r->names);
    }
    schema_path_leave(r->s, before);
}

static void read_patterns(reader *r)
{
    const char *pattern;
    json_t *value;
    size_t n = json_object_size(r->patterns);
    r->regexes = calloc(n + 1, sizeof *r->regexes);
    r->matches = calloc(n + 1, sizeof *r->matches);
    if (!r->regexes || !r->matches) {
        schema_path_no_memory(r->s);
        return;
    }
    json_object_foreach(r->patterns, pattern, value)
    {
        status_detail why;
        if (schema_failed(r->s)) return;
        status code =
            regex_parse(r->s->p, pattern, strlen(pattern), REGEX_SEARCH, EXPR_JSON, &r->regexes[r->n_patterns], &why);
        if (code != STATUS_OK) {
            schema_path_fail(r->s, code, "'patternProperties': '%.80s': %.300s", pattern, why.text);
            return;
        }
        regex_alphabet(r->s->p, &r->alphabet, &r->regexes[r->n_patterns++]);
    }
}

static bool has_rules(const reader *r) { return r->names.n || r->names.least || r->names.most != EXPR_NO_LIMIT; }

/* All automata that meet are over one alphabet. */
static void build_automata(reader *r)
{
    expr_pool *p = r->s->p;
    for (size_t i = 0; i < r->out->n; i++)
        dfa_alphabet_add_text(p, &r->alphabet, r->out->keys[i].name, strlen(r->out->keys[i].name));
    if (r->has_names) schema_string_alphabet(r->s, &r->alphabet, &r->names);
    dfa_alphabet_seal(p, &r->alphabet);
    for (size_t i = 0; i < r->n_patterns && !schema_failed(r->s); i++)
        r->matches[i] = regex_dfa(p, &r->alphabet, &r->regexes[i]);
    if (r->has_names && !r->listed_names && has_rules(r)) r->allowed = schema_string_dfa(r->s, &r->alphabet, &r->names);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static bool name_allowed(const reader *r, const char *name)
{
    size_t index;
    const json_t *listed;
    if (!r->has_names) return true;
    if (!r->listed_names) return !r->allowed || dfa_accepts(r->allowed, name, strlen(name));
    json_array_foreach(r->listed_names, index,
                       listed) if (json_is_string(listed) && strcmp(json_string_value(listed), name) == 0) return true;
    return false;
}

static void set_value(reader *r, schema_key *key)
{
    json_t *properties = json_object_get(r->flat, "properties");
    json_t *value = key->listed ? json_incref(json_object_get(properties, key->name)) : NULL;
    bool spoken_of = key->listed;
    const char *pattern;
    json_t *of_pattern;
    size_t i = 0;
    json_object_foreach(r->patterns, pattern, of_pattern)
    {
        const dfa *match = i < r->n_patterns ? r->matches[i++] : NULL;
        if (!match || !dfa_accepts(match, key->name, strlen(key->name))) continue;
        json_t *both = schema_merge_both(r->s, value, of_pattern);
        json_decref(value);
        value = both;
        spoken_of = true;
    }
    if (!spoken_of) value = json_incref(r->rest);
    if (!name_allowed(r, key->name)) {
        json_decref(value);
        value = json_false();
    }
    key->value = value;
}

/* ---- other names ------------------------------------------------------------------------------------------------- */

/* All texts but the names of `keys`. */
static dfa *other_names(reader *r)
{
    expr_pool *p = r->s->p;
    const schema_keys *keys = r->out;
    expr_strings_item *items = malloc((keys->n + 1) * sizeof *items);
    if (!items) {
        schema_path_no_memory(r->s);
        return NULL;
    }
    for (size_t i = 0; i < keys->n; i++)
        items[i] = (expr_strings_item){keys->keys[i].name, strlen(keys->keys[i].name), EXPR_EMPTY};
    expr names = expr_strings_flat(p, items, keys->n);
    free(items);
    dfa *others = dfa_complement(p, dfa_subset(p, &r->alphabet, names));
    return r->allowed ? dfa_product(p, others, dfa_copy(p, r->allowed)) : others;
}

static void add_class(reader *r, expr inside, json_t *value, const char *pattern)
{
    schema_keys *out = r->out;
    expr quote = expr_text(r->s->p, "\"");
    if (inside == EXPR_FAIL) return;
    if (expr_grow(&out->classes, out->n_classes, &out->classes_capacity, sizeof *out->classes)) {
        out->classes[out->n_classes++] = (schema_key_class){expr_cat3(r->s->p, quote, inside, quote), value, pattern};
    } else {
        schema_path_no_memory(r->s);
    }
}

/* Names of pattern number `i` that are of no other pattern; fails when there is one of two. */
static dfa *names_of_pattern(reader *r, size_t i, const dfa *others)
{
    expr_pool *p = r->s->p;
    dfa *own = dfa_product(p, dfa_copy(p, r->matches[i]), dfa_copy(p, others));
    for (size_t j = 0; j < i && own; j++) {
        dfa *both = dfa_product(p, dfa_copy(p, own), dfa_copy(p, r->matches[j]));
        if (both && !dfa_is_empty(both))
            schema_path_fail(r->s, STATUS_INVALID,
                             "'patternProperties': patterns that may match the same name are not supported");
        dfa_free(both);
    }
    return own;
}

/* Names that patterns or lengths decide are many kinds of tokens; those that are only not listed are nearly all. */
static expr names_expr(const reader *r, dfa *d)
{
    if (d) d->classify = r->n_patterns > 0 || r->allowed;
    return expr_dfa(r->s->p, d, EXPR_JSON);
}

static void read_classes(reader *r)
{
    expr_pool *p = r->s->p;
    bool any_name = r->out->n == 0 && r->n_patterns == 0 && !r->allowed;
    if (r->listed_names || (json_is_false(r->rest) && r->n_patterns == 0)) return;
    if (any_name) {
        add_class(r, expr_repeat(p, r->s->text.any_char, 0, EXPR_NO_LIMIT), r->rest, NULL);
        return;
    }
    dfa *others = other_names(r), *left = dfa_copy(p, others);
    size_t i = 0;
    const char *pattern;
    json_t *value;
    json_object_foreach(r->patterns, pattern, value)
    {
        if (schema_failed(r->s) || i >= r->n_patterns) break;
        add_class(r, names_expr(r, names_of_pattern(r, i, others)), value, pattern);
        left = dfa_product(p, left, dfa_complement(p, dfa_copy(p, r->matches[i++])));
    }
    if (json_is_false(r->rest) || schema_failed(r->s)) {
        dfa_free(left);
    } else {
        add_class(r, names_expr(r, left), r->rest, NULL);
    }
    dfa_free(others);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

void schema_keys_read(schema *s, const json_t *flat, schema_keys *out)
{
    *out = (schema_keys){0};
    reader r = {.s = s,
                .out = out,
                .flat = flat,
                .rest = json_object_get(flat, "additionalProperties"),
                .names.most = EXPR_NO_LIMIT};
    r.patterns = member_object(s, flat, "patternProperties");
    if (r.rest && !json_is_object(r.rest) && !json_is_boolean(r.rest))
        schema_path_fail(s, STATUS_INVALID, "'additionalProperties' is not a schema");
    read_name_rules(&r);
    if (!schema_failed(s)) read_names(&r);
    if (!schema_failed(s)) read_patterns(&r);
    bool automata = r.n_patterns || r.has_names || !json_is_false(r.rest);
    if (!schema_failed(s) && automata) build_automata(&r);
    for (size_t i = 0; i < out->n && !schema_failed(s) && expr_pool_check(s->p, NULL) == STATUS_OK; i++)
        set_value(&r, &out->keys[i]);
    if (!schema_failed(s) && expr_pool_check(s->p, NULL) == STATUS_OK) read_classes(&r);
    for (size_t i = 0; i < r.n_patterns; i++) dfa_free(r.matches[i]);
    free(r.regexes);
    free(r.matches);
    schema_string_rules_free(&r.names);
    dfa_free(r.allowed);
    dfa_alphabet_free(&r.alphabet);
}

void schema_keys_free(schema_keys *keys)
{
    for (size_t i = 0; i < keys->n; i++) json_decref(keys->keys[i].value);
    free(keys->keys);
    free(keys->classes);
    *keys = (schema_keys){0};
}
