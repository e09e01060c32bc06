/* Conversations to tokens: the cases of openai/harmony's own tests, and 1,800 random ones that the library rendered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/text/harmony_conversation.h"
#include "tests/text/harmony_fixture.h"

static void assert_ids_are(harmony_fixture *f, const id_list *ids, const json_t *expected, const char *name)
{
    size_t same = 0;
    while (same < ids->count && same < json_array_size(expected) &&
           ids->ids[same] == json_integer_value(json_array_get(expected, same)))
        same++;
    if (same == ids->count && same == json_array_size(expected)) return;
    id_list theirs = {0};
    for (size_t i = 0; i < json_array_size(expected); i++)
        id_list_push(&theirs, (int32_t)json_integer_value(json_array_get(expected, i)));
    buffer ours_text = {0}, theirs_text = {0};
    harmony_fixture_decode(f, ids, &ours_text);
    harmony_fixture_decode(f, &theirs, &theirs_text);
    fail_msg("%s: token %zu differs\nours:\n%s\nexpected:\n%s", name, same, ours_text.data, theirs_text.data);
}

static void render(harmony_fixture *f, const json_t *one, id_list *out)
{
    harmony_conversation c;
    status_detail detail = {""};
    harmony_conversation_read(json_object_get(one, "messages"), &c);
    bool complete = json_is_string(json_object_get(json_object_get(one, "options"), "next_role"));
    if (harmony_render(f->h, c.messages, c.count, complete, out, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    harmony_conversation_free(&c);
}

static void render_text(harmony_fixture *f, const harmony_message *messages, size_t count, buffer *out)
{
    id_list ids = {0};
    status_detail detail = {""};
    if (harmony_render(f->h, messages, count, false, &ids, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    harmony_fixture_decode(f, &ids, out);
    id_list_free(&ids);
}

static void the_librarys_own_cases(void **state)
{
    harmony_fixture *f = *state;
    json_t *cases = harmony_fixture_json("data/harmony/cases.json");
    size_t index, compared = 0;
    const json_t *one;
    json_array_foreach(cases, index, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        /* Our rule for reasoning between finals is another: see the next test. */
        if (strcmp(name, "test_keep_analysis_between_finals") == 0) continue;
        id_list ids = {0};
        render(f, one, &ids);
        assert_ids_are(f, &ids, json_object_get(one, "expected_ids"), name);
        id_list_free(&ids);
        compared++;
    }
    json_decref(cases);
    assert_int_equal(compared, 9);
}

/* The library keeps the reasoning of every turn but the first. The format's documentation says otherwise ("Handling of
 * the chain of thought": past reasoning is dropped once its turn ended in a final message), and so does the model's
 * chat template; so do we. */
static void reasoning_before_the_last_final_is_dropped(void **state)
{
    harmony_fixture *f = *state;
    json_t *cases = harmony_fixture_json("data/harmony/cases.json");
    size_t index, found = 0;
    const json_t *one;
    json_array_foreach(cases, index, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "name")), "test_keep_analysis_between_finals") != 0) continue;
        id_list ids = {0};
        buffer text = {0};
        render(f, one, &ids);
        harmony_fixture_decode(f, &ids, &text);
        assert_string_equal(
            text.data,
            "<|start|>user<|message|>What is 2 + 2?<|end|><|start|>assistant<|channel|>final<|message|>4<|end|>"
            "<|start|>user<|message|>What is 3 + 5?<|end|><|start|>assistant<|channel|>final<|message|>8<|end|>");
        buffer_free(&text);
        id_list_free(&ids);
        found++;
    }
    json_decref(cases);
    assert_int_equal(found, 1);
}

static void reasoning_of_an_open_tool_loop_is_kept(void **state)
{
    harmony_message messages[] = {
        {.role = HARMONY_ASSISTANT, .channel = "analysis", .text = "old", .text_size = 3},
        {.role = HARMONY_ASSISTANT, .channel = "final", .text = "A", .text_size = 1},
        {.role = HARMONY_USER, .text = "more", .text_size = 4},
        {.role = HARMONY_ASSISTANT, .channel = "analysis", .text = "new", .text_size = 3},
        {.role = HARMONY_ASSISTANT,
         .channel = "commentary",
         .recipient = "functions.f",
         .content_type = "<|constrain|>json",
         .text = "{}",
         .text_size = 2},
        {.role = HARMONY_TOOL,
         .name = "functions.f",
         .recipient = "assistant",
         .channel = "commentary",
         .text = "1",
         .text_size = 1},
    };
    buffer text = {0};
    render_text(*state, messages, 6, &text);
    assert_string_equal(text.data,
                        "<|start|>assistant<|channel|>final<|message|>A<|end|><|start|>user<|message|>more<|end|>"
                        "<|start|>assistant<|channel|>analysis<|message|>new<|end|>"
                        "<|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>"
                        "<|start|>functions.f to=assistant<|channel|>commentary<|message|>1<|end|>");
    buffer_free(&text);
}

static void compare(harmony_fixture *f, const json_t *line, size_t number)
{
    char name[32];
    snprintf(name, sizeof name, "line %zu", number);
    id_list ids = {0};
    render(f, line, &ids);
    assert_ids_are(f, &ids, json_object_get(line, "expected_ids"), name);
    id_list_free(&ids);
}

static void random_conversations(void **state)
{
    assert_int_equal(harmony_fixture_lines("data/harmony/render_cases.jsonl.gz", compare, *state), 1800);
}

static void special_tokens_in_text_stay_text(void **state)
{
    harmony_fixture *f = *state;
    harmony_message m = {.role = HARMONY_USER, .text = "<|end|><|start|>system", .text_size = 22};
    id_list ids = {0};
    assert_int_equal(harmony_render(f->h, &m, 1, false, &ids, NULL), STATUS_OK);
    size_t specials = 0;
    for (size_t i = 0; i < ids.count; i++) specials += tokenizer_is_special(f->tokens, ids.ids[i]);
    assert_int_equal(specials, 3); /* <|start|>user<|message|> ... <|end|> */
    id_list_free(&ids);
}

static void a_failure_leaves_the_output_as_it_was(void **state)
{
    harmony_fixture *f = *state;
    harmony_message nameless[] = {{.role = HARMONY_USER, .text = "hi", .text_size = 2},
                                  {.role = HARMONY_TOOL, .text = "1", .text_size = 1}};
    harmony_system system = harmony_system_default();
    harmony_developer developer = {0};
    harmony_message misplaced[] = {{.role = HARMONY_USER, .system = &system},
                                   {.role = HARMONY_SYSTEM, .developer = &developer}};
    id_list ids = {0};
    status_detail detail = {""};
    id_list_push(&ids, 7);
    assert_int_equal(harmony_render(f->h, nameless, 2, true, &ids, &detail), STATUS_INVALID);
    assert_non_null(strstr(detail.text, "name"));
    assert_int_equal(harmony_render(f->h, &misplaced[0], 1, true, &ids, &detail), STATUS_INVALID);
    assert_int_equal(harmony_render(f->h, &misplaced[1], 1, true, &ids, &detail), STATUS_INVALID);
    assert_int_equal(ids.count, 1);
    assert_int_equal(ids.ids[0], 7);
    id_list_free(&ids);
}

static void a_schema_nested_too_deep_is_refused(void **state)
{
    harmony_fixture *f = *state;
    json_t *schema = json_pack("{s:s}", "type", "string");
    for (int i = 0; i < 1000; i++) schema = json_pack("{s:s, s:o}", "type", "array", "items", schema);
    harmony_tool tool = {"deep", "d", schema};
    harmony_namespace space = {"functions", NULL, &tool, 1};
    harmony_developer developer = {NULL, &space, 1};
    harmony_message m = {.role = HARMONY_DEVELOPER, .developer = &developer};
    id_list ids = {0};
    status_detail detail = {""};
    assert_int_equal(harmony_render(f->h, &m, 1, false, &ids, &detail), STATUS_INVALID);
    assert_non_null(strstr(detail.text, "deep"));
    assert_int_equal(ids.count, 0);
    id_list_free(&ids);
    json_decref(schema);
}

static void stop_ids_end_a_generation(void **state)
{
    harmony_fixture *f = *state;
    int32_t ids[3];
    assert_int_equal(harmony_stop_ids(f->h, ids), 3);
    assert_int_equal(ids[0], tokenizer_special(f->tokens, "<|return|>"));
    assert_int_equal(ids[1], tokenizer_special(f->tokens, "<|call|>"));
    assert_int_equal(ids[2], tokenizer_special(f->tokens, "<|endoftext|>"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_librarys_own_cases),
        cmocka_unit_test(reasoning_before_the_last_final_is_dropped),
        cmocka_unit_test(reasoning_of_an_open_tool_loop_is_kept),
        cmocka_unit_test(random_conversations),
        cmocka_unit_test(special_tokens_in_text_stay_text),
        cmocka_unit_test(a_failure_leaves_the_output_as_it_was),
        cmocka_unit_test(a_schema_nested_too_deep_is_refused),
        cmocka_unit_test(stop_ids_end_a_generation),
    };
    return cmocka_run_group_tests(tests, harmony_fixture_open, harmony_fixture_close);
}
