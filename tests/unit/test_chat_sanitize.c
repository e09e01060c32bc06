/* What may reach a terminal. */
#include <string.h>

#include "launch/chat_sanitize.h"
#include "tests/unit/cmocka_headers.h"

#define BAD "\xEF\xBF\xBD"

static const struct {
    const char *given, *shown;
} cases[] = {
    {"plain\ttext\n", "plain\ttext\n"},
    {"\033]0;title\007x", BAD "]0;title" BAD "x"},      /* would set the window's title */
    {"\033[2J\033[6n", BAD "[2J" BAD "[6n"},            /* would clear the screen, and make it answer */
    {"\xC2\x9B" "31m", BAD "31m"},                      /* CSI as one C1 character */
    {"\xC2\x80\xC2\x9F\xC2\xA0", BAD BAD "\xC2\xA0"},   /* the borders of C1 */
    {"a\rb\bc\x7F\x01", "a" BAD "b" BAD "c" BAD BAD},
    {"caf\xC3\xA9 \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80", "caf\xC3\xA9 \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80"},
    {"\xE2\x80\xAE" "abc\xE2\x81\xA6", BAD "abc" BAD},  /* right-to-left override, isolate */
    {"\xE2\x80\xA9\xE2\x80\xAF\xE2\x81\xA5", "\xE2\x80\xA9\xE2\x80\xAF\xE2\x81\xA5"}, /* their neighbours */
    {"\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB", "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB"}, /* joined emoji */
    {"\x9B" "31m\xFF", BAD "31m" BAD},                  /* broken UTF-8: a bare C1 byte */
    {"cut \xE4\xBD", "cut " BAD},
};

static void any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t n = strlen(cases[i].given), cut = 0; cut <= n; cut++) {
            chat_sanitizer s = {0};
            buffer out = {0};
            assert_true(chat_sanitize_push(&s, cases[i].given, cut, &out));
            assert_true(chat_sanitize_push(&s, cases[i].given + cut, n - cut, &out));
            assert_true(chat_sanitize_finish(&s, &out));
            assert_string_equal(out.data, cases[i].shown);
            buffer_free(&out);
        }
}

static void every_byte_pair_comes_out_harmless(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second++) {
            const char given[] = {(char)first, (char)second};
            chat_sanitizer s = {0};
            buffer out = {0};
            assert_true(chat_sanitize_push(&s, given, 2, &out) && chat_sanitize_finish(&s, &out));
            assert_true(utf8_valid(out.data, out.size));
            for (size_t i = 0; i < out.size; i++) {
                unsigned char c = (unsigned char)out.data[i];
                assert_true((c >= 0x20 || c == '\t' || c == '\n') && c != 0x7F);
                if (c == 0xC2) assert_true((unsigned char)out.data[i + 1] >= 0xA0);
            }
            buffer_free(&out);
        }
}

static void one_line(void **state)
{
    (void)state;
    buffer out = {0};
    assert_true(chat_sanitize_line("a\nb\tc\033", 6, 100, &out));
    assert_string_equal(out.data, "a b c" BAD);
    buffer_clear(&out);
    assert_true(chat_sanitize_line("ab\xE4\xBD\xA0" "c", 6, 4, &out)); /* no half character */
    assert_string_equal(out.data, "ab");
    assert_int_equal(out.size, 2);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_cut), cmocka_unit_test(every_byte_pair_comes_out_harmless), cmocka_unit_test(one_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
