/* What an answer looks like, piece by piece. */
#include <stdlib.h>
#include <string.h>

#include "launch/chat_view.h"
#include "tests/unit/cmocka_headers.h"

/* What is written for two pieces of reasoning and two of an answer. */
static char *shown(chat_view v, int64_t tokens, const char *note)
{
    char *text = NULL;
    size_t size = 0;
    v.out = open_memstream(&text, &size);
    assert_non_null(v.out);
    chat_view_begin(&v);
    assert_true(chat_view_think(&v, "I th", 4) && chat_view_think(&v, "ink \033[2J", 8));
    assert_true(chat_view_say(&v, "so \xC3", 4) && chat_view_say(&v, "\xA9", 1));
    assert_true(chat_view_end(&v, tokens, note));
    fclose(v.out);
    chat_view_free(&v);
    return text;
}

static void assert_begins(const char *text, const char *start)
{
    if (strncmp(text, start, strlen(start)) != 0) fail_msg("'%s' does not begin with '%s'", text, start);
}

static void in_a_pipe(void **state)
{
    (void)state;
    char *text = shown((chat_view){0}, 9, "stopped");
    assert_string_equal(text, "so \xC3\xA9\n");
    free(text);
}

static void at_a_terminal(void **state)
{
    (void)state;
    char *text = shown((chat_view){.interactive = true, .colour = true, .moves = true}, 9, "stopped");
    assert_begins(text, "\033[2mI th\033[0m\033[2mink \xEF\xBF\xBD[2J\033[0m\n\nso \xC3\xA9\n\033[2m[9 tokens");
    assert_non_null(strstr(text, "tokens/s"));
    assert_non_null(strstr(text, "; stopped]\033[0m\n"));
    free(text);
    text = shown((chat_view){.interactive = true}, -1, NULL);
    assert_begins(text, "(thinking) I think \xEF\xBF\xBD[2J\n\nso \xC3\xA9\n[the first after");
    assert_null(strchr(text, '\033'));
    free(text);
}

static void folded_and_off(void **state)
{
    (void)state;
    char *text = shown((chat_view){.interactive = true, .mode = CHAT_REASONING_FOLD}, 2, NULL);
    assert_begins(text, "thought for 3 words\n\nso ");
    free(text);
    text = shown((chat_view){.interactive = true, .mode = CHAT_REASONING_OFF}, 2, NULL);
    assert_begins(text, "so ");
    free(text);
}

static void words_of_the_switch(void **state)
{
    (void)state;
    chat_reasoning mode = CHAT_REASONING_ON;
    assert_true(chat_view_reasoning_parse("fold", &mode) && mode == CHAT_REASONING_FOLD);
    assert_false(chat_view_reasoning_parse("", &mode) || chat_view_reasoning_parse("ON", &mode));
    assert_int_equal(mode, CHAT_REASONING_FOLD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_a_pipe), cmocka_unit_test(at_a_terminal), cmocka_unit_test(folded_and_off),
                                       cmocka_unit_test(words_of_the_switch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
