#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/grammar/grammar_fixture.h"

static void arithmetic(void **state)
{
    (void)state;
    grammar *g = grammar_fixture_ebnf("# left recursion, as people write it\n"
                                      "root ::= expr\n"
                                      "expr ::= expr [+-] term\n"
                                      "       | term\n"
                                      "term ::= term (\"*\" | \"/\") factor | factor # more\n"
                                      "factor ::= [0-9]{1,3} | \"(\" expr \")\"\n");
    grammar_fixture_all(g, (const char *const[]){"1", "1+2*3", "((1))", "(1-2)/34-(5)", NULL}, true);
    grammar_fixture_all(g, (const char *const[]){"", "1+", "(1", "1)", "1234", "1 + 2", NULL}, false);
    grammar_fixture_mask_is_exact(g, "12+(3");
    grammar_release(g);
}

static void notation(void **state)
{
    (void)state;
    grammar *g =
        grammar_fixture_ebnf("root::=a-1 b.x? c_* (\"q\"|'w')+ [^a-z\\n\\\"\\]]{2} \"\\x41\\u00e9\\t\" . last{,2}\r\n"
                             "a-1 ::= \"\" | \"z\" \"y\"\n"
                             "b.x ::= 'it\\'s'\n"
                             "c_ ::= [cC]\n"
                             "last ::= \"!\" | \"?\"{2}");
    grammar_fixture_all(g,
                        (const char *const[]){"q12A\xC3\xA9\tx", "zyit'scCcqw\xE6\x97\xA5_A\xC3\xA9\t\n!??",
                                              "w--A\xC3\xA9\t\xF0\x9F\x8E\x89!!", NULL},
                        true);
    grammar_fixture_all(g,
                        (const char *const[]){"qa1A\xC3\xA9\tx", "q12A\xC3\xA9x", "zq12A\xC3\xA9\tx",
                                              "q12A\xC3\xA9\tx?", "q12A\xC3\xA9\tx!!!", NULL},
                        false);
    grammar_release(g);
}

static void recursion(void **state)
{
    (void)state;
    grammar *g = grammar_fixture_ebnf("root ::= list\n"
                                      "list ::= item \",\" list | item\n" /* right: no stack */
                                      "item ::= \"(\" item \")\" | \"x\" opt\n"
                                      "opt ::= (\"y\" opt)?\n");
    grammar_fixture_all(g, (const char *const[]){"x", "xyyy,x", "(((x))),x,(xy)", NULL}, true);
    grammar_fixture_all(g, (const char *const[]){"((x)", "x,", ",x", NULL}, false);
    char text[20002];
    for (size_t i = 0; i < 20000; i += 2) memcpy(text + i, "x,", 2);
    strcpy(text + 20000, "x");
    assert_true(grammar_fixture_accepts(g, text));
    grammar_release(g);
    g = grammar_fixture_ebnf("root ::= \"a\" root \"b\" | \"\" | root2\nroot2 ::= \"a\" root2 \"c\" | \"ac\"");
    grammar_fixture_all(g, (const char *const[]){"", "aabb", "aaaaccbb", "ac", "aacb", NULL}, true);
    grammar_fixture_all(g, (const char *const[]){"a", "aab", "acc", "aacbb", NULL}, false);
    grammar_release(g);
}

/* The stack is bounded; what is open can be closed at any depth. */
static void depth_is_bounded_without_dead_ends(void **state)
{
    (void)state;
    grammar *g = grammar_fixture_ebnf("root ::= \"(\" root \")\" | \"x\"");
    char text[5000];
    size_t n = 0;
    for (text[0] = '\0'; n < 4000; n++) {
        memset(text, '(', n + 1);
        text[n + 1] = '\0';
        if (n % 100 == 99 && !grammar_fixture_is_prefix(g, text)) break;
    }
    assert_in_range(n, 900, 1200);
    n = 900;
    memset(text, '(', n);
    text[n] = 'x';
    memset(text + n + 1, ')', n);
    text[2 * n + 1] = '\0';
    assert_true(grammar_fixture_accepts(g, text));
    grammar_release(g);
}

static void ambiguity_stays_bounded(void **state)
{
    (void)state;
    grammar *g = grammar_fixture_ebnf("root ::= s\ns ::= \"a\" s s | \"a\" s | \"a\"");
    char text[400];
    memset(text, 'a', 399);
    text[399] = '\0';
    assert_true(grammar_fixture_is_prefix(g, text));
    grammar_fixture_mask_is_exact(g, "aaaa");
    grammar_release(g);
}

static void refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *ebnf, *words;
    } refused[] = {
        {"", "grammar: there is no rule 'root'"},
        {"rot ::= \"a\"", "there is no rule 'root'"},
        {"root ::= a", "rule 'a' is not defined"},
        {"root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: this rule is defined twice"},
        {"root ::= \"a", "line 1, column 10: the literal is not closed"},
        {"root ::= [a", "'[' is not closed"},
        {"root ::= (\"a\"", "line 1, column 10: '(' is not closed"},
        {"root ::= \"a\")", "')' without '('"},
        {"root ::= *", "nothing to repeat"},
        {"root ::= \"a\"{2,1}", "the least number"},
        {"root ::= \"a\"{9999999}", "more than 1000000"},
        {"root ::= \"a\" (=\"b\")", "lookaheads"},
        {"root: \"a\"", "expected a rule, name ::="},
        {"root ::= \"a\" | b: \"c\"", "Lark syntax is not supported"},
        {"root ::= \"\\q\"", "not an escape"},
        {"root ::= a\na ::= b \"x\"\nb ::= a \"y\" | \"z\"", "begins with itself"},
        {"root ::= n root \"x\" | \"y\"\nn ::= \"\"", "rule 'root' begins with itself"},
        {"root ::= \"a\" root", "no text can satisfy"},
        {"root ::= \xC3", "not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        grammar_fixture_refused(grammar_fixture_from_ebnf, refused[i].ebnf, refused[i].words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arithmetic),
        cmocka_unit_test(notation),
        cmocka_unit_test(recursion),
        cmocka_unit_test(depth_is_bounded_without_dead_ends),
        cmocka_unit_test(ambiguity_stays_bounded),
        cmocka_unit_test(refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, grammar_fixture_close);
}
