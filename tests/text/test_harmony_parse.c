/* The parser's policy, row by row of the table in runtime/text/README.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/text/harmony_fixture.h"

/* `marked`: what a model says after "<|start|>assistant" (or, when it begins with <|start|>, a transcript). */
static void assert_parsed(void **state, const char *marked, const char *expected)
{
    harmony_fixture *f = *state;
    id_list ids = {0};
    harmony_recording r = {0};
    harmony_fixture_encode(f, marked, &ids);
    harmony_fixture_parse(f, strncmp(marked, "<|start|>", 9) != 0, ids.ids, ids.count, &r);
    assert_string_equal(r.text.data, expected);
    harmony_recording_free(&r);
    id_list_free(&ids);
}

static void every_form_of_a_call(void **state)
{
    const char *const json = "call[role=assistant channel=commentary recipient=functions.g type=json] {}\n";
    const char *const constrained =
        "call[role=assistant channel=commentary recipient=functions.g type=<|constrain|>json] {}\n";
    const char *const untyped = "call[role=assistant channel=commentary recipient=functions.g] {}\n";
    assert_parsed(state, "<|channel|>commentary to=functions.g <|constrain|>json<|message|>{}<|call|>", constrained);
    assert_parsed(state, "<|channel|>commentary to=functions.g<|constrain|>json<|message|>{}<|call|>", constrained);
    assert_parsed(state, " to=functions.g<|channel|>commentary <|constrain|>json<|message|>{}<|call|>", constrained);
    assert_parsed(state, "<|start|>assistant to=functions.g<|channel|>commentary json<|message|>{}<|call|>", json);
    assert_parsed(state, "<|channel|>commentary to=functions.g json<|message|>{}<|call|>", json);
    assert_parsed(state, "<|channel|>commentary to=functions.g<|message|>{}<|call|>", untyped);
    assert_parsed(state, "<|channel|>commentary functions.g<|message|>{}<|call|>", untyped);
    assert_parsed(state, "<|channel|>commentary json to=functions.g<|message|>{}<|call|>", json);
    assert_parsed(state, "<|channel|>commentary<|constrain|>json to=functions.g<|message|>{}<|call|>", constrained);
    assert_parsed(state, "<|channel|>commentary to= functions.g <|constrain|> json<|message|>{}<|call|>", constrained);
    assert_parsed(state, "<|channel|>analysis to=functions.g code<|message|>{}<|call|>",
                  "call[role=assistant channel=analysis recipient=functions.g type=code] {}\n");
    assert_parsed(state, "<|channel|>final to=functions.g<|message|>{}<|call|>",
                  "call[role=assistant channel=final recipient=functions.g] {}\n");
    assert_parsed(state, " to=functions.g<|message|>{}<|call|>", "call[role=assistant recipient=functions.g] {}\n");
}

/* The name arrives without its namespace. */
static void declared_functions_are_completed(void **state)
{
    assert_parsed(state, "<|channel|>commentary to=lookup_weather json<|message|>{}<|call|>",
                  "call[role=assistant channel=commentary recipient=functions.lookup_weather type=json] {}\n");
    assert_parsed(state, "<|channel|>final lookup_weather<|message|>{}<|call|>",
                  "call[role=assistant channel=final recipient=functions.lookup_weather] {}\n");
    assert_parsed(state, "<|channel|>commentary to=get.time<|message|>{}<|call|>",
                  "call[role=assistant channel=commentary recipient=functions.get.time] {}\n");
    assert_parsed(state, "<|channel|>commentary to=lookup_traffic json<|message|>{}<|call|>",
                  "analysis[role=assistant channel=commentary recipient=lookup_traffic type=json] {}\n");
    assert_parsed(state, "<|channel|>commentary to=functions.<|message|>{}<|call|>",
                  "analysis[role=assistant channel=commentary recipient=functions.] {}\n");
}

/* Rows 1 and 4 of the policy: what a channel and a recipient mean. */
static void channels_and_recipients(void **state)
{
    assert_parsed(state, "<|channel|>final<|message|>A<|return|>", "final[role=assistant channel=final] A\n");
    assert_parsed(state, "<|channel|>analysis<|message|>A<|end|>", "analysis[role=assistant channel=analysis] A\n");
    assert_parsed(state, "<|channel|>commentary<|message|>A<|end|>", "final[role=assistant channel=commentary] A\n");
    assert_parsed(state, "<|message|>A<|end|>", "final[role=assistant] A\n");
    assert_parsed(state, "<|channel|>thoughts<|message|>A<|end|>", "analysis[role=assistant channel=thoughts] A\n");
    assert_parsed(state, "<|channel|>analysis to=python code<|message|>A<|call|>",
                  "analysis[role=assistant channel=analysis recipient=python type=code] A\n");
    assert_parsed(state, "<|channel|>commentary to=browser.search<|message|>A<|call|>",
                  "analysis[role=assistant channel=commentary recipient=browser.search] A\n");
    assert_parsed(state, "<|channel|>commentary to=container.exec json<|message|>A<|call|>",
                  "analysis[role=assistant channel=commentary recipient=container.exec type=json] A\n");
    assert_parsed(state, "<|channel|>final to=user<|message|>A<|end|>",
                  "final[role=assistant channel=final recipient=user] A\n");
}

static void text_after_a_stop_opens_a_message(void **state)
{
    const char *const x = "analysis[role=assistant channel=analysis] x\n";
    assert_parsed(state, "<|channel|>analysis<|message|>x<|end|>commentary", x); /* a header that is not complete */
    assert_parsed(state, "<|channel|>analysis<|message|>x<|end|>commentary<|end|>", x);
    assert_parsed(state,
                  "<|channel|>analysis<|message|>x<|end|>commentary to=functions.g<|channel|>commentary "
                  "json<|message|>{}<|call|>",
                  "analysis[role=assistant channel=analysis] x\ncall[role=assistant channel=commentary "
                  "recipient=functions.g type=json] {}\n");
    assert_parsed(state, "<|channel|>analysis<|message|>x<|end|><|channel|>final<|message|>y<|return|>",
                  "analysis[role=assistant channel=analysis] x\nfinal[role=assistant channel=final] y\n");
    assert_parsed(state, "<|channel|>analysis<|message|>x<|end|>assistant<|channel|>final<|message|>y<|return|>",
                  "analysis[role=assistant channel=analysis] x\nfinal[role=assistant channel=final] y\n");
    assert_parsed(state, "<|channel|>analysis<|message|>x<|end|>The answer is 4.<|return|>",
                  "analysis[role=assistant channel=analysis] x\nfinal[role=assistant] The answer is 4.\n");
    assert_parsed(state, "<|channel|>analysis<|message|>x<|end|><|message|>y<|end|>",
                  "analysis[role=assistant channel=analysis] x\nfinal[role=assistant] y\n");
}

static void extra_stops_are_ignored(void **state)
{
    assert_parsed(state,
                  "<|channel|>analysis<|message|>x<|end|><|end|><|return|><|start|>assistant<|channel|>final<|message|>"
                  "y<|end|><|return|><|return|>",
                  "analysis[role=assistant channel=analysis] x\nfinal[role=assistant channel=final] y\n");
    assert_parsed(state, "<|end|><|end|>", "");
    assert_parsed(state, "<|return|>", "");
}

static void nothing_counts_behind_the_end_of_a_generation(void **state)
{
    const char *const tails[] = {"", "comment", "<|start|>assistant<|channel|>final<|message|>more<|return|>",
                                 "<|channel|>final<|message|>more", "<|end|>hi<|end|>"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "<|channel|>final<|message|>A<|return|>%s", tails[i]);
        assert_parsed(state, text, "final[role=assistant channel=final] A\n");
        snprintf(text, sizeof text, " to=functions.g<|channel|>commentary json<|message|>{}<|call|>%s", tails[i]);
        assert_parsed(state, text, "call[role=assistant channel=commentary recipient=functions.g type=json] {}\n");
        snprintf(text, sizeof text, "<|channel|>analysis<|message|>A<|endoftext|>%s", tails[i]);
        assert_parsed(state, text, "analysis[role=assistant channel=analysis] A\n");
    }
    /* A stop behind mere reasoning has answered nothing: another message may follow, but not loose text. */
    assert_parsed(
        state, "<|channel|>analysis<|message|>x<|return|>junk<|start|>assistant<|channel|>final<|message|>y<|return|>",
        "analysis[role=assistant channel=analysis] x\nfinal[role=assistant channel=final] y\n");
    assert_parsed(state, "<|channel|>analysis<|message|>x<|return|><|end|>more junk<|end|>",
                  "analysis[role=assistant channel=analysis] x\n");
}

static void bad_headers_keep_their_channel(void **state)
{
    assert_parsed(state, "<|channel|>final one two three<|message|>A<|end|>",
                  "final[role=assistant channel=final] A\n");
    assert_parsed(state, "<|channel|>analysis... commentary<|message|>A<|end|>",
                  "analysis[role=assistant channel=analysis] A\n");
    assert_parsed(state, "<|channel|>analysis... now commentary to=functions.g<|message|>{}<|end|>",
                  "call[role=assistant channel=analysis recipient=functions.g] {}\n");
    assert_parsed(state, "<|channel|>commentaryto=functions.g json<|message|>{}<|end|>",
                  "call[role=assistant channel=commentary recipient=functions.g type=json] {}\n");
    assert_parsed(state, "<|channel|><|message|>A<|end|>", "final[role=assistant] A\n");
    assert_parsed(state, "<|channel|>finally<|message|>A<|end|>", "analysis[role=assistant channel=finally] A\n");
    assert_parsed(state, "I must refuse<|channel|>final<|message|>A<|end|>", "final[role=assistant channel=final] A\n");
}

static void odd_roles(void **state)
{
    assert_parsed(state, "<|start|><|channel|>final<|message|>A<|end|>", "final[role=assistant channel=final] A\n");
    assert_parsed(state, "<|start|>assistantcommentary to=functions.g json<|message|>{}<|call|>",
                  "call[role=assistant channel=commentary recipient=functions.g type=json] {}\n");
    assert_parsed(state, "<|start|>assistantanalysis<|message|>A<|end|>",
                  "analysis[role=assistant channel=analysis] A\n");
    assert_parsed(state, "<|start|>analysis<|message|>A<|end|>", "analysis[role=assistant channel=analysis] A\n");
    assert_parsed(state, "<|start|> to=functions.g<|channel|>commentary<|message|>{}<|call|>",
                  "call[role=assistant channel=commentary recipient=functions.g] {}\n");
    assert_parsed(state, "<|start|>weird<|channel|>final<|message|>A<|end|>",
                  "final[role=assistant channel=final] A\n");
    assert_parsed(state, "<|start|>user:bob<|message|>A<|end|>", "analysis[role=user] A\n");
    assert_parsed(
        state,
        "<|start|>user<|message|>to=functions.g<|end|><|start|>functions.g "
        "to=assistant<|channel|>commentary<|message|>1<|end|>",
        "analysis[role=user] to=functions.g\nanalysis[role=functions.g channel=commentary recipient=assistant] 1\n");
    assert_parsed(state, "<|start|><|start|>assistant<|channel|>final<|message|>A<|end|>",
                  "final[role=assistant channel=final] A\n");
}

/* Row 2: max_tokens in the middle of a header. */
static void a_partial_header_is_discarded(void **state)
{
    const char *const partial[] = {"",
                                   "<|channel|>",
                                   "<|channel|>final",
                                   "<|channel|>commentary to=functions.g",
                                   " to=functions.g",
                                   "comment",
                                   "<|channel|>commentary Hello",
                                   " to",
                                   "lookup_weather",
                                   "<|channel|>analysis... what"};
    for (size_t i = 0; i < sizeof partial / sizeof partial[0]; i++) {
        char text[256];
        assert_parsed(state, partial[i], "");
        snprintf(text, sizeof text, "<|channel|>analysis<|message|>x<|end|><|start|>assistant%s", partial[i]);
        assert_parsed(state, text, "analysis[role=assistant channel=analysis] x\n");
    }
}

/* Row 3. */
static void the_last_channel_counts(void **state)
{
    assert_parsed(state, "<|channel|>commentary<|channel|>analysis<|message|>A<|end|>",
                  "analysis[role=assistant channel=analysis] A\n");
    assert_parsed(state, "<|channel|>commentary to=assistant<|channel|>final<|message|>A<|end|>",
                  "final[role=assistant channel=final recipient=assistant] A\n");
    assert_parsed(state, "<|channel|>analysis<|channel|>commentary to=functions.g json<|message|>{}<|call|>",
                  "call[role=assistant channel=commentary recipient=functions.g type=json] {}\n");
    assert_parsed(state, "<|channel|>analysiscommentary<|message|>A<|end|>",
                  "final[role=assistant channel=commentary] A\n");
}

/* Row 5: max_tokens inside a message. */
static void partial_content_counts(void **state)
{
    assert_parsed(state, "<|channel|>analysis<|message|>half of a thou",
                  "analysis[role=assistant channel=analysis] half of a thou\n");
    assert_parsed(state, "<|channel|>final<|message|>half", "final[role=assistant channel=final] half\n");
    assert_parsed(state, "<|channel|>final<|message|>", "final[role=assistant channel=final] \n");
}

/* Rows 6 and 7: messages stay apart, arguments are as written. */
static void messages_stay_apart(void **state)
{
    assert_parsed(state,
                  "<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>analysis<|message|>two<|end|>"
                  "<|start|>assistant<|channel|>commentary<|message|>Let me look.<|end|>"
                  "<|start|>assistant to=functions.g<|channel|>commentary json<|message|>{\"a\" : 1,",
                  "analysis[role=assistant channel=analysis] one\nanalysis[role=assistant channel=analysis] two\n"
                  "final[role=assistant channel=commentary] Let me look.\n"
                  "call[role=assistant channel=commentary recipient=functions.g type=json] {\"a\" : 1,\n");
}

static void an_answer_without_header(void **state)
{
    assert_parsed(state, "I must refuse.\n\nSorry<|return|>", "final[role=assistant] I must refuse.\n\nSorry\n");
    assert_parsed(state, "4<|return|>", "final[role=assistant] 4\n");
    assert_parsed(state, "I must ref", "final[role=assistant] I must ref\n");
    assert_parsed(state, "<|channel|>commentary Hello there<|end|>",
                  "final[role=assistant channel=commentary] Hello there\n");
    assert_parsed(state, "<|channel|>analysis Hmm <|end|>", "analysis[role=assistant channel=analysis] Hmm\n");
    assert_parsed(state, "Hello<|start|>assistant<|channel|>final<|message|>A<|return|>",
                  "final[role=assistant] Hello\nfinal[role=assistant channel=final] A\n");
    assert_parsed(state, "<|start|>assistant I am sorry<|return|>", "final[role=assistant] I am sorry\n");
    assert_parsed(state, "<|start|>user I am sorry<|return|>", "");
    assert_parsed(state, "<|end|><|start|>user I am sorry<|return|>", "");
    assert_parsed(state, "<|end|><|start|>functions.g I am sorry<|return|>", "");
}

/* <|start|> and no role: in a generation (it does not begin with <|start|>) it is the assistant's, in a transcript nobody's. */
static void an_answer_without_role(void **state)
{
    assert_parsed(state, "<|channel|>analysis<|message|>x<|end|><|start|>I am sorry<|return|>",
                  "analysis[role=assistant channel=analysis] x\nfinal[role=assistant] I am sorry\n");
    assert_parsed(state, "<|end|><|start|>I am sor", "final[role=assistant] I am sor\n");
    assert_parsed(state, "<|start|>I am sorry<|return|>", "");
    assert_parsed(state, "<|end|><|start|> to=assistant I am sorry<|return|>", "final[role=assistant] to=assistant I am sorry\n");
    assert_parsed(state, "finally...<|return|>", "final[role=assistant] finally...\n");
    assert_parsed(state, "final...sorry<|return|>", "final[role=assistant] final...sorry\n");
    assert_parsed(state, "final<|return|>", "");
}

/* Text without a header streams: it does not wait for the end of the generation. */
static void a_long_answer_without_header_streams(void **state)
{
    harmony_fixture *f = *state;
    const char *const starts[] = {"Here is", "<|channel|>final Here is", "final Here is"};
    for (size_t start = 0; start < 3; start++) {
        id_list ids = {0};
        harmony_fixture_encode(f, starts[start], &ids);
        for (int i = 0; i < 1000; i++) harmony_fixture_encode(f, " a word", &ids);
        harmony_recording r = {0};
        harmony_fixture_parse(f, true, ids.ids, ids.count, &r);
        assert_int_equal(r.begins, 1);
        assert_true(r.deltas > 1000);
        assert_memory_equal(r.text.data, "final[role=assistant", 20);
        assert_int_equal(r.text.size - (size_t)(strchr(r.text.data, ']') + 2 - r.text.data),
                         strlen(start == 2 ? starts[2] : "Here is") + 7000 + 1);
        harmony_recording_free(&r);
        id_list_free(&ids);
    }
}

/* Row 14. */
static void a_lone_content_type_is_no_recipient(void **state)
{
    assert_parsed(state, "<|channel|>final <|constrain|>json<|message|>{}<|return|>",
                  "final[role=assistant channel=final type=<|constrain|>json] {}\n");
    assert_parsed(state, "<|channel|>final<|constrain|>json<|message|>{}<|return|>",
                  "final[role=assistant channel=final type=<|constrain|>json] {}\n");
    assert_parsed(state, "<|channel|>final json<|message|>{}<|return|>",
                  "final[role=assistant channel=final type=json] {}\n");
    assert_parsed(state, "<|channel|>commentary json<|message|>{}<|end|>",
                  "final[role=assistant channel=commentary type=json] {}\n");
    assert_parsed(state, "<|channel|>analysis code<|message|>x<|end|>",
                  "analysis[role=assistant channel=analysis type=code] x\n");
    assert_parsed(state, "<|channel|>final text/markdown<|message|>x<|end|>",
                  "final[role=assistant channel=final type=text/markdown] x\n");
}

/* Row 15. */
static void special_tokens_in_content_are_their_text(void **state)
{
    assert_parsed(
        state,
        "<|channel|>final<|message|>a<|channel|>b<|message|><|start|>assistant<|constrain|><|reserved_200014|>c<|end|>",
        "final[role=assistant channel=final] "
        "a<|channel|>b<|message|><|start|>assistant<|constrain|><|reserved_200014|>c\n");
}

static void reasoning_is_told_apart_token_by_token(void **state)
{
    harmony_fixture *f = *state;
    id_list ids = {0};
    harmony_recording r = {0};
    harmony_parser *p;
    harmony_parser_options options = {.after_assistant = true};
    harmony_fixture_encode(
        f, "<|channel|>analysis<|message|>x y<|end|><|start|>assistant<|channel|>final<|message|>A<|return|>", &ids);
    assert_int_equal(ids.count, 13);
    assert_int_equal(harmony_parser_open(f->h, &options, harmony_recording_sink(&r), &p, NULL), STATUS_OK);
    char seen[16] = "";
    for (size_t i = 0; i < ids.count; i++) {
        harmony_parser_push(p, ids.ids[i]);
        seen[i] = harmony_parser_in_reasoning(p) ? 'r' : '.';
    }
    assert_string_equal(seen, ".rrrrr.......");
    harmony_parser_close(p);
    harmony_recording_free(&r);
    id_list_free(&ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_a_call),
        cmocka_unit_test(declared_functions_are_completed),
        cmocka_unit_test(channels_and_recipients),
        cmocka_unit_test(text_after_a_stop_opens_a_message),
        cmocka_unit_test(extra_stops_are_ignored),
        cmocka_unit_test(nothing_counts_behind_the_end_of_a_generation),
        cmocka_unit_test(bad_headers_keep_their_channel),
        cmocka_unit_test(odd_roles),
        cmocka_unit_test(a_partial_header_is_discarded),
        cmocka_unit_test(the_last_channel_counts),
        cmocka_unit_test(partial_content_counts),
        cmocka_unit_test(messages_stay_apart),
        cmocka_unit_test(an_answer_without_header),
        cmocka_unit_test(an_answer_without_role),
        cmocka_unit_test(a_long_answer_without_header_streams),
        cmocka_unit_test(a_lone_content_type_is_no_recipient),
        cmocka_unit_test(special_tokens_in_content_are_their_text),
        cmocka_unit_test(reasoning_is_told_apart_token_by_token),
    };
    return cmocka_run_group_tests(tests, harmony_fixture_open, harmony_fixture_close);
}
