#include "runtime/server/structured_output.h"

#include <stdio.h>
#include <string.h>

void structured_output_free(structured_output *s)
{
    json_decref(s->value);
    *s = (structured_output){0};
}

/* Takes `value` over, also on failure. `f` and `key` name its field. */
static bool set(const json_fields *f, const char *key, constraint_kind kind, json_t *value, structured_output *out)
{
    if (out->given) {
        json_decref(value);
        return json_fields_fail(f, key, "only one of json, json_object, regex, choice, grammar and response_format is allowed; %s is given, too.", out->param);
    }
    bool text = kind == CONSTRAINT_REGEX || kind == CONSTRAINT_EBNF;
    out->given = true;
    out->value = value;
    out->source = (constraint_source){.kind = kind, .compact = out->source.compact};
    if (text) out->source.text = json_string_value(value), out->source.size = json_string_length(value);
    else out->source.json = value;
    json_fields_path(f, key, out->param, sizeof out->param);
    return true;
}

/* A schema, or its text. */
static bool parse_json(const json_fields *f, const char *key, structured_output *out)
{
    json_t *value = (json_t *)json_fields_get(f, key);
    json_error_t why;
    if (!value) return true;
    if (!json_is_string(value)) json_incref(value);
    else if (!(value = json_loadb(json_string_value(value), json_string_length(value), JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why)))
        return json_fields_fail(f, key, "the string is no JSON: %.100s (at byte %d).", why.text, why.position);
    if (json_is_object(value) || json_is_boolean(value)) return set(f, key, CONSTRAINT_SCHEMA, value, out);
    json_decref(value);
    return json_fields_fail(f, key, "a JSON schema, or a string that holds one, is expected.");
}

static bool parse_text(const json_fields *f, const char *key, constraint_kind kind, structured_output *out)
{
    json_t *value = (json_t *)json_fields_get(f, key);
    if (!value) return true;
    if (!json_is_string(value)) return json_fields_fail(f, key, "a string is expected, not %s.", json_fields_type_name(value));
    return set(f, key, kind, json_incref(value), out);
}

static bool parse_choice(const json_fields *f, const char *key, structured_output *out)
{
    const json_t *value = NULL;
    if (!json_fields_array(f, key, &value)) return false;
    if (!value) return true;
    if (!json_array_size(value)) return json_fields_fail(f, key, "at least one string is expected.");
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!json_is_string(json_array_get(value, i))) return json_fields_fail(f, key, "an array of strings is expected.");
    return set(f, key, CONSTRAINT_CHOICE, json_incref((json_t *)value), out);
}

static bool parse_object(const json_fields *f, const char *key, structured_output *out)
{
    bool wanted = false;
    if (!json_fields_bool(f, key, &wanted)) return false;
    return !wanted || set(f, key, CONSTRAINT_JSON_OBJECT, NULL, out);
}

/* Every key but these changes what may be said, and is none of ours. */
static bool check_keys(const json_fields *f)
{
    static const char *const known[] = {"json", "regex", "choice", "grammar", "json_object", "disable_any_whitespace", "disable_fallback"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)f->object, key, value) {
        bool good = json_is_null(value) || json_is_false(value);
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) good = good || !strcmp(key, known[i]);
        if (!good) return json_fields_fail(f, "", "\"%.60s\" is not supported; json, json_object, regex, choice or grammar is expected.", key);
    }
    return true;
}

static bool parse_new(const json_fields *body, structured_output *out)
{
    const json_t *inner = NULL;
    bool compact = false;
    if (!json_fields_object(body, "structured_outputs", &inner)) return false;
    if (!inner || !json_object_size(inner)) return true;
    json_fields f = {inner, "structured_outputs", body->error};
    if (!check_keys(&f) || !json_fields_bool(&f, "disable_any_whitespace", &compact)) return false;
    out->source.compact = compact;
    if (!parse_json(&f, "json", out) || !parse_text(&f, "regex", CONSTRAINT_REGEX, out) || !parse_choice(&f, "choice", out) ||
        !parse_text(&f, "grammar", CONSTRAINT_EBNF, out) || !parse_object(&f, "json_object", out))
        return false;
    return out->given ? true : json_fields_fail(&f, "", "one of json, json_object, regex, choice and grammar is expected.");
}

bool structured_output_parse(const json_fields *body, structured_output *out)
{
    structured_output made = {0};
    bool good = parse_new(body, &made) && parse_json(body, "guided_json", &made) && parse_text(body, "guided_regex", CONSTRAINT_REGEX, &made) &&
                parse_choice(body, "guided_choice", &made) && parse_text(body, "guided_grammar", CONSTRAINT_EBNF, &made) &&
                parse_object(body, "guided_json_object", &made);
    if (good && json_fields_get(body, "guided_whitespace_pattern"))
        good = json_fields_fail(body, "guided_whitespace_pattern", "is not supported.");
    if (good) *out = made;
    else structured_output_free(&made);
    return good;
}

bool structured_output_format(const json_fields *body, structured_output *out)
{
    const json_t *format = NULL, *inner = NULL, *schema = NULL;
    const char *type = NULL;
    if (!json_fields_object(body, "response_format", &format)) return false;
    if (!format) return true;
    json_fields f = {format, "response_format", body->error}, g = {NULL, "response_format.json_schema", body->error};
    if (!json_fields_string(&f, "type", &type, NULL)) return false;
    if (!type) return json_fields_fail(&f, "type", "is required.");
    if (!strcmp(type, "text")) return true;
    if (!strcmp(type, "json_object")) return set(body, "response_format", CONSTRAINT_JSON_OBJECT, NULL, out);
    if (strcmp(type, "json_schema"))
        return json_fields_fail(&f, "type", "\"text\", \"json_object\" or \"json_schema\" is expected, not \"%.40s\".", type);
    if (!json_fields_object(&f, "json_schema", &inner)) return false;
    if (!inner) return json_fields_fail(&f, "json_schema", "is required.");
    g.object = inner;
    if (!json_fields_object(&g, "schema", &schema)) return false;
    if (!schema) return set(body, "response_format", CONSTRAINT_JSON_OBJECT, NULL, out);
    return set(&g, "schema", CONSTRAINT_SCHEMA, json_incref((json_t *)schema), out);
}
