/* Messages and commands. */
#include <string.h>

#include "launch/chat_command.h"
#include "tests/unit/cmocka_headers.h"

static void kinds(void **state)
{
    (void)state;
    static const struct {
        const char *given;
        chat_command_kind kind;
        const char *text;
    } cases[] = {
        {"", CHAT_NOTHING, ""},
        {" \t\n", CHAT_NOTHING, " \t\n"},
        {"hello /quit", CHAT_MESSAGE, "hello /quit"},
        {" /quit", CHAT_MESSAGE, " /quit"},
        {"/quit", CHAT_QUIT, ""},
        {"/quit  ", CHAT_QUIT, ""},
        {"/help", CHAT_HELP, ""},
        {"/clear", CHAT_CLEAR, ""},
        {"/effort low", CHAT_EFFORT, "low"},
        {"/effort", CHAT_EFFORT, ""},
        {"/reasoning \t fold", CHAT_REASONING, "fold"},
        {"/system You are a pirate.\nSay arr.", CHAT_SYSTEM, "You are a pirate.\nSay arr."},
        {"/model a b", CHAT_MODEL, "a b"},
        {"/quitter", CHAT_UNKNOWN, "/quitter"},
        {"/QUIT", CHAT_UNKNOWN, "/QUIT"},
        {"/", CHAT_UNKNOWN, "/"},
        {"/* a comment\n * of C */", CHAT_MESSAGE, "/* a comment\n * of C */"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        chat_command found = chat_command_parse(cases[i].given);
        assert_int_equal(found.kind, cases[i].kind);
        assert_string_equal(found.text, cases[i].text);
    }
}

static void the_names_are_those_that_work(void **state)
{
    (void)state;
    buffer names = {0}, help = {0};
    assert_true(chat_command_names(&names) && chat_command_help(&help));
    int n = 0;
    for (char *name = strtok(names.data, " "); name; name = strtok(NULL, " "), n++) {
        assert_true(chat_command_parse(name).kind >= CHAT_HELP);
        assert_non_null(strstr(help.data, name));
    }
    assert_int_equal(n, 7);
    buffer_free(&names);
    buffer_free(&help);
}

static void efforts(void **state)
{
    (void)state;
    assert_true(chat_command_is_effort("low") && chat_command_is_effort("medium") && chat_command_is_effort("high"));
    assert_false(chat_command_is_effort("") || chat_command_is_effort("lo") || chat_command_is_effort("low|medium") || chat_command_is_effort("High"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds), cmocka_unit_test(the_names_are_those_that_work), cmocka_unit_test(efforts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
