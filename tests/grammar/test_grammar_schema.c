/* What each keyword lets through, and that it stops the rest. Texts are given compact unless white space is the point.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/grammar/grammar_fixture.h"

typedef struct schema_case {
    const char *schema;
    const char *accepted[10], *refused[10]; /* NULL ends a list */
} schema_case;

static void run(const schema_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        grammar *g = grammar_fixture_schema(cases[i].schema);
        grammar_fixture_all(g, cases[i].accepted, true);
        grammar_fixture_all(g, cases[i].refused, false);
        grammar_release(g);
    }
}
#define RUN(cases) run(cases, sizeof(cases) / sizeof *(cases))

static void types(void **state)
{
    (void)state;
    static const schema_case cases[] = {
        {"true", {"1", "\"x\"", "{\"a\":[]}", "[{},[null]]", "-0.5e-3"}, {"", "nul", "01", "1."}},
        {"{\"type\":\"null\"}", {"null"}, {"0", "\"\""}},
        {"{\"type\":\"boolean\"}", {"true", "false"}, {"null", "True"}},
        {"{\"type\":[\"string\",\"null\"]}", {"null", "\"a\""}, {"1"}},
        {"{\"type\":\"integer\"}", {"0", "-12", "123456789012345678901234"}, {"1.0", "-0", "01", "1e3"}},
        {"{\"type\":\"number\"}", {"0", "-12.5", "1e10", "1.5E-199", "-0"}, {".5", "1.", "+1", "1e300", "1e"}},
        {"{\"type\":\"string\",\"nullable\":true,\"maxLength\":1}", {"null", "\"a\""}, {"\"ab\""}},
        {"{\"title\":\"T\",\"description\":\"d\",\"default\":1,\"examples\":[],\"x-any\":{},\"$comment\":\"\"}",
         {"1", "[]"},
         {"x"}},
        {"{\"minLength\":2}", {"\"ab\""}, {"\"a\"", "1"}}, /* a keyword of strings means a string */
        {"{\"properties\":{\"a\":{\"type\":\"null\"}}}", {"{}", "{\"a\":null,\"b\":1}"}, {"[]", "{\"a\":1}"}},
    };
    RUN(cases);
}

static void strings(void **state)
{
    (void)state;
    static const schema_case cases[] = {
        {"{\"type\":\"string\"}",
         {"\"\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83C\\uDF89\"", "\"\xC3\xA9\xF0\x9F\x8E\x89\"", "\"\x7F\""},
         {"\"\n\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"", "\"\xC3\"", "\"\xED\xA0\x80\"", "'a'"}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\"", "\"\\n\\u00e9\"", "\"\\ud83c\\udf89x\""},
         {"\"a\"", "\"abcd\"", "\"\\n\"", "\"\\ud83c\\udf89\""}},
        {"{\"type\":\"string\",\"maxLength\":0}", {"\"\""}, {"\"a\""}},
        {"{\"type\":\"string\",\"pattern\":\"^[a-z]{2}$\"}", {"\"ab\""}, {"\"abc\"", "\"a\"", "\"\\u0061b\""}},
        {"{\"type\":\"string\",\"pattern\":\"b.d\"}",
         {"\"bad\"", "\"xxb\\\"dyy\"", "\"b\\\\d\""},
         {"\"bd\"", "\"b\\nd\"", "\"\""}},
        {"{\"type\":\"string\",\"pattern\":\"^\\\"\\\\n\\u0001\\\\\\\\$\"}",
         {"\"\\\"\\n\\u0001\\\\\""},
         {"\"\\\"\\n\\u0001\""}},
        {"{\"type\":\"string\",\"pattern\":\"a+\",\"minLength\":3,\"maxLength\":4}",
         {"\"xax\"", "\"aaaa\""},
         {"\"a\"", "\"xxx\"", "\"aaaaa\""}},
        {"{\"type\":\"string\",\"pattern\":\"^a{1,3}$\",\"maxLength\":100000}", {"\"aaa\""}, {"\"aaaa\""}},
        {"{\"type\":\"string\",\"pattern\":\"^(?!^[-+.]*$)[+-]?0*\\\\d*\\\\.?\\\\d*$\"}",
         {"\"-12.50\"", "\"0\"", "\".5\""},
         {"\"\"", "\"-\"", "\".\"", "\"1a\""}},
    };
    RUN(cases);
}

static void formats(void **state)
{
    (void)state;
    static const schema_case cases[] = {
        {"{\"type\":\"string\",\"format\":\"date\"}",
         {"\"2024-02-29\"", "\"1999-12-31\""},
         {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-13-01\"", "\"2024-04-31\"", "\"24-01-01\""}},
        {"{\"type\":\"string\",\"format\":\"time\"}",
         {"\"23:59:59Z\"", "\"00:00:00.25+05:30\""},
         {"\"24:00:00Z\"", "\"12:00:00\""}},
        {"{\"type\":\"string\",\"format\":\"date-time\"}",
         {"\"2024-02-29T00:00:00Z\""},
         {"\"2024-02-29\"", "\"2024-02-29 00:00:00Z\""}},
        {"{\"type\":\"string\",\"format\":\"duration\"}",
         {"\"P1DT2H\"", "\"PT0S\"", "\"P3W\""},
         {"\"P\"", "\"P1S\"", "\"PT\""}},
        {"{\"type\":\"string\",\"format\":\"email\"}",
         {"\"a.b+c@example.org\""},
         {"\"a@\"", "\"a b@c.d\"", "\".a@b.c\""}},
        {"{\"type\":\"string\",\"format\":\"hostname\"}",
         {"\"a-b.example.com\"", "\"localhost\""},
         {"\"-a.b\"", "\"a..b\"", "\"\""}},
        {"{\"type\":\"string\",\"format\":\"ipv4\"}",
         {"\"255.0.0.1\""},
         {"\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\""}},
        {"{\"type\":\"string\",\"format\":\"ipv6\"}",
         {"\"::\"", "\"fe80::1\"", "\"1:2:3:4:5:6:7:8\"", "\"::ffff:1.2.3.4\""},
         {"\":::\"", "\"1:2:3:4:5:6:7\"", "\"1::2::3\""}},
        {"{\"type\":\"string\",\"format\":\"uuid\"}",
         {"\"123e4567-E89B-12d3-a456-426614174000\""},
         {"\"123e4567e89b12d3a456426614174000\""}},
        {"{\"type\":\"string\",\"format\":\"uuid4\"}",
         {"\"123e4567-e89b-42d3-a456-426614174000\""},
         {"\"123e4567-e89b-12d3-a456-426614174000\""}},
        {"{\"type\":\"string\",\"format\":\"uri\"}",
         {"\"https://u@example.com:80/a/b?c=d#e\"", "\"mailto:a@b.c\"", "\"http://[::1]/\""},
         {"\"example.com\"", "\"http://a b\""}},
        {"{\"type\":\"string\",\"format\":\"date\",\"pattern\":\"^2\"}", {"\"2024-01-01\""}, {"\"1999-01-01\""}},
        {"{\"type\":\"string\",\"format\":\"password\"}", {"\"\"", "\"x\""}, {"1"}},
    };
    RUN(cases);
}

static void numbers(void **state)
{
    (void)state;
    static const schema_case cases[] = {
        {"{\"type\":\"integer\",\"minimum\":-12,\"maximum\":105}",
         {"-12", "-1", "0", "99", "100", "105"},
         {"-13", "106", "110", "1000", "-100", "-0", "1.0"}},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":10}", {"1", "9"}, {"0", "10", "-1"}},
        {"{\"type\":\"integer\",\"minimum\":0.5,\"maximum\":2.5}", {"1", "2"}, {"0", "3"}},
        {"{\"type\":\"integer\",\"minimum\":9007199254740993}",
         {"9007199254740993", "90071992547409930"},
         {"9007199254740992", "1"}},
        {"{\"type\":\"integer\",\"minimum\":9223372036854775807,\"maximum\":9223372036854775807}",
         {"9223372036854775807"},
         {"9223372036854775806", "9223372036854775808"}},
        {"{\"type\":\"integer\",\"maximum\":-100}", {"-100", "-999"}, {"-99", "0", "100"}},
        {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":10,\"maximum\":30}",
         {"14", "21", "28"},
         {"7", "15", "35"}},
        {"{\"type\":\"number\",\"minimum\":-2.5,\"maximum\":0.125}",
         {"-2.5", "-2.500", "-2.49", "0", "0.125", "0.1", "0.1250"},
         {"-2.51", "0.126", "0.13", "1", "-3", "1e-3"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0.1,\"exclusiveMaximum\":10}",
         {"0.11", "0.1001", "9.999", "1"},
         {"0.1", "0.10", "0", "10", "10.0", "-1"}},
        {"{\"type\":\"number\",\"exclusiveMaximum\":0}", {"-0.1", "-5"}, {"0", "-0", "-0.0", "1"}},
        {"{\"type\":\"number\",\"minimum\":1e21}",
         {"1000000000000000000000", "2000000000000000000000.5"},
         {"999999999999999999999", "1e21"}},
        {"{\"type\":\"number\",\"multipleOf\":0.01,\"minimum\":0}", {"0.07", "12.3", "5"}, {"0.001", "-1"}},
        {"{\"type\":\"integer\",\"format\":\"int32\"}", {"2147483647", "-2147483648"}, {"2147483648", "-2147483649"}},
    };
    RUN(cases);
}

static void values(void **state)
{
    (void)state;
    static const schema_case cases[] = {
        {"{\"const\":\"a\\\"b\"}", {"\"a\\\"b\""}, {"\"a\""}},
        {"{\"enum\":[\"red\",\"re\",1,2.5,null,true]}",
         {"\"red\"", "\"re\"", "1", "2.5", "null", "true"},
         {"\"r\"", "2", "false", "\"redd\""}},
        {"{\"type\":\"string\",\"enum\":[\"a\",1]}", {"\"a\""}, {"1"}},
        {"{\"enum\":[{\"k\":[1,{}]},[]]}", {"{\"k\":[1,{}]}", "{\"k\": [1, {}]}", "[]"}, {"{}", "{\"k\":[1]}"}},
        {"{\"enum\":[\"a\",\"bb\",\"ccc\"],\"minLength\":2,\"pattern\":\"^b\"}", {"\"bb\""}, {"\"a\"", "\"ccc\""}},
        {"{\"enum\":[1,5,9.5],\"minimum\":2,\"exclusiveMaximum\":9.5}", {"5"}, {"1", "9.5"}},
    };
    RUN(cases);
}

static void arrays(void **state)
{
    (void)state;
    static const schema_case cases[] = {
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
         {"[]", "[1]", "[1, 2,3]", "[\n  1,\n  2\n]"},
         {"[1,]", "[\"a\"]", "[,1]", "[1 ,2]"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"minItems\":2,\"maxItems\":3}",
         {"[null,null]", "[null,null,null]"},
         {"[]", "[null]", "[null,null,null,null]"}},
        {"{\"type\":\"array\",\"maxItems\":0}", {"[]"}, {"[1]"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"items\":false}",
         {"[]", "[1]", "[1,\"a\"]"},
         {"[\"a\"]", "[1,\"a\",2]"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"}],\"items\":{\"type\":\"null\"},\"minItems\":1,"
         "\"maxItems\":3}",
         {"[1]", "[1,null,null]"},
         {"[]", "[1,1]", "[1,null,null,null]"}},
        {"{\"type\":\"array\",\"items\":[{\"type\":\"null\"}],\"additionalItems\":false}",
         {"[null]", "[]"},
         {"[null,null]"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{}}}}",
         {"[[[1,{}],[]]]"},
         {"[1]", "[[1]]"}},
        {"{\"type\":\"array\",\"uniqueItems\":false,\"items\":{\"const\":1}}", {"[1,1]"}, {"[2]"}},
    };
    RUN(cases);
}

static void objects(void **state)
{
    (void)state;
    static const schema_case cases[] = {
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"},\"c\":{\"type\":"
         "\"null\"}},\"required\":[\"b\"],\"additionalProperties\":false}",
         {"{\"b\":null}", "{\"a\":1,\"b\":null}", "{ \"a\": 1,\n\"b\": null, \"c\":null }"},
         {"{}", "{\"a\":1}", "{\"b\":null,\"a\":1}", "{\"b\":null,\"d\":1}", "{\"b\":null,}", "{\"b\":null,\"b\":null}",
          "{\"\\u0062\":null}"}},
        {"{\"type\":\"object\"}", {"{}", "{\"\":1,\"a\":{}}"}, {"[]", "{1:2}"}},
        {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
         {"{}", "{\"x\":1,\"y\":2}"},
         {"{\"x\":\"1\"}"}},
        {"{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"null\"},\"ac\":{\"type\":\"null\"}}}",
         {"{\"ab\":null,\"a\":1,\"abc\":2,\"\":3}", "{\"ac\":null}", "{\"x\":1}"},
         {"{\"ab\":1}", "{\"x\":1,\"ab\":null}", "{\"ac\":null,\"ab\":null}", "{\"x\":1,\"ac\":2}"}},
        {"{\"type\":\"object\",\"required\":[\"z\"],\"properties\":{\"a\":true}}",
         {"{\"z\":1}", "{\"a\":1,\"z\":[]}"},
         {"{}", "{\"a\":1}"}},
        {"{\"type\":\"object\",\"properties\":{\"x-a\":{\"maxLength\":1}},\"patternProperties\":{\"^x-\":{\"type\":"
         "\"string\"},\"^id_\":{\"type\":\"integer\"}},\"additionalProperties\":false}",
         {"{\"x-a\":\"1\",\"x-b\":\"22\",\"id_x\":5}"},
         {"{\"x-a\":\"11\"}", "{\"x-b\":1}", "{\"y\":1}", "{\"id_x\":\"5\"}"}},
        {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-z]+$\",\"maxLength\":3},\"additionalProperties\":{"
         "\"type\":\"null\"}}",
         {"{\"abc\":null}", "{}"},
         {"{\"abcd\":null}", "{\"A\":null}", "{\"\":null}"}},
        {"{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"k\",\"l\"]},\"additionalProperties\":{\"type\":\"null\"}"
         "}",
         {"{\"k\":null,\"l\":null}", "{\"l\":null}"},
         {"{\"m\":null}", "{\"k\":1}"}},
        {"{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":2,\"properties\":{\"a\":{\"const\":1},\"b\":{"
         "\"const\":2},\"c\":{\"const\":3}},\"additionalProperties\":false}",
         {"{\"a\":1}", "{\"a\":1,\"c\":3}", "{\"b\":2,\"c\":3}"},
         {"{}", "{\"a\":1,\"b\":2,\"c\":3}"}},
        {"{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":3,\"additionalProperties\":{\"const\":1}}",
         {"{\"a\":1}", "{\"a\":1,\"b\":1,\"c\":1}"},
         {"{}", "{\"a\":1,\"b\":1,\"c\":1,\"d\":1}"}},
        {"{\"type\":\"object\",\"properties\":{\"no\":false,\"a\":{\"const\":1}}}",
         {"{\"a\":1}", "{}"},
         {"{\"no\":1}"}},
    };
    RUN(cases);
}

static void combinations(void **state)
{
    (void)state;
    static const schema_case cases[] = {
        {"{\"anyOf\":[{\"type\":\"string\",\"maxLength\":2},{\"type\":\"integer\"},{\"const\":\"long one\"}]}",
         {"\"ab\"", "12", "\"long one\""},
         {"\"abc\"", "null"}},
        {"{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"integer\",\"maximum\":3},{\"type\":\"integer\",\"minimum\":4}]"
         "}",
         {"\"a\"", "3", "4"},
         {"1.5"}},
        {"{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},{"
         "\"properties\":{\"b\":{\"type\":\"null\"},\"a\":{\"minimum\":5}}}]}",
         {"{\"a\":5}", "{\"a\":7,\"b\":null}"},
         {"{\"a\":4}", "{\"b\":null}", "{\"a\":5,\"b\":1}"}},
        {"{\"allOf\":[{\"properties\":{\"a\":true},\"additionalProperties\":false},{\"properties\":{\"b\":true}}],"
         "\"type\":\"object\"}",
         {"{\"a\":1}", "{}"},
         {"{\"b\":1}", "{\"c\":1}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"additionalProperties\":false,\"anyOf\":[{"
         "\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
         {"{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":2}"},
         {"{}"}},
        {"{\"type\":\"string\",\"allOf\":[{\"minLength\":2},{\"maxLength\":3},{\"pattern\":\"^a\"},{\"pattern\":\"z$\"}"
         "]}",
         {"\"az\"", "\"axz\""},
         {"\"a\"", "\"axxz\"", "\"bz\""}},
        {"{\"allOf\":[{\"enum\":[1,2,3]},{\"enum\":[2,3.0,4]}]}", {"2", "3"}, {"1", "4"}},
        {"{\"$ref\":\"#/$defs/a~1b\",\"$defs\":{\"a/b\":{\"type\":\"null\"}}}", {"null"}, {"1"}},
        {"{\"$ref\":\"#/definitions/"
         "node\",\"definitions\":{\"node\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":{"
         "\"anyOf\":[{\"$ref\":\"#/definitions/"
         "node\"},{\"type\":\"null\"}]}},\"required\":[\"v\",\"next\"],\"additionalProperties\":false}}}",
         {"{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3,\"next\":null}}}"},
         {"{\"v\":1}", "{\"v\":1,\"next\":{}}"}},
        {"{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"maxItems\":2}", {"[]", "[[],[[]]]"}, {"[1]", "[[],[],[]]"}},
        {"{\"allOf\":[{\"$ref\":\"#/$defs/"
         "t\"},{\"properties\":{\"x\":{\"type\":\"null\"}}}],\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{"
         "\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}},\"required\":[\"kids\"]}}}",
         {"{\"kids\":[]}", "{\"kids\":[{\"kids\":[],\"x\":null}]}"},
         {"{}", "{\"kids\":[],\"x\":1}", "{\"kids\":[{}]}"}},
        {"{\"$ref\":\"#/$defs/s\",\"maxLength\":2,\"$defs\":{\"s\":{\"type\":\"string\"}}}", {"\"ab\""}, {"\"abc\""}},
        {"{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}", {"null"}, {"1"}},
    };
    RUN(cases);
}

/* As pydantic writes them: a discriminated union whose tag has a default, an optional field, a decimal, a dict. */
static void pydantic_models(void **state)
{
    (void)state;
    grammar *g = grammar_fixture_schema(
        "{\"$defs\":{\"Cat\":{\"properties\":{\"kind\":{\"const\":\"cat\",\"default\":\"cat\",\"title\":\"Kind\","
        "\"type\":\"string\"},\"lives\":{\"default\":9,\"title\":\"Lives\","
        "\"type\":\"integer\"}},\"title\":\"Cat\",\"type\":\"object\"},\"Dog\":{\"properties\":{\"kind\":{\"const\":"
        "\"dog\",\"default\":\"dog\",\"type\":\"string\"},"
        "\"tags\":{\"additionalProperties\":{\"type\":\"string\"},\"type\":\"object\"}},\"title\":\"Dog\",\"type\":"
        "\"object\"}},"
        "\"properties\":{\"pet\":{\"discriminator\":{\"mapping\":{\"cat\":\"#/$defs/Cat\",\"dog\":\"#/$defs/"
        "Dog\"},\"propertyName\":\"kind\"},"
        "\"oneOf\":[{\"$ref\":\"#/$defs/Cat\"},{\"$ref\":\"#/$defs/"
        "Dog\"}],\"title\":\"Pet\"},\"when\":{\"anyOf\":[{\"format\":\"date-time\",\"type\":\"string\"},{\"type\":"
        "\"null\"}],"
        "\"default\":null},\"price\":{\"anyOf\":[{\"type\":\"number\"},{\"pattern\":\"^(?!^[-+.]*$)[+-]?0*\\\\d*\\\\.?"
        "\\\\d*$\",\"type\":\"string\"}]}},\"required\":[\"pet\",\"price\"],"
        "\"title\":\"Order\",\"type\":\"object\",\"additionalProperties\":false}");
    grammar_fixture_all(
        g,
        (const char *const[]){"{\"pet\":{\"kind\":\"cat\",\"lives\":7},\"price\":1.5}",
                              "{\"pet\":{\"kind\":\"dog\",\"tags\":{\"a\":\"b\"}},\"when\":null,\"price\":\"9.99\"}",
                              NULL},
        true);
    grammar_fixture_all(g,
                        (const char *const[]){"{\"pet\":{\"lives\":7},\"price\":1}",
                                              "{\"pet\":{\"kind\":\"cow\"},\"price\":1}",
                                              "{\"pet\":{\"kind\":\"cat\"}}", NULL},
                        false);
    grammar_release(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),   cmocka_unit_test(strings),      cmocka_unit_test(formats),
        cmocka_unit_test(numbers), cmocka_unit_test(values),       cmocka_unit_test(arrays),
        cmocka_unit_test(objects), cmocka_unit_test(combinations), cmocka_unit_test(pydantic_models),
    };
    return cmocka_run_group_tests(tests, NULL, grammar_fixture_close);
}
