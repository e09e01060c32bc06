/* Masks of strings with a pattern, a format or a length are exact wherever they are asked for: far from a limit, within
 * a token of it, at escapes, at cut characters, at the quote and behind it. These masks come from classes of tokens
 * (token_classes.h), and what each may hold is found a second time from the bytes that the matcher takes. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/grammar/utf8_ranges.h"
#include "runtime/grammar/vocab_text.h"
#include "tests/grammar/grammar_fixture.h"

typedef struct place {
    const char *rules; /* of a string, or a schema in braces */
    const char *prefix;
} place;

static void exact_in_strings(void **state)
{
    (void)state;
    static const place places[] = {
        {"\"format\":\"email\"", "\"joe"},
        {"\"format\":\"email\"", "\"abcdefghijklmnopqr"}, /* two before the end of an atom */
        {"\"format\":\"email\",\"maxLength\":20", "\"joe.doe@example"},
        {"\"format\":\"hostname\"", "\"a-b.c"},
        {"\"format\":\"uri\",\"maxLength\":40", "\"https://example.com/a%2"},
        {"\"pattern\":\"^[a-z]+(-[a-z]+)*$\",\"maxLength\":40", "\"some"},
        {"\"pattern\":\"^[a-z]+(-[a-z]+)*$\",\"maxLength\":9", "\"some"},
        {"\"pattern\":\"^[a-z]+(-[a-z]+)*$\",\"maxLength\":9", "\"some-wor"}, /* no room for '-' and a letter */
        {"\"pattern\":\"^[A-Za-z]+( [A-Za-z]+)*$\",\"minLength\":9", "\"five"},
        {"\"pattern\":\"[.!?]$\",\"maxLength\":200", "\"Well"},
        {"\"pattern\":\"[.!?]$\",\"maxLength\":8", "\"Well"},
        {"\"pattern\":\"^[^<>]{0,9}$\"", "\"a\\n\\\""}, /* each escape is one character */
        {"\"pattern\":\"^[^<>]{0,900}$\"", "\"\\u001f"},
        {"\"pattern\":\"^\\\\S+@\\\\S+$\",\"maxLength\":12", "\"\xC3\xA9@"},
        {"\"pattern\":\"[\\n\\t]\",\"maxLength\":6", "\"ab"}, /* only by escapes */
        {"\"pattern\":\"^(\\\\w{1,4} ){1,3}$\"", "\"ab cd"},
        {"\"pattern\":\"^[\xD0\xB0-\xD1\x8F]{1,5}$\"", "\"\xD0\xB4\xD0\xB0"},
        {"\"pattern\":\"^[\xD0\xB0-\xD1\x8F]{1,5}$\"", "\"\xD0\xB4\xD0"},
        {"\"pattern\":\"^.{2,5}$\"", "\"\xE6\x97\xA5"},
        {"\"pattern\":\"^(?!ab)[a-d ]{2,60}$\"", "\"a"},
        {"{\"anyOf\":[{\"type\":\"string\",\"format\":\"email\"},{\"type\":\"string\",\"maxLength\":3},{\"enum\":["
         "\"joe\"]}]}",
         "\"jo"},
        {"{\"anyOf\":[{\"type\":\"string\",\"maxLength\":9},{\"type\":\"string\",\"minLength\":4,\"maxLength\":12}]}",
         "\"abc"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^[a-z ]{2,9}$\"},\"maxItems\":3}",
         "[\"ab\",\"one tw"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^[a-z ]{2,9}$\"},\"maxItems\":2}",
         "[\"ab\",\"one tw"},
        {"{\"type\":\"object\",\"patternProperties\":{\"^x-[a-z]{1,9}$\":{\"type\":\"null\"}},\"additionalProperties\":"
         "{\"type\":"
         "\"string\"}}",
         "{\"x"},
        {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-z_]*$\",\"maxLength\":7}}", "{\"nam"},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char schema[512];
        bool whole = places[i].rules[0] == '{';
        snprintf(schema, sizeof schema, whole ? "%s" : "{\"type\":\"string\",%s}", places[i].rules);
        grammar *g = grammar_fixture_schema(schema);
        grammar_fixture_mask_is_exact(g, places[i].prefix);
        grammar_release(g);
    }
}

static void exact_in_regexes(void **state)
{
    (void)state;
    static const place places[] = {
        {"[A-Za-z ]{1,9}", "five w"},
        {"(\"[^\"\\\\]{0,5}\",?)*", "\"ab\",\"c"},
        {"[^\\n]{3,40}\\n?", "\xE6\x97\xA5"},
        {"[a-z]+@[a-z]+\\.(com|org)", "joe@exampl"},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        grammar *g = grammar_fixture_regex(places[i].rules);
        grammar_fixture_mask_is_exact(g, places[i].prefix);
        grammar_release(g);
    }
}

/* Grammars without recursion get one automaton. */
static void exact_in_ebnf(void **state)
{
    (void)state;
    static const place places[] = {
        {"root ::= word (\" \" word){0,3} \".\"\nword ::= [a-z]{1,6}", "one t"},
        {"root ::= (\"- \" [^\\n]{1,20} \"\\n\"){1,2}", "- a line\n- anothe"},
        {"root ::= (\"- \" [^\\n]{1,20} \"\\n\"){1,2}", "- a line\n- another \xE2\x80"},
        {"root ::= \"(\" root \")\" | [a-z]{1,6}", "((ab"},
        {"root ::= \"\\xE6\" [a-z]{0,6}", "\xC3"},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        grammar *g = grammar_fixture_ebnf(places[i].rules);
        grammar_fixture_mask_is_exact(g, places[i].prefix);
        grammar_release(g);
    }
}

/* What is remembered of one place is not taken for another: of lengths that are all far from the limit and some that
 * are not, of elements that are the last and others. */
static void exact_again(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"[\"some-w",
                                           "[\"some-words-w",
                                           "[\"a\",\"some-w",
                                           "[\"some-words-w",
                                           "[\"some-words-to-fill-it",
                                           "[\"a\",\"some-words-to-fill-it",
                                           "[\"some-words-to-fill-it-al"};
    grammar *g =
        grammar_fixture_schema("{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^[a-z]+(-[a-z]+)*$\","
                               "\"maxLength\":30},\"maxItems\":2}");
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) grammar_fixture_mask_is_exact(g, prefixes[i]);
    grammar_release(g);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, STEPS = 400 };

typedef struct walk {
    grammar *g;
    uint32_t seed;
    uint64_t digest; /* of all its masks */
    bool failed;
} walk;

/* The `skip`-th id of the mask, or the first one behind it. */
static int32_t pick(const uint32_t *bits, uint32_t skip)
{
    size_t words = grammar_vocab_words(grammar_fixture_vocab());
    for (size_t i = 0; i < words; i++) {
        size_t w = (skip + i) % words;
        if (bits[w]) return (int32_t)(w * 32) + __builtin_ctz(bits[w]);
    }
    return -1;
}

/* Texts one after the other. What comes depends on masks and the seed alone. */
static void *walk_texts(void *argument)
{
    walk *w = argument;
    size_t words = grammar_vocab_words(grammar_fixture_vocab());
    uint32_t *bits = malloc(words * sizeof *bits), random = w->seed;
    grammar_matcher *m = NULL;
    w->digest = 0;
    w->failed = !bits || grammar_matcher_open(w->g, &m, NULL) != STATUS_OK;
    for (int i = 0; i < STEPS && !w->failed; i++) {
        random = random * 1664525 + 1013904223;
        if (!grammar_matcher_may_continue(m)) {
            grammar_matcher_close(m);
            m = NULL;
            if (grammar_matcher_open(w->g, &m, NULL) != STATUS_OK) break;
        }
        w->failed |= grammar_matcher_mask(m, bits, NULL) != STATUS_OK;
        for (size_t k = 0; k < words; k++) w->digest = (w->digest ^ bits[k]) * UINT64_C(0x100000001B3);
        int32_t quote = '"' - '!'; /* o200k's first ids are the printable characters of ASCII */
        bool close = random >> 30 == 0 && bits[quote / 32] >> quote % 32 & 1;
        w->failed |= !grammar_matcher_accept(m, close ? quote : pick(bits, random >> 8));
    }
    grammar_matcher_close(m);
    free(bits);
    return NULL;
}

/* Sequences that share a grammar find what each would find alone, whoever of them was first somewhere. */
static void threads_find_the_same(void **state)
{
    (void)state;
    static const char schema[] = "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"string\",\"format\":\"email\"},"
                                 "{\"type\":\"string\",\"pattern\":"
                                 "\"^[A-Z][a-z ]*[.]$\",\"maxLength\":40},{\"type\":\"string\",\"maxLength\":9}]}}";
    walk alone[THREADS], together[THREADS];
    pthread_t threads[THREADS];
    grammar *shared = grammar_fixture_schema(schema);
    for (uint32_t i = 0; i < THREADS; i++) {
        alone[i] = (walk){.g = grammar_fixture_schema(schema), .seed = i};
        walk_texts(&alone[i]);
        assert_false(alone[i].failed);
        grammar_release(alone[i].g);
        together[i] = (walk){.g = shared, .seed = i};
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, walk_texts, &together[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(together[i].failed);
        assert_true(together[i].digest == alone[i].digest);
    }
    grammar_release(shared);
}

/* ---- characters that are cut off --------------------------------------------------------------------------------- */

static uint32_t count_chars(const vocab_text_cut *cut)
{
    uint32_t n = 0;
    for (size_t i = 0; i < cut->n; i++) n += cut->ranges[i].high - cut->ranges[i].low + 1;
    return n;
}

static bool may_become(const vocab_text_cut *cut, uint32_t c)
{
    for (size_t i = 0; i < cut->n; i++)
        if (cut->ranges[i].low <= c && c <= cut->ranges[i].high) return true;
    return false;
}

/* Each beginning of a character is one of just those characters that begin so, which are neighbours. */
static void utf8_is_cut_anywhere(void **state)
{
    (void)state;
    uint8_t last[4] = {0};
    vocab_text_cut cuts[4] = {{.n = 0}};
    uint32_t counts[4] = {0}, read;
    for (uint32_t c = 0x80; c <= CHARSET_LAST; c++) {
        uint8_t bytes[4];
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        size_t size = (size_t)utf8_ranges_encode(c, bytes);
        vocab_text_cut cut;
        assert_int_equal(vocab_text_char(bytes, size, EXPR_UTF8, &read, &cut), size);
        assert_int_equal(read, c);
        for (size_t n = 1; n < size; n++) {
            assert_int_equal(vocab_text_char(bytes, n, EXPR_JSON, &read, &cut), 0);
            assert_true(may_become(&cut, c));
            if (memcmp(bytes, last, n) != 0) {
                assert_int_equal(counts[n], count_chars(&cuts[n]));
                cuts[n] = cut;
                counts[n] = 0;
            }
            counts[n]++;
        }
        memcpy(last, bytes, sizeof last);
    }
    for (size_t n = 1; n < 4; n++) assert_int_equal(counts[n], count_chars(&cuts[n]));
    static const char *const never[] = {"\x80",         "\xC0\x80",     "\xC1",     "\xE0\x80", "\xED\xA0",
                                        "\xED\xA0\x80", "\xF0\x80",     "\xF4\x90", "\xF5",     "\xFF",
                                        "\xE2\x28",     "\xE2\x82\x28", "\xC3\xC3"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        vocab_text_cut cut;
        assert_int_equal(vocab_text_char((const unsigned char *)never[i], strlen(never[i]), EXPR_UTF8, &read, &cut),
                         -1);
    }
}

/* In strings with a pattern, characters are escaped only where JSON needs it. */
static void escapes_are_cut_anywhere(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int size;   /* as vocab_text_char() says it */
        uint32_t c; /* size > 0: the character; 0: how many it can become */
    } escapes[] = {{"\\n", 2, '\n'},     {"\\\"", 2, '"'},   {"\\\\", 2, '\\'},  {"\\u001F", 6, 0x1F},
                   {"\\u000a", 6, '\n'}, {"\\tab", 2, '\t'}, {"\\", 0, 34},      {"\\u", 0, 32},
                   {"\\u0", 0, 32},      {"\\u00", 0, 32},   {"\\u000", 0, 16},  {"\\u001", 0, 16},
                   {"\\/", -1, 0},       {"\\u002", -1, 0},  {"\\u0020", -1, 0}, {"\\ud83d", -1, 0},
                   {"\\u00e9", -1, 0},   {"\\u000g", -1, 0}, {"\"", -1, 0},      {"\n", -1, 0},
                   {"\x7F", 1, 0x7F}};
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        uint32_t c = 0;
        vocab_text_cut cut = {.n = 0};
        const unsigned char *text = (const unsigned char *)escapes[i].text;
        assert_int_equal(vocab_text_char(text, strlen(escapes[i].text), EXPR_JSON, &c, &cut), escapes[i].size);
        if (escapes[i].size > 0) assert_int_equal(c, escapes[i].c);
        if (escapes[i].size == 0) assert_int_equal(count_chars(&cut), escapes[i].c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_in_strings),
        cmocka_unit_test(exact_in_regexes),
        cmocka_unit_test(exact_in_ebnf),
        cmocka_unit_test(exact_again),
        cmocka_unit_test(threads_find_the_same),
        cmocka_unit_test(utf8_is_cut_anywhere),
        cmocka_unit_test(escapes_are_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, grammar_fixture_close);
}
