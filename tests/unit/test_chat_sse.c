/* Server-sent events, cut anywhere. */
#include <stdlib.h>
#include <string.h>

#include "launch/chat_sse.h"
#include "tests/unit/cmocka_headers.h"

static status collect(void *user, const char *data, size_t size, status_detail *detail)
{
    (void)detail;
    assert_true(buffer_append(user, data, size) && buffer_append_text(user, "|"));
    return STATUS_OK;
}

static const char stream[] = ": a comment\n"
                             "data: one\n\n"
                             "event: x\r\ndata:two\r\ndata:  three\r\n\r\n"
                             "id: 7\n\n"             /* no data: no event */
                             "data\n\n"              /* another field's name is no data here */
                             "data:\r\rdata: four\r\r"
                             "data: never ended\n";
static const char events[] = "one|two\n three||four|";

static void every_cut_in_three(void **state)
{
    (void)state;
    const size_t n = sizeof stream - 1;
    for (size_t first = 0; first <= n; first++)
        for (size_t second = first; second <= n; second++) {
            chat_sse s = {0};
            buffer out = {0};
            status_detail detail;
            assert_int_equal(chat_sse_push(&s, stream, first, collect, &out, &detail), STATUS_OK);
            assert_int_equal(chat_sse_push(&s, stream + first, second - first, collect, &out, &detail), STATUS_OK);
            assert_int_equal(chat_sse_push(&s, stream + second, n - second, collect, &out, &detail), STATUS_OK);
            assert_string_equal(out.data, events);
            buffer_free(&out);
            chat_sse_free(&s);
        }
}

static void byte_by_byte(void **state)
{
    (void)state;
    chat_sse s = {0};
    buffer out = {0};
    status_detail detail;
    for (size_t i = 0; i < sizeof stream - 1; i++) assert_int_equal(chat_sse_push(&s, stream + i, 1, collect, &out, &detail), STATUS_OK);
    assert_string_equal(out.data, events);
    buffer_free(&out);
    chat_sse_free(&s);
}

static status refuse(void *user, const char *data, size_t size, status_detail *detail)
{
    (void)data, (void)size;
    ++*(int *)user;
    return status_fail(detail, STATUS_BUSY, "enough");
}

static void stops_at_the_first_that_fails(void **state)
{
    (void)state;
    chat_sse s = {0};
    status_detail detail;
    int calls = 0;
    assert_int_equal(chat_sse_push(&s, "data: 1\n\ndata: 2\n\n", 18, refuse, &calls, &detail), STATUS_BUSY);
    assert_int_equal(calls, 1);
    assert_string_equal(detail.text, "enough");
    chat_sse_free(&s);
}

static void endless_lines_are_refused(void **state)
{
    (void)state;
    chat_sse s = {0};
    buffer out = {0};
    status_detail detail;
    const size_t n = 1 << 20;
    char *block = malloc(n);
    assert_non_null(block);
    memset(block, 'x', n);
    status result = STATUS_OK;
    int pushed = 0;
    for (; result == STATUS_OK && pushed < 100; pushed++) result = chat_sse_push(&s, block, n, collect, &out, &detail);
    assert_int_equal(result, STATUS_PEER);
    assert_int_equal(pushed, CHAT_SSE_MOST / (1 << 20) + 1);
    free(block);
    chat_sse_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_cut_in_three), cmocka_unit_test(byte_by_byte),
                                       cmocka_unit_test(stops_at_the_first_that_fails), cmocka_unit_test(endless_lines_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
