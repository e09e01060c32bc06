#include <math.h>
#include <string.h>

#include "runtime/grammar/schema.h"

static const struct {
    const char *name;
    schema_keyword kind;
    unsigned types;
} keywords[] = {
    {"type", SCHEMA_KEYWORD_PLAIN, 0},
    {"enum", SCHEMA_KEYWORD_PLAIN, 0},
    {"const", SCHEMA_KEYWORD_PLAIN, 0},
    {"minimum", SCHEMA_KEYWORD_PLAIN, SCHEMA_NUMBER},
    {"maximum", SCHEMA_KEYWORD_PLAIN, SCHEMA_NUMBER},
    {"exclusiveMinimum", SCHEMA_KEYWORD_PLAIN, SCHEMA_NUMBER},
    {"exclusiveMaximum", SCHEMA_KEYWORD_PLAIN, SCHEMA_NUMBER},
    {"multipleOf", SCHEMA_KEYWORD_PLAIN, SCHEMA_NUMBER},
    {"minLength", SCHEMA_KEYWORD_PLAIN, SCHEMA_STRING},
    {"maxLength", SCHEMA_KEYWORD_PLAIN, SCHEMA_STRING},
    {"pattern", SCHEMA_KEYWORD_PLAIN, SCHEMA_STRING},
    {"format", SCHEMA_KEYWORD_PLAIN, SCHEMA_STRING},
    {"items", SCHEMA_KEYWORD_PLAIN, SCHEMA_ARRAY},
    {"prefixItems", SCHEMA_KEYWORD_PLAIN, SCHEMA_ARRAY},
    {"additionalItems", SCHEMA_KEYWORD_PLAIN, SCHEMA_ARRAY},
    {"minItems", SCHEMA_KEYWORD_PLAIN, SCHEMA_ARRAY},
    {"maxItems", SCHEMA_KEYWORD_PLAIN, SCHEMA_ARRAY},
    {"uniqueItems", SCHEMA_KEYWORD_PLAIN, SCHEMA_ARRAY},
    {"properties", SCHEMA_KEYWORD_PLAIN, SCHEMA_OBJECT},
    {"required", SCHEMA_KEYWORD_PLAIN, SCHEMA_OBJECT},
    {"additionalProperties", SCHEMA_KEYWORD_PLAIN, SCHEMA_OBJECT},
    {"patternProperties", SCHEMA_KEYWORD_PLAIN, SCHEMA_OBJECT},
    {"propertyNames", SCHEMA_KEYWORD_PLAIN, SCHEMA_OBJECT},
    {"minProperties", SCHEMA_KEYWORD_PLAIN, SCHEMA_OBJECT},
    {"maxProperties", SCHEMA_KEYWORD_PLAIN, SCHEMA_OBJECT},
    {"$ref", SCHEMA_KEYWORD_COMPOSED, 0},
    {"allOf", SCHEMA_KEYWORD_COMPOSED, 0},
    {"anyOf", SCHEMA_KEYWORD_COMPOSED, 0},
    {"oneOf", SCHEMA_KEYWORD_COMPOSED, 0},
    {"nullable", SCHEMA_KEYWORD_COMPOSED, 0},
    {"title", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"description", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"default", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"example", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"examples", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"deprecated", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"readOnly", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"writeOnly", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"$schema", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"$id", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"$comment", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"$defs", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"definitions", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"discriminator", SCHEMA_KEYWORD_ANNOTATION, 0}, /* OpenAPI: a hint beside oneOf, which says the same */
    {"contentMediaType", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"contentEncoding", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"contentSchema", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"externalDocs", SCHEMA_KEYWORD_ANNOTATION, 0},
    {"strict", SCHEMA_KEYWORD_ANNOTATION, 0}, /* of OpenAI's function tools, sometimes put into the schema */
};

static const struct {
    const char *name;
    unsigned bits;
} types[] = {
    {"null", SCHEMA_NULL},       {"boolean", SCHEMA_BOOLEAN},
    {"integer", SCHEMA_INTEGER}, {"number", SCHEMA_NUMBER | SCHEMA_INTEGER},
    {"string", SCHEMA_STRING},   {"array", SCHEMA_ARRAY},
    {"object", SCHEMA_OBJECT},
};

schema_keyword schema_keywords_find(const char *name, unsigned *speaks_of)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        if (strcmp(keywords[i].name, name) != 0) continue;
        if (speaks_of) *speaks_of = keywords[i].types;
        return keywords[i].kind;
    }
    return strncmp(name, "x-", 2) == 0 ? SCHEMA_KEYWORD_ANNOTATION : SCHEMA_KEYWORD_UNKNOWN;
}

bool schema_keywords_check(schema *s, const json_t *schema_object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)schema_object, key,
                        value) if (schema_keywords_find(key, NULL) == SCHEMA_KEYWORD_UNKNOWN)
        schema_path_fail(s, STATUS_INVALID, "keyword '%.100s' is not supported", key);
    return !schema_failed(s);
}

static unsigned type_bits(const json_t *name)
{
    for (size_t i = 0; json_is_string(name) && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, json_string_value(name)) == 0) return types[i].bits;
    return 0;
}

unsigned schema_keywords_types(schema *s, const json_t *type)
{
    unsigned all = 0, one;
    size_t index;
    json_t *name;
    if (!type) return SCHEMA_ALL;
    if (!json_is_array(type)) {
        all = type_bits(type);
    } else {
        json_array_foreach(type, index, name)
        {
            if (!(one = type_bits(name))) {
                all = 0;
                break;
            }
            all |= one;
        }
    }
    if (all == 0)
        schema_path_fail(
            s, STATUS_INVALID,
            "'type' is not one of null, boolean, integer, number, string, array, object or a list of them");
    return all;
}

unsigned schema_keywords_type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL: return SCHEMA_NULL;
    case JSON_TRUE:
    case JSON_FALSE: return SCHEMA_BOOLEAN;
    case JSON_INTEGER: return SCHEMA_INTEGER;
    case JSON_REAL: {
        double real = json_real_value(value);
        return real == floor(real) ? SCHEMA_INTEGER : SCHEMA_NUMBER;
    }
    case JSON_STRING: return SCHEMA_STRING;
    case JSON_ARRAY: return SCHEMA_ARRAY;
    default: return SCHEMA_OBJECT;
    }
}

uint32_t schema_keywords_count(schema *s, const json_t *schema_object, const char *name, uint32_t otherwise)
{
    const json_t *value = json_object_get(schema_object, name);
    if (!value) return otherwise;
    double number = json_number_value(value);
    if (!json_is_number(value) || number < 0 || number != floor(number)) {
        schema_path_fail(s, STATUS_INVALID, "'%s' is not an integer of 0 or more", name);
        return otherwise;
    }
    return number > INT32_MAX ? EXPR_NO_LIMIT - 1 : (uint32_t)number;
}
