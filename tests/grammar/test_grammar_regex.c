#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/grammar/grammar_fixture.h"

typedef struct regex_case {
    const char *regex;
    const char *accepted[6], *refused[6]; /* NULL ends a list */
} regex_case;

static const regex_case cases[] = {
    {"abc", {"abc"}, {"", "ab", "abcd", "xabc"}},
    {"^abc$", {"abc"}, {"abcd"}},
    {"a|bc|", {"a", "bc", ""}, {"b", "abc"}},
    {"a*b+c?", {"b", "aabbc", "bc"}, {"", "a", "acc", "cb"}},
    {"a{2}b{1,3}c{2,}", {"aabcc", "aabbbcccc"}, {"abcc", "aabc", "aabbbbcc"}},
    {"(ab){0,2}", {"", "ab", "abab"}, {"a", "ababab"}},
    {"(a?){3}", {"", "a", "aaa"}, {"aaaa"}},
    {"((a*)*b?){2,3}", {"", "aaa", "abab", "bbb"}, {"bbbb", "c"}},
    {"[a-c-]x", {"ax", "-x"}, {"dx", "x"}},
    {"[^a-c]", {"d", "\xC3\xA9", "\xF0\x9F\x8E\x89", "\n"}, {"a", "dd", ""}},
    {".", {"x", "\xE6\x97\xA5"}, {"\n", "\r", ""}},
    {"\\d{3}-\\w+\\s", {"123-a_Z9 ", "000-x\t"}, {"12-a ", "123-\xC3\xA9 ", "123-a"}},
    {"\\D\\W\\S", {"a-b", "\xC3\xA9\xC3\xA9\xC3\xA9"}, {"1-b", "aab", "a- "}},
    {"\\x41\\u0042\\u{1F389}\\n\\.\\/", {"AB\xF0\x9F\x8E\x89\n./"}, {"AB"}},
    {"[\\x00-\\x1f]", {"\x01", "\t"}, {" "}},
    {"(?:a|b)(?<name>c)(?P<other>d)", {"acd", "bcd"}, {"cd"}},
    {"a+?b", {"ab", "aab"}, {"b"}},
    {"(^a|b)c", {"ac", "bc"}, {"c"}},
    {"a(b$|c$)", {"ab", "ac"}, {"a"}},
    {"^(?!ab)[a-c]{2}$", {"ba", "aa", "cc"}, {"ab", "abc", "a"}},
    {"^(?=.*x)(?!.*y)\\w{3}", {"xab", "aax"}, {"abc", "xya", "xaaa"}},
};

static void texts_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        grammar *g = grammar_fixture_regex(cases[i].regex);
        grammar_fixture_all(g, cases[i].accepted, true);
        grammar_fixture_all(g, cases[i].refused, false);
        grammar_release(g);
    }
}

static void braces_without_a_least_number(void **state)
{
    (void)state; /* Python's meaning; ECMA 262 takes it for text, which nobody wants */
    grammar *g = grammar_fixture_regex("a{,2}b{x}");
    grammar_fixture_all(g, (const char *const[]){"b{x}", "aab{x}", NULL}, true);
    grammar_fixture_all(g, (const char *const[]){"aaab{x}", "a{,2}b{x}", NULL}, false);
    grammar_release(g);
}

static void counts_are_not_copies(void **state)
{
    (void)state;
    grammar *g = grammar_fixture_regex("([a-z]{1,100000}-){0,50000}");
    assert_true(grammar_fixture_accepts(g, "abc-def-"));
    assert_false(grammar_fixture_accepts(g, "abc-def"));
    grammar_release(g);
    char text[1002];
    memset(text, 'x', 1001);
    text[1001] = '\0';
    g = grammar_fixture_regex(".{1000}");
    assert_false(grammar_fixture_accepts(g, text));
    text[1000] = '\0';
    assert_true(grammar_fixture_accepts(g, text));
    text[999] = '\0';
    assert_false(grammar_fixture_accepts(g, text));
    grammar_release(g);
}

static void refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *regex, *words;
    } refused[] = {
        {"(a", "regex: position 0: '(' is not closed"},
        {"a)", "position 1: ')' without '('"},
        {"[a", "position 1: '[' is not closed"},
        {"*a", "position 0: nothing to repeat"},
        {"a**", "position 2: nothing to repeat"},
        {"a{3,2}", "position 1: the least number"},
        {"a{2000000}", "more than 1000000 repetitions"},
        {"(a)\\1", "back references"},
        {"(?<=a)b", "lookbehind"},
        {"a(?=b)b", "lookaheads are supported only at the beginning"},
        {"(?i)a", "are not supported"},
        {"\\bword", "'\\b' is not supported"},
        {"\\p{L}", "'\\p' is not supported"},
        {"a++", "possessive"},
        {"a^b", "'^' is supported only at the beginning"},
        {"a$b", "'$' is supported only at the end"},
        {"[z-a]", "not a range"},
        {"[[:alpha:]]", "POSIX"},
        {"\\", "nothing behind the backslash"},
        {"\xFF", "not valid UTF-8"},
        {"[]", "no text can satisfy"},
        {"^(?=a)b", "no text can satisfy"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        grammar_fixture_refused(grammar_fixture_from_regex, refused[i].regex, refused[i].words);
}

/* Would need more memory or time than any request is worth; refused or compiled, but soon. */
static void explosions_are_bounded(void **state)
{
    (void)state;
    char nested[1000];
    memset(nested, '(', 500);
    memset(nested + 500, ')', 499);
    nested[999] = '\0';
    grammar_fixture_refused(grammar_fixture_from_regex, nested, "nested more than");
    grammar_fixture_refused(grammar_fixture_from_regex, "^(?!x)((((a{99}b?){99}c?){99}d?){99})", "too large");
    grammar_fixture_refused(grammar_fixture_from_regex, "^(?!.*a.{30}b).*$", "too large"); /* 2^30 states */
    grammar *g = grammar_fixture_regex("((((a{1,1000}){1,1000}){1,1000}b*){1,1000}c?)*");
    assert_true(grammar_fixture_is_prefix(g, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"));
    grammar_release(g);
}

static void masks_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *regex, *prefix;
    } places[] = {
        {"[a-z]+", ""},
        {"[a-z]{3,5}[a-m]*", ""},
        {"[a-z]{3,5}[a-m]*", "ab"},
        {"(\\w+ )*x", "wo"},
        {"[^\"\\\\\\x00-\\x1f]{0,7}\"", "abc"},
        {"(.{0,4}|hello.*)", ""},
        {"^(?!.*foo)[a-z]*$", "fo"},
        {"[\\u0400-\\u04ff]{2,9}", ""},
        {"(ab|abc)*(c|d)", "abc"},
        {"[a-zA-Z0-9 ]{1,6}!", "a"},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        grammar *g = grammar_fixture_regex(places[i].regex);
        grammar_fixture_mask_is_exact(g, places[i].prefix);
        grammar_release(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_match),
        cmocka_unit_test(braces_without_a_least_number),
        cmocka_unit_test(counts_are_not_copies),
        cmocka_unit_test(refused_by_name),
        cmocka_unit_test(explosions_are_bounded),
        cmocka_unit_test(masks_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, grammar_fixture_close);
}
