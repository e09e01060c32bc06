/* What is not supported, contradicts itself or would be too large is refused, and the line says where and why. Masks
 * are exact in the states of schemas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/grammar/grammar_fixture.h"

static void refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *words;
    } refused[] = {
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"not\":{}}}}",
         "schema: /properties/a: keyword 'not' is not supported"},
        {"{\"if\":{},\"then\":{}}", "keyword 'if' is not supported"},
        {"{\"dependentRequired\":{}}", "'dependentRequired'"},
        {"{\"unevaluatedProperties\":false}", "'unevaluatedProperties'"},
        {"{\"contains\":{}}", "'contains'"},
        {"{\"$dynamicRef\":\"#\"}", "'$dynamicRef'"},
        {"{\"tpye\":\"string\"}", "'tpye'"},
        {"{\"type\":\"array\",\"uniqueItems\":true}", "'uniqueItems'"},
        {"{\"anyOf\":[{\"type\":\"array\",\"items\":{\"type\":\"string\",\"contains\":1}}]}",
         "schema: /anyOf/0/items: keyword 'contains'"},
        {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"items\":{\"not\":1}}}}", "schema: /$defs/a/items: keyword 'not'"},
        {"{\"allOf\":[{\"type\":\"string\"},{\"not\":{}}]}", "schema: /allOf/1: keyword 'not'"},
        {"{\"type\":\"strin\"}", "'type' is not one of"},
        {"{\"type\":[]}", "'type' is not one of"},
        {"{\"type\":\"string\",\"format\":\"iri\"}", "format 'iri' is not supported; supported are date"},
        {"{\"type\":\"number\",\"format\":\"decimal\"}", "format 'decimal' is not supported for numbers"},
        {"{\"type\":\"string\",\"pattern\":\"(\"}", "'pattern': position 0: '(' is not closed"},
        {"{\"type\":\"string\",\"pattern\":\"\\\\bx\"}", "'\\b' is not supported"},
        {"{\"type\":\"string\",\"pattern\":1}", "'pattern' is not a string"},
        {"{\"type\":\"string\",\"minLength\":-1}", "'minLength' is not an integer of 0 or more"},
        {"{\"type\":\"string\",\"maxLength\":\"5\"}", "'maxLength' is not an integer"},
        {"{\"type\":\"string\",\"pattern\":\"a.*b\",\"maxLength\":70000}", "too complex together"},
        {"{\"type\":\"number\",\"minimum\":\"1\"}", "'minimum' is not a number"},
        {"{\"type\":\"number\",\"minimum\":1,\"exclusiveMinimum\":true}", "'exclusiveMinimum' is not a number"},
        {"{\"type\":\"number\",\"multipleOf\":0.3}", "'multipleOf' is supported for integers up to 1000"},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0.12345678901234567}", "exclusive bounds of more than 15 digits"},
        {"{\"enum\":[]}", "'enum' is not a list of values"},
        {"{\"enum\":[{}],\"minProperties\":1}", "'minProperties' beside 'enum' or 'const' is not supported"},
        {"{\"enum\":[6],\"multipleOf\":3}", "'multipleOf' beside 'enum'"},
        {"{\"properties\":[]}", "'properties' is not an object"},
        {"{\"properties\":{\"a\":1}}", "schema: /properties/a: a schema is an object, true or false"},
        {"{\"type\":\"object\",\"required\":\"a\"}", "'required' is not a list of names"},
        {"{\"type\":\"object\",\"additionalProperties\":1}", "'additionalProperties' is not a schema"},
        {"{\"type\":\"object\",\"minProperties\":3}", "'minProperties' above the number of listed properties plus one"},
        {"{\"type\":\"object\",\"patternProperties\":{\"a\":{},\"b\":{}}}", "patterns that may match the same name"},
        {"{\"type\":\"object\",\"patternProperties\":{\"[\":{}}}", "'patternProperties': '[': position 1"},
        {"{\"anyOf\":[]}", "'anyOf' is not a list of schemas"},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", "branches 0 and 1 may both match"},
        {"{\"oneOf\":[{\"type\":\"object\"},{\"type\":\"null\"},{\"type\":\"object\",\"required\":[\"a\"]}]}",
         "branches 0 and 2 may both match"},
        {"{\"$ref\":\"other.json#/a\"}", "'$ref' to 'other.json#/a' is not supported"},
        {"{\"$ref\":\"#/nowhere\"}", "'$ref' to '#/nowhere': there is no schema"},
        {"{\"$ref\":\"#anchor\"}", "is not supported"},
        {"{\"$ref\":\"#\"}", "no text can satisfy"},
        {"{\"allOf\":[{\"$ref\":\"#\"},{\"type\":\"string\"}]}", "'$ref' refers to itself"},
        {"false", "no text can satisfy"},
        {"{\"allOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}", "no text can satisfy"},
        {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", "no text can satisfy"},
        {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "no text can satisfy"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", "no text can satisfy"},
        {"1", "a schema is an object, true or false"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        grammar_fixture_refused(grammar_fixture_from_schema, refused[i].schema, refused[i].words);
}

/* `open` n times, `middle`, `close` n times. */
static char *nested(const char *open, const char *middle, const char *close, int n)
{
    buffer text = {0};
    for (int i = 0; i < n; i++) buffer_append_text(&text, open);
    buffer_append_text(&text, middle);
    for (int i = 0; i < n; i++) buffer_append_text(&text, close);
    return text.data;
}

static status compile(char *schema, status_detail *detail)
{
    grammar *g = NULL;
    status code = grammar_fixture_from_schema(grammar_fixture_vocab(), schema, &g, detail);
    grammar_release(g);
    free(schema);
    return code;
}

/* Each of these answers within a second or so, whichever way. */
static void hostile_schemas_are_bounded(void **state)
{
    (void)state;
    status_detail detail;
    int many = getenv("GPTOSS_LONG") ? 60000 : 15000;
    assert_int_equal(compile(nested("{\"type\":\"array\",\"items\":", "{}", "}", 100), &detail), STATUS_OK);
    assert_int_equal(compile(nested("{\"type\":\"object\",\"properties\":{\"a\":", "{}", "}}", 60), &detail),
                     STATUS_OK);
    assert_int_equal(compile(nested("{\"type\":\"array\",\"items\":", "{}", "}", 600), &detail), STATUS_INVALID);
    assert_non_null(strstr(detail.text, "nested too deep"));
    /* 4^8 ways when multiplied out */
    buffer text = {0};
    buffer_append_text(&text, "{\"allOf\":[");
    for (int i = 0; i < 8; i++)
        buffer_printf(&text,
                      "%s{\"anyOf\":[{\"required\":[\"a%d\"]},{\"required\":[\"b%d\"]},{\"required\":[\"c%d\"]},{"
                      "\"required\":[\"d%d\"]}]}",
                      i ? "," : "", i, i, i, i);
    buffer_append_text(&text, "]}");
    assert_int_equal(compile(text.data, &detail), STATUS_INVALID);
    assert_non_null(strstr(detail.text, "multiply to more than 256"));
    /* a megabyte of listed values; thousands of optional properties */
    text = (buffer){0};
    buffer_append_text(&text, "{\"enum\":[\"\"");
    for (int i = 0; i < many; i++) buffer_printf(&text, ",\"value number %d\"", i * 7919);
    buffer_append_text(&text, "]}");
    assert_int_equal(compile(text.data, &detail), STATUS_OK);
    text = (buffer){0};
    buffer_append_text(&text, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"\":{}");
    for (int i = 0; i < many / 20; i++)
        buffer_printf(&text, ",\"property %d\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"string\"}}}", i);
    buffer_append_text(&text, "}}");
    (void)compile(text.data, &detail);
    /* references: a long chain, and merges that make new schemas for ever */
    text = (buffer){0};
    buffer_append_text(&text, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{\"end\":{}");
    for (int i = 0; i < many / 3; i++)
        buffer_printf(&text, ",\"d%d\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/%s%.0d\"}}", i,
                      i < many / 3 - 1 ? "d" : "end", i < many / 3 - 1 ? i + 1 : 0);
    buffer_append_text(&text, "}}");
    (void)compile(text.data, &detail);
    text = (buffer){0};
    buffer_append_text(
        &text,
        "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"},{\"$ref\":\"#/$defs/c\"}]},"
        "\"b\":{\"type\":\"object\",\"properties\":{\"x\":{\"allOf\":[{\"$ref\":\"#/$defs/a\"},{\"$ref\":\"#/$defs/"
        "b\"}]}}},"
        "\"c\":{\"type\":\"object\",\"properties\":{\"x\":{\"allOf\":[{\"$ref\":\"#/$defs/c\"},{\"$ref\":\"#/$defs/"
        "a\"}]}}}}}");
    assert_int_equal(compile(text.data, &detail), STATUS_INVALID);
}

static void masks_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *prefix;
    } places[] = {
        {"{\"type\":\"string\",\"maxLength\":5}", "\"ab"},
        {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":100}", "\"a"},
        {"{\"type\":\"string\"}", "\"a\\"},
        {"{\"type\":\"string\"}", "\"\xE6\x97"},
        {"{\"type\":\"string\",\"pattern\":\"b.d\",\"maxLength\":12}", "\"xx"},
        {"{\"type\":\"string\",\"pattern\":\"^[a-z]+$\",\"maxLength\":7}", "\"xx"},
        {"{\"anyOf\":[{\"type\":\"string\",\"maxLength\":4},{\"enum\":[\"understanding\",\"under\"]},{\"type\":"
         "\"string\",\"pattern\":\"^[0-9]*$\"}]}",
         "\""},
        {"{\"type\":\"object\",\"properties\":{\"name\":{},\"names\":{\"type\":\"null\"}}}", "{\""},
        {"{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"number\",\"minimum\":-5.5}}}", "{\"name\":"},
        {"{\"type\":\"array\",\"items\":{},\"minItems\":2,\"maxItems\":3}", "[1"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":2},\"maxItems\":30}", "[\"a\",\"b"},
        {"{}", "{\"a\":[1,{\"b\": \""},
        {"{\"type\":\"string\",\"format\":\"date-time\"}", "\"2024-0"},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        grammar *g = grammar_fixture_schema(places[i].schema);
        grammar_fixture_mask_is_exact(g, places[i].prefix);
        grammar_release(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_by_name),
        cmocka_unit_test(hostile_schemas_are_bounded),
        cmocka_unit_test(masks_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, grammar_fixture_close);
}
