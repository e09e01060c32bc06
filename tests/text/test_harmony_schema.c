/* JSON schema to TypeScript, rule by rule. Whole developer messages are compared in test_harmony_render.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "runtime/text/harmony.h"
#include "runtime/text/harmony_json.h"

static void assert_typescript(const char *schema, const char *expected)
{
    json_error_t error;
    json_t *value = json_loads(schema, JSON_DECODE_ANY, &error);
    if (!value) fail_msg("%s: %s", schema, error.text);
    buffer out = {0};
    buffer_append_text(&out, "");
    assert_true(harmony_schema_typescript(value, &out));
    assert_string_equal(out.data, expected);
    buffer_free(&out);
    json_decref(value);
}

static void simple_types(void **state)
{
    (void)state;
    assert_typescript("{\"type\":\"string\"}", "string");
    assert_typescript("{\"type\":\"integer\"}", "number");
    assert_typescript("{\"type\":\"number\"}", "number");
    assert_typescript("{\"type\":\"boolean\"}", "boolean");
    assert_typescript("{\"type\":\"array\"}", "Array<any>");
    assert_typescript("{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "number[]");
    assert_typescript("{\"type\":[\"integer\",\"null\",4,\"string\"]}", "number | null | string");
    assert_typescript("{\"type\":\"object\",\"properties\":{}}", "{\n}");
}

static void what_the_format_does_not_know_is_any(void **state)
{
    (void)state;
    const char *const unknown[] = {"{}",
                                   "true",
                                   "3",
                                   "[]",
                                   "{\"type\":\"null\"}",
                                   "{\"type\":[]}",
                                   "{\"type\":[3]}",
                                   "{\"anyOf\":[{\"type\":\"string\"}]}",
                                   "{\"$ref\":\"#/x\"}",
                                   "{\"const\":1}",
                                   "{\"enum\":[\"a\"]}",
                                   "{\"oneOf\":{\"type\":\"string\"}}"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) assert_typescript(unknown[i], "any");
}

static void enums(void **state)
{
    (void)state;
    assert_typescript("{\"type\":\"string\",\"enum\":[\"a\",1,\"b\"]}", "\"a\" | \"b\"");
    assert_typescript("{\"type\":\"string\",\"enum\":[1,null]}", "string");
    assert_typescript("{\"type\":\"array\",\"items\":{\"type\":\"string\",\"enum\":[\"a\",\"b\"]}}", "\"a\" | \"b\"[]");
}

static void properties(void **state)
{
    (void)state;
    assert_typescript("{\"type\":\"object\",\"required\":[\"b\",\"nowhere\",3],\"properties\":{\"z\":{\"type\":"
                      "\"string\"},\"b\":{\"type\":\"integer\"},\"a\":true}}",
                      "{\nz?: string,\nb: number,\na?: any,\n}");
    assert_typescript(
        "{\"type\":\"object\",\"description\":\"D\",\"properties\":{\"o\":{\"type\":\"object\",\"title\":\"T\","
        "\"description\":\"two\\nlines\","
        "\"properties\":{\"x\":{\"type\":\"boolean\",\"description\":\"X\"}}}}}",
        "// D\n{\n// T\n//\n// two\nlines\no?:     // two\nlines\n{\n    // X\n    x?: boolean,\n    },\n}");
    assert_typescript("{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\",\"examples\":[\"e\",2]},\"t\":{"
                      "\"type\":\"string\",\"examples\":[2]}}}",
                      "{\n// Examples:\n// - \"e\"\ns?: string,\n// Examples:\nt?: string,\n}");
}

static void defaults(void **state)
{
    (void)state;
    assert_typescript(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"default\":\"q\\\"\"},"
        "\"b\":{\"type\":\"string\",\"enum\":[\"k\"],\"default\":\"k\"},\"c\":{\"type\":\"number\",\"default\":1.0},"
        "\"d\":{\"default\":{\"x\":[null,\"\\u0001\\n\"]}},\"e\":{\"type\":\"number\",\"default\":null}}}",
        "{\na?: string, // default: \"q\"\"\nb?: \"k\", // default: k\nc?: number, // default: 1.0\n"
        "d?: any, // default: {\"x\":[null,\"\\u0001\\n\"]}\ne?: number, // default: null\n}");
}

static void nullable(void **state)
{
    (void)state;
    assert_typescript("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"nullable\":true},\"b\":{"
                      "\"type\":\"string\",\"nullable\":\"yes\"},"
                      "\"c\":{\"type\":[\"string\",\"null\"],\"nullable\":true}}}",
                      "{\na?: string | null,\nb?: string,\nc?: string | null,\n}");
    /* The word in a comment inside the type counts, too. */
    assert_typescript("{\"type\":\"object\",\"properties\":{\"o\":{\"type\":\"object\",\"nullable\":true,"
                      "\"properties\":{\"x\":{\"type\":\"number\",\"default\":null}}}}}",
                      "{\no?: {\n    x?: number, // default: null\n    },\n}");
}

static void one_of(void **state)
{
    (void)state;
    assert_typescript("{\"oneOf\":[{\"type\":\"string\",\"enum\":[\"K\"],\"default\":\"K\",\"description\":\"first\"},{"
                      "\"type\":\"number\",\"nullable\":true}]}",
                      "\n | \"K\" // first default: \"K\"\n | number | null");
    assert_typescript("{\"oneOf\":[]}", "");
    assert_typescript("{\"type\":\"object\",\"properties\":{\"p\":{\"oneOf\":[{\"type\":\"string\",\"enum\":[\"K\"],"
                      "\"default\":\"K\",\"description\":\"v\"},"
                      "{\"type\":\"number\",\"description\":\"above\"},{\"type\":\"boolean\",\"description\":\"w\"}],"
                      "\"description\":\"above\",\"default\":20}}}",
                      "{\n// above\n// default: 20\np?:\n | \"K\" // default: K\n | number\n | boolean // w\n,\n}");
    assert_typescript("{\"type\":\"object\",\"properties\":{\"p\":{\"oneOf\":[{\"type\":\"string\",\"description\":"
                      "\"same\"}],\"description\":\"same\"}}}",
                      "{\np?:\n | string\n,\n}");
}

static void assert_double(double value, const char *expected)
{
    buffer out = {0};
    assert_true(harmony_json_write_double(value, &out));
    assert_string_equal(out.data, expected);
    buffer_free(&out);
}

/* Printed by serde_json through the library. */
static void doubles_print_as_in_the_library(void **state)
{
    (void)state;
    const struct {
        double value;
        const char *text;
    } cases[] = {{1.0, "1.0"},
                 {0.1, "0.1"},
                 {1e21, "1e21"},
                 {1e16, "1e16"},
                 {1e15, "1000000000000000.0"},
                 {123456789012345680.0, "1.2345678901234568e17"},
                 {1e-5, "0.00001"},
                 {1e-6, "1e-6"},
                 {1.5e-7, "1.5e-7"},
                 {-0.0, "-0.0"},
                 {5e-324, "5e-324"},
                 {1.7976931348623157e308, "1.7976931348623157e308"},
                 {1e3, "1000.0"},
                 {12345678.0, "12345678.0"},
                 {0.00001234567, "0.00001234567"},
                 {18446744073709551616.0, "1.8446744073709552e19"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) assert_double(cases[i].value, cases[i].text);
    assert_double(0x1p-44, "5.684341886080802e-14"); /* the nearest 16 digits do not read back, the next ones up do */
    assert_double(9007199254740993.0, "9007199254740992.0");
}

static size_t digits_of(const char *text)
{
    size_t count = 0, zeros = 0;
    for (const char *c = text; *c && *c != 'e'; c++) {
        if (*c < '0' || *c > '9') continue;
        if (count || *c != '0') count++;
        zeros = *c == '0' ? zeros + 1 : 0;
    }
    return count > zeros ? count - zeros : 1;
}

static void random_doubles_read_back_and_are_shortest(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 100000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        double value;
        memcpy(&value, &random, sizeof value);
        if (i % 2) value = (double)(int64_t)(random % 20000000) / 1000;
        if (!isfinite(value)) continue;
        buffer out = {0};
        assert_true(harmony_json_write_double(value, &out));
        assert_true(strtod(out.data, NULL) == value);
        size_t digits = digits_of(out.data);
        if (digits > 1) {
            char shorter[64];
            snprintf(shorter, sizeof shorter, "%.*e", (int)digits - 2, value);
            assert_true(strtod(shorter, NULL) != value);
        }
        buffer_free(&out);
    }
}

static void integers_and_depth(void **state)
{
    (void)state;
    assert_typescript("{\"type\":\"object\",\"properties\":{\"a\":{\"default\":9223372036854775807},\"b\":{\"default\":"
                      "-9223372036854775808}}}",
                      "{\na?: any, // default: 9223372036854775807\nb?: any, // default: -9223372036854775808\n}");
    json_t *schema = json_pack("{s:s}", "type", "string");
    for (int i = 1; i < HARMONY_JSON_DEPTH; i++) schema = json_pack("{s:s, s:o}", "type", "array", "items", schema);
    buffer out = {0};
    buffer_append_text(&out, "kept");
    assert_true(harmony_schema_typescript(schema, &out));
    out.data[out.size = 4] = '\0';
    schema = json_pack("{s:s, s:o}", "type", "array", "items", schema);
    assert_false(harmony_schema_typescript(schema, &out));
    assert_string_equal(out.data, "kept");
    buffer_free(&out);
    json_decref(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_types),
        cmocka_unit_test(what_the_format_does_not_know_is_any),
        cmocka_unit_test(enums),
        cmocka_unit_test(properties),
        cmocka_unit_test(defaults),
        cmocka_unit_test(nullable),
        cmocka_unit_test(one_of),
        cmocka_unit_test(doubles_print_as_in_the_library),
        cmocka_unit_test(random_doubles_read_back_and_are_shortest),
        cmocka_unit_test(integers_and_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
