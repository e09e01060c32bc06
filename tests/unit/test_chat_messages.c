/* The JSON of a chat: requests that go out, chunks, lists and errors that come in. */
#include <stdlib.h>
#include <string.h>

#include "launch/chat_chunk.h"
#include "launch/chat_conversation.h"
#include "launch/chat_refusal.h"
#include "tests/unit/cmocka_headers.h"

/* Compares as JSON: the order of keys does not count. */
static void expect_request(const chat_conversation *c, const char *model, const char *effort, const char *expected)
{
    char *text = chat_conversation_request(c, model, effort);
    assert_non_null(text);
    json_t *found = json_loads(text, 0, NULL), *wanted = json_loads(expected, 0, NULL);
    assert_non_null(wanted);
    if (!json_equal(found, wanted)) fail_msg("found %s, wanted %s", text, expected);
    json_decref(found);
    json_decref(wanted);
    free(text);
}

#define STREAMS "\"stream\":true,\"stream_options\":{\"include_usage\":true}"

static void conversation(void **state)
{
    (void)state;
    chat_conversation c;
    assert_true(chat_conversation_open(&c));
    chat_conversation_drop(&c); /* nothing there */
    assert_true(chat_conversation_add(&c, "user", "one \"two\"\n", 10));
    expect_request(&c, "m", NULL, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"one \\\"two\\\"\\n\"}]," STREAMS "}");
    assert_true(chat_conversation_add(&c, "assistant", "\xFF", 1));
    assert_true(chat_conversation_set_system(&c, "be brief"));
    expect_request(&c, "m", "high", "{\"model\":\"m\",\"reasoning_effort\":\"high\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"
                                    "{\"role\":\"user\",\"content\":\"one \\\"two\\\"\\n\"},{\"role\":\"assistant\",\"content\":\"\xEF\xBF\xBD\"}]," STREAMS "}");
    chat_conversation_drop(&c);
    chat_conversation_drop(&c);
    assert_true(chat_conversation_add(&c, "user", "", 0));
    expect_request(&c, "m", NULL, "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"\"}]," STREAMS "}");
    chat_conversation_clear(&c);
    assert_true(chat_conversation_set_system(&c, ""));
    expect_request(&c, "m", NULL, "{\"model\":\"m\",\"messages\":[]," STREAMS "}");
    chat_conversation_close(&c);
}

static chat_chunk parsed(const char *text)
{
    chat_chunk chunk;
    status_detail detail;
    assert_int_equal(chat_chunk_parse(text, strlen(text), &chunk, &detail), STATUS_OK);
    return chunk;
}

static void chunks(void **state)
{
    (void)state;
    chat_chunk c = parsed("{\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"hm\",\"reasoning_content\":\"hm\"},\"finish_reason\":null}],\"usage\":null}");
    assert_string_equal(c.reasoning.data, "hm");
    assert_null(c.content.data);
    assert_true(c.completion_tokens == -1 && !c.cut && !c.done && !c.error.data);
    chat_chunk_free(&c);
    c = parsed("{\"choices\":[{\"delta\":{\"reasoning_content\":\"old\",\"content\":\"a\\u0000b\"},\"finish_reason\":\"length\"}]}");
    assert_string_equal(c.reasoning.data, "old");
    assert_int_equal(c.content.size, 3);
    assert_true(c.cut);
    chat_chunk_free(&c);
    c = parsed("{\"choices\":[],\"usage\":{\"completion_tokens\":17}}");
    assert_int_equal(c.completion_tokens, 17);
    chat_chunk_free(&c);
    c = parsed("[DONE]");
    assert_true(c.done);
    chat_chunk_free(&c);
    c = parsed("{\"error\":{\"message\":\"lost a rank\",\"code\":500}}");
    assert_string_equal(c.error.data, "lost a rank");
    chat_chunk_free(&c);
    c = parsed("{\"error\":{}}");
    assert_true(c.error.data && c.error.size == 0);
    chat_chunk_free(&c);
    static const char *const odd[] = {"{\"choices\":3}", "{\"choices\":[7]}", "{\"choices\":[{\"delta\":[]}],\"usage\":[]}",
                                      "{\"choices\":[{\"delta\":{\"content\":null,\"reasoning\":5}}],\"error\":null}"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        c = parsed(odd[i]);
        assert_true(!c.content.data && !c.reasoning.data && !c.error.data);
        chat_chunk_free(&c);
    }
}

static void what_is_no_chunk(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "<html>", "[]", "7", "{\"choices\":", "[DONE"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        chat_chunk c;
        status_detail detail;
        assert_int_equal(chat_chunk_parse(bad[i], strlen(bad[i]), &c, &detail), STATUS_PEER);
    }
}

static void models(void **state)
{
    (void)state;
    static const char good[] = "{\"object\":\"list\",\"data\":[{\"id\":\"a\"},{\"id\":5},{\"id\":\"b\"}]}";
    json_t *names = NULL;
    status_detail detail;
    assert_int_equal(chat_chunk_models(good, sizeof good - 1, &names, &detail), STATUS_OK);
    assert_int_equal(json_array_size(names), 2);
    assert_string_equal(json_string_value(json_array_get(names, 1)), "b");
    json_decref(names);
    static const char *const bad[] = {"", "{}", "{\"data\":[]}", "{\"data\":{\"id\":\"a\"}}", "<html>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(chat_chunk_models(bad[i], strlen(bad[i]), &names, &detail), STATUS_PEER);
}

static void refusals(void **state)
{
    (void)state;
    static const char body[] = "{\"error\":{\"message\":\"too\\nlong \\u001b[2J\",\"code\":400}}";
    static const struct {
        long code;
        chat_refusal_context context;
        status result;
        const char *says;
    } cases[] = {
        {401, {.url = "U"}, STATUS_USAGE, "start with --api-key-file"},
        {401, {.url = "U", .key_file = "keys"}, STATUS_USAGE, "does not take the key in keys"},
        {404, {.url = "U", .model = "gpt-9"}, STATUS_USAGE, "no model 'gpt-9'"},
        {404, {.url = "U"}, STATUS_USAGE, "HTTP 404"},
        {429, {.url = "U", .retry_after = 3}, STATUS_BUSY, "again in 3 s"},
        {429, {.url = "U"}, STATUS_BUSY, "again in a while"},
        {400, {.url = "U", .model = "m"}, STATUS_INVALID, "too long \xEF\xBF\xBD[2J"},
        {302, {.url = "U"}, STATUS_USAGE, "HTTP 302"},
        {503, {.url = "U"}, STATUS_PEER, "HTTP 503: too long"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        status_detail detail;
        assert_int_equal(chat_refusal_http(cases[i].code, body, sizeof body - 1, &cases[i].context, &detail), cases[i].result);
        if (!strstr(detail.text, cases[i].says)) fail_msg("'%s' lacks '%s'", detail.text, cases[i].says);
        assert_null(strpbrk(detail.text, "\n\033"));
    }
    status_detail detail;
    assert_int_equal(chat_refusal_http(500, "", 0, &cases[0].context, &detail), STATUS_PEER);
    assert_non_null(strstr(detail.text, "did not say why"));
    assert_int_equal(chat_refusal_midway("a\nb", 3, &detail), STATUS_PEER);
    assert_non_null(strstr(detail.text, "a b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(conversation), cmocka_unit_test(chunks), cmocka_unit_test(what_is_no_chunk),
                                       cmocka_unit_test(models), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
