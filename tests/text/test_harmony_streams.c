#define _GNU_SOURCE /* memmem */
/* Whole streams: what the library makes of them, broken UTF-8 however it is cut into tokens, and noise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "runtime/text/utf8.h"
#include "tests/text/harmony_fixture.h"

static void parse_case(harmony_fixture *f, const json_t *one, harmony_recording *r)
{
    const json_t *list = json_object_get(one, "ids");
    id_list ids = {0};
    for (size_t i = 0; i < json_array_size(list); i++)
        id_list_push(&ids, (int32_t)json_integer_value(json_array_get(list, i)));
    harmony_fixture_parse(f, json_is_string(json_object_get(one, "role")), ids.ids, ids.count, r);
    id_list_free(&ids);
}

/* The messages that a case expects, as a recording writes them. `kinds`: whether the case names them. */
static void describe(const json_t *expect, buffer *out)
{
    static const char *const parts[3][2] = {
        {"channel", "channel"}, {"recipient", "recipient"}, {"type", "content_type"}};
    size_t index;
    const json_t *m;
    buffer_append_text(out, "");
    json_array_foreach(expect, index, m)
    {
        const char *recipient = json_string_value(json_object_get(m, "recipient")),
                   *channel = json_string_value(json_object_get(m, "channel"));
        const char *kind = json_string_value(json_object_get(m, "kind"));
        if (!kind) kind = recipient ? "call" : channel && strcmp(channel, "analysis") == 0 ? "analysis" : "final";
        buffer_printf(out, "%s[role=%s", kind, json_string_value(json_object_get(m, "role")));
        for (size_t i = 0; i < 3; i++) {
            const char *value = json_string_value(json_object_get(m, parts[i][1]));
            if (value) buffer_printf(out, " %s=%s", parts[i][0], value);
        }
        const json_t *content = json_object_get(m, "content");
        buffer_append_text(out, "] ");
        buffer_append(out, json_string_value(content), json_string_length(content));
        buffer_append_text(out, "\n");
    }
}

/* Where the library fails: what we make of the stream. */
static const char *const instead[][2] = {
    {"missing_message_strict", "final[role=assistant channel=commentary] Hello\n"},
    {"token_after_stop_is_error", "analysis[role=assistant channel=analysis] x\n"},
};

static void the_librarys_own_cases(void **state)
{
    json_t *cases = harmony_fixture_json("data/harmony/parse_cases.json");
    size_t index, compared = 0;
    const json_t *one;
    json_array_foreach(cases, index, one)
    {
        buffer expected = {0};
        describe(json_object_get(one, "expect"), &expected);
        for (size_t i = 0; i < sizeof instead / sizeof instead[0]; i++)
            if (strcmp(json_string_value(json_object_get(one, "name")), instead[i][0]) == 0) {
                assert_non_null(json_object_get(one, "error"));
                buffer_append_text(&expected, instead[i][1]);
            }
        harmony_recording r = {0};
        parse_case(*state, one, &r);
        assert_string_equal(r.text.data, expected.data);
        harmony_recording_free(&r);
        buffer_free(&expected);
        compared++;
    }
    json_decref(cases);
    assert_int_equal(compared, 8);
}

static void compare(harmony_fixture *f, const json_t *line, size_t number)
{
    buffer expected = {0};
    harmony_recording r = {0};
    describe(json_object_get(line, "expect"), &expected);
    parse_case(f, line, &r);
    if (strcmp(r.text.data, expected.data) != 0)
        fail_msg("line %zu\nours:\n%sexpected:\n%s", number, r.text.data, expected.data);
    harmony_recording_free(&r);
    buffer_free(&expected);
}

static void random_streams(void **state)
{
    assert_int_equal(harmony_fixture_lines("data/harmony/parse_streams.jsonl.gz", compare, *state), 2400);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Ids whose bytes stand somewhere in `text`, so that all ways to cut it into tokens can be tried. */
static void pieces_of(const harmony_fixture *f, const char *text, size_t size, id_list *out)
{
    for (int32_t id = 0; id < tokenizer_size(f->tokens); id++) {
        size_t n;
        const char *bytes = tokenizer_bytes(f->tokens, id, &n);
        if (n && !tokenizer_is_special(f->tokens, id) && memmem(text, size, bytes, n)) id_list_push(out, id);
    }
}

static void broken_utf8_adds_up_for_every_split(void **state)
{
    harmony_fixture *f = *state;
    static const char *const texts[] = {
        "line\xF0\x9F\nnext \xF0\x9F\x99\x82\xF0\x9F\x99 e\xCC\x81\xC3", /* cut characters before a newline, a
                                                                            character, the end */
        "\xFF\xC0\xAF\xED\xA0\x80 naïve 東\xE6\x9D京 \xF4\x90\x80\x80.",
        "plain text, one two three",
    };
    uint64_t seed = 20250805;
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        size_t size = strlen(texts[t]);
        id_list pieces = {0};
        buffer expected = {0};
        pieces_of(f, texts[t], size, &pieces);
        assert_true(buffer_append_text(&expected, "final[role=assistant channel=final] ") &&
                    utf8_repair(texts[t], size, &expected) && buffer_append_text(&expected, "\n"));
        for (int round = 0; round < 300; round++) {
            id_list ids = {0};
            harmony_fixture_encode(f, "<|channel|>final<|message|>", &ids);
            for (size_t at = 0; at < size;) {
                size_t n;
                int32_t id = pieces.ids[next_random(&seed) % pieces.count];
                const char *bytes = tokenizer_bytes(f->tokens, id, &n);
                if (n > size - at || memcmp(texts[t] + at, bytes, n) != 0) continue;
                id_list_push(&ids, id);
                at += n;
            }
            if (round % 2) harmony_fixture_encode(f, "<|return|>", &ids);
            harmony_recording r = {0};
            harmony_fixture_parse(f, true, ids.ids, ids.count, &r);
            assert_string_equal(r.text.data, expected.data);
            harmony_recording_free(&r);
            id_list_free(&ids);
        }
        buffer_free(&expected);
        id_list_free(&pieces);
    }
}

/* Half of the tokens format messages, some do not exist. The sink asserts order and validity. */
static void noise_never_breaks_the_order_of_calls(void **state)
{
    harmony_fixture *f = *state;
    id_list formatting = {0};
    harmony_fixture_encode(
        f,
        "<|start|><|end|><|message|><|channel|><|constrain|><|start|><|message|><|channel|><|end|><|end|>"
        "assistant final analysis commentary to=functions. f json",
        &formatting);
    const char *const ends[] = {"<|return|>", "<|call|>", "<|endoftext|>"};
    for (uint64_t round = 0; round < 6; round++) {
        uint64_t seed = round + 1;
        id_list ids = {0};
        for (int i = 0; i < 100000; i++) {
            uint32_t choice = next_random(&seed) % 100;
            int32_t id = (int32_t)(next_random(&seed) % 202000) - 100;
            if (choice < 50) id = formatting.ids[next_random(&seed) % formatting.count];
            /* In a generation the first of these may end everything: few of them there. */
            if (choice == 99 && (round % 2 == 0 || i > 50000))
                id = tokenizer_special(f->tokens, ends[next_random(&seed) % 3]);
            id_list_push(&ids, id);
        }
        harmony_recording r = {0};
        harmony_fixture_parse(f, round % 2, ids.ids, ids.count, &r);
        assert_true(r.begins > 100);
        harmony_recording_free(&r);
        id_list_free(&ids);
    }
    id_list_free(&formatting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_librarys_own_cases),
        cmocka_unit_test(random_streams),
        cmocka_unit_test(broken_utf8_adds_up_for_every_split),
        cmocka_unit_test(noise_never_breaks_the_order_of_calls),
    };
    return cmocka_run_group_tests(tests, harmony_fixture_open, harmony_fixture_close);
}
