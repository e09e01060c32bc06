#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/text/utf8.h"

#define BAD "\xEF\xBF\xBD"

/* `repaired` NULL: valid as it is. Expected values: Unicode 15, section 3.9, tables 3-8 to 3-11, and Rust's
 * from_utf8_lossy. */
static const struct {
    const char *bytes, *repaired;
} cases[] = {
    {"", NULL},
    {"plain ASCII, longer than a word", NULL},
    {"\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF", NULL},
    {"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80", NULL},
    {"12345678\xC3\xA9"
     "1234567\xC3\xA9",
     NULL},
    {"a\x80z", "a" BAD "z"},
    {"\xBF\xBF", BAD BAD},
    {"\xC0\x80", BAD BAD}, /* overlong NUL */
    {"\xC1\xBF", BAD BAD},
    {"\xE0\x9F\xBF", BAD BAD BAD}, /* overlong in three bytes */
    {"\xF0\x8F\xBF\xBF", BAD BAD BAD BAD},
    {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", BAD BAD BAD BAD BAD BAD BAD BAD "A"}, /* surrogates, table 3-9 */
    {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", BAD BAD BAD BAD BAD "A" BAD BAD "B"}, /* table 3-10 */
    {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", BAD BAD BAD BAD "A"},                 /* table 3-11 */
    {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", BAD BAD BAD BAD BAD BAD BAD BAD "A"}, /* table 3-8 */
    {"\xF5\x80\x80\x80", BAD BAD BAD BAD},
    {"ab\xC3", "ab" BAD},
    {"ab\xE2\x82", "ab" BAD},
    {"ab\xF0\x9F\x98", "ab" BAD},
    {"\xF0\x9F\x98\xF0\x9F\x98\x80", BAD "\xF0\x9F\x98\x80"},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static const char *expected(size_t i) { return cases[i].repaired ? cases[i].repaired : cases[i].bytes; }

static void validity_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++)
        assert_int_equal(utf8_valid(cases[i].bytes, strlen(cases[i].bytes)), !cases[i].repaired);
    assert_true(utf8_valid("a\0b", 3));
}

static void maximal_subparts_are_replaced(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        buffer out = {0};
        assert_true(buffer_append_text(&out, "<"));
        assert_true(utf8_repair(cases[i].bytes, strlen(cases[i].bytes), &out));
        assert_string_equal(out.data + 1, expected(i));
        assert_true(utf8_valid(out.data, out.size));
        buffer_free(&out);
    }
}

/* Every code point encodes to something valid, and every cut of it is not. */
static void all_code_points_pass(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char s[4];
        size_t n = 0;
        if (c >= 0x800) s[n++] = (char)(c < 0x10000 ? 0xE0 | c >> 12 : 0xF0 | c >> 18);
        if (c >= 0x10000) s[n++] = (char)(0x80 | (c >> 12 & 0x3F));
        if (c >= 0x80) s[n++] = (char)(c < 0x800 ? 0xC0 | c >> 6 : 0x80 | (c >> 6 & 0x3F));
        s[n++] = (char)(c < 0x80 ? c : 0x80 | (c & 0x3F));
        bool surrogate = c >= 0xD800 && c < 0xE000;
        assert_int_equal(utf8_valid(s, n), !surrogate);
        if (n > 1) assert_false(utf8_valid(s, n - 1) || utf8_valid(s + 1, n - 1));
    }
}

/* After each byte everything that is complete has left, and nothing that is not. */
static void stream_lets_whole_characters_through(void **state)
{
    (void)state;
    utf8_stream s = {0};
    buffer out = {0};
    assert_true(utf8_stream_push(&s, " \xF0\x9F", 3, &out));
    assert_string_equal(out.data, " ");
    assert_true(utf8_stream_push(&s, "\x98", 1, &out));
    assert_string_equal(out.data, " ");
    assert_true(utf8_stream_push(&s, "\x80\xC3", 2, &out));
    assert_string_equal(out.data, " \xF0\x9F\x98\x80");
    assert_true(utf8_stream_push(&s, "x", 1, &out));
    assert_string_equal(out.data, " \xF0\x9F\x98\x80" BAD "x");
    assert_true(utf8_stream_push(&s, "\xE2\x82", 2, &out));
    assert_true(utf8_stream_finish(&s, &out));
    assert_string_equal(out.data, " \xF0\x9F\x98\x80" BAD "x" BAD);
    assert_true(utf8_stream_finish(&s, &out));
    assert_true(utf8_stream_push(&s, "\xC3\xA9", 2, &out));
    assert_string_equal(out.data, " \xF0\x9F\x98\x80" BAD "x" BAD "\xC3\xA9");
    buffer_free(&out);
}

static void stream_equals_repair_however_cut(void **state)
{
    (void)state;
    static const char alphabet[] = "aZ\x80\xBF\x9F\xA0\x8F\x90\xC3\xA9\xE2\x82\xAC\xE0\xED\xF0\x9F\x98\x80\xF4\xFF\xC0";
    srand(7);
    for (int round = 0; round < 20000; round++) {
        char text[24];
        size_t n = (size_t)rand() % sizeof text;
        for (size_t i = 0; i < n; i++) text[i] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        buffer whole = {0}, pieces = {0};
        utf8_stream s = {0};
        assert_true(buffer_append_text(&whole, "") && buffer_append_text(&pieces, ""));
        assert_true(utf8_repair(text, n, &whole));
        for (size_t at = 0, step; at < n; at += step) {
            step = 1 + (size_t)rand() % 5;
            if (step > n - at) step = n - at;
            assert_true(utf8_stream_push(&s, text + at, step, &pieces));
            assert_true(utf8_valid(pieces.data, pieces.size));
        }
        assert_true(utf8_stream_finish(&s, &pieces));
        assert_int_equal(whole.size, pieces.size);
        assert_memory_equal(whole.data, pieces.data, whole.size);
        buffer_free(&whole);
        buffer_free(&pieces);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(validity_is_told),
        cmocka_unit_test(maximal_subparts_are_replaced),
        cmocka_unit_test(all_code_points_pass),
        cmocka_unit_test(stream_lets_whole_characters_through),
        cmocka_unit_test(stream_equals_repair_however_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
