#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/text/pretokenize.h"
#include "runtime/text/utf8.h"
#include "tests/text/tokenizer_data.h"

static int open_pattern(void **state)
{
    status_detail detail;
    return pretokenize_open((pretokenize **)state, &detail) == STATUS_OK ? 0 : -1;
}

static int close_pattern(void **state)
{
    pretokenize_close(*state);
    return 0;
}

/* Piece i ends at ends[i], with the hand-written part and without. */
static void check_ends(const pretokenize *p, const char *text, size_t size, const size_t *ends, size_t n)
{
    status_detail detail;
    for (int pattern_only = 0; pattern_only < 2; pattern_only++) {
        pretokenize_scan scan = pretokenize_scan_begin(p, text, size);
        scan.pattern_only = pattern_only;
        for (size_t i = 0; i < n; i++) {
            size_t start;
            assert_int_equal(pretokenize_scan_next(&scan, &start, &detail), STATUS_OK);
            if (scan.position != ends[i])
                fail_msg("piece %zu of \"%s\" is \"%.*s\"", i, text, (int)(scan.position - start), text + start);
        }
        assert_int_equal(scan.position, size);
        pretokenize_scan_end(&scan);
    }
}

static void given_vectors_split_alike(void **state)
{
    json_t *root = tokenizer_data_json("data/tokenizer/split_vectors.json"), *vector, *piece;
    size_t index, at;
    assert_true(json_array_size(root) > 40);
    json_array_foreach(root, index, vector)
    {
        size_t ends[64], end = 0;
        const json_t *text = json_object_get(vector, "text"), *pieces = json_object_get(vector, "pieces");
        assert_true(json_array_size(pieces) <= 64);
        json_array_foreach(pieces, at, piece) ends[at] = end += json_string_length(piece);
        check_ends(*state, json_string_value(text), json_string_length(text), ends, at);
    }
    json_decref(root);
}

static void check_pieces(const pretokenize *p, const char *text, const char *const *pieces, size_t n)
{
    size_t ends[16], end = 0;
    assert_true(n <= 16);
    for (size_t i = 0; i < n; i++) {
        assert_memory_equal(text + end, pieces[i], strlen(pieces[i]));
        ends[i] = end += strlen(pieces[i]);
    }
    check_ends(p, text, strlen(text), ends, n);
}

#define PIECES(p, text, ...)                                                                                           \
    check_pieces(p, text, (const char *const[]){__VA_ARGS__},                                                          \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void edges_split_as_the_pattern_says(void **state)
{
    PIECES(*state, "don't DON'T x'Ll", "don't", " DON'T", " x'Ll");
    PIECES(*state, "it'\xC5\xBF", "it'\xC5\xBF"); /* LONG S is a caseless s */
    PIECES(*state, "it'\xC3\xA9", "it", "'\xC3\xA9");
    PIECES(*state, "HTTPServer", "HTTPServer");
    PIECES(*state, "getURLs aB", "get", "URLs", " a", "B");
    PIECES(*state, "a/b.c", "a", "/b", ".c");
    PIECES(*state, "!?/\r\n/x", "!?/\r\n/", "x");
    PIECES(*state, "  \n \n  x", "  \n \n", " ", " x");
    PIECES(*state, "a\t b \t", "a", "\t", " b", " \t");
    PIECES(*state, "12345", "123", "45");
    PIECES(*state, "12\xD9\xA3\xD9\xA4", "12\xD9\xA3", "\xD9\xA4"); /* Arabic digits count too */
    PIECES(*state,
           "a\xE1\xA0\x8E"
           "b",
           "a",
           "\xE1\xA0\x8E"
           "b"); /* U+180E is no white space */
    PIECES(*state,
           "\xC2\xA0\xC2\xA0"
           "b",
           "\xC2\xA0",
           "\xC2\xA0"
           "b");                            /* NBSP is */
    PIECES(*state, "\x1C\x1D", "\x1C\x1D"); /* these are not, in Unicode */
    PIECES(*state,
           "e\xCC\x81\xCC\x81"
           "E",
           "e\xCC\x81\xCC\x81", "E"); /* a mark is lower case and upper case */
}

/* Random text over what the pattern tells apart: the hand-written part must never disagree with the pattern. */
static void ascii_equals_pattern_on_random_text(void **state)
{
    static const char *const alphabet[] = {
        "a",
        "z",
        "s",
        "t",
        "l",
        "e",
        "r",
        "A",
        "S",
        "L",
        "E",
        "0",
        "9",
        " ",
        " ",
        "\n",
        "\r",
        "\t",
        "\v",
        "\f",
        "'",
        "'",
        "/",
        ".",
        "!",
        "_",
        "@",
        "`",
        "[",
        "{",
        "~",
        "\x01",
        "\x1C",
        "\x1F",
        "\x7F",
        "'s",
        "'ll",
        "'RE",
        "\xC5\xBF",
        "\xC3\xA9",
        "\xC3\x89",
        "\xC2\xA0",
        "\xC2\x85",
        "\xE3\x80\x80",
        "\xCC\x81",
        "\xD9\xA3",
        "\xE6\xBC\xA2",
        "\xE2\x82\xAC",
        "\xC7\x85",
        "\xCA\xB0",
        "\xF0\x9F\x98\x80",
        "\xE2\x84\xAA",
    };
    uint64_t seed = 11;
    status_detail detail;
    size_t by_hand = 0, n_pieces = 0;
    for (int round = 0; round < 200000; round++) {
        char text[128];
        size_t size = 0, n = 1 + tokenizer_data_random(&seed) % 24;
        /* Mostly pure ASCII, sometimes any byte of it, sometimes everything. */
        uint32_t kind = tokenizer_data_random(&seed) % 4;
        for (size_t i = 0; i < n; i++) {
            char byte[2] = {(char)(tokenizer_data_random(&seed) % 128), 0};
            const char *add =
                alphabet[tokenizer_data_random(&seed) % (kind == 0 ? sizeof alphabet / sizeof *alphabet : 38)];
            size_t length = kind == 1 ? 1 : strlen(add);
            memcpy(text + size, kind == 1 ? byte : add, length);
            size += length;
        }
        pretokenize_scan scan = pretokenize_scan_begin(*state, text, size);
        scan.pattern_only = true;
        while (scan.position < size) {
            size_t start;
            assert_int_equal(pretokenize_scan_next(&scan, &start, &detail), STATUS_OK);
            size_t end = pretokenize_ascii(text, size, start);
            if (end != 0 && end != scan.position)
                fail_msg("\"%.*s\" at %zu: by hand %zu, by the pattern %zu", (int)size, text, start, end,
                         scan.position);
            by_hand += end != 0;
            n_pieces++;
        }
        pretokenize_scan_end(&scan);
    }
    /* Were everything left to the pattern, the comparison would say nothing. */
    assert_true(by_hand > n_pieces / 2 && by_hand < n_pieces);
}

/* Pure ASCII is always decided by hand, but for the text's own end nothing is asked of what follows. */
static void ascii_never_gives_up_on_ascii(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int round = 0; round < 100000; round++) {
        char text[16];
        size_t size = 1 + tokenizer_data_random(&seed) % sizeof text;
        for (size_t i = 0; i < size; i++) text[i] = (char)(tokenizer_data_random(&seed) % 128);
        size_t end = pretokenize_ascii(text, size, 0);
        assert_true(end > 0 && end <= size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(given_vectors_split_alike),
        cmocka_unit_test(edges_split_as_the_pattern_says),
        cmocka_unit_test(ascii_equals_pattern_on_random_text),
        cmocka_unit_test(ascii_never_gives_up_on_ascii),
    };
    return cmocka_run_group_tests(tests, open_pattern, close_pattern);
}
