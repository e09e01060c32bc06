/* Request heads and chunked bodies: what is taken, what is refused, and that cutting the bytes changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/server/http_parse.h"

static const http_head *parse(const char *text, int *refused)
{
    static http_head head;
    http_fault fault = {0, NULL};
    size_t size = http_parse_head_size(text, strlen(text), 0);
    assert_int_equal(size, strlen(text));
    *refused = http_parse_head(text, size, &head, &fault) ? 0 : fault.status;
    if (*refused) assert_non_null(fault.reason);
    return &head;
}

static void test_a_usual_head(void **state)
{
    (void)state;
    int refused;
    const http_head *h = parse("POST /v1/x?q=1 HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:  12 \r\nX-Two: a, b\r\n\r\n", &refused);
    assert_int_equal(refused, 0);
    assert_true(http_slice_is(h->method, "POST"));
    assert_true(http_slice_is(h->path, "/v1/x"));
    assert_true(http_slice_is(h->query, "q=1"));
    assert_int_equal(h->content_length, 12);
    assert_true(h->keep_alive);
    assert_true(http_slice_is(http_head_find(h, "x-two"), "a, b"));
    h = parse("GET http://host:1/health HTTP/1.0\r\n\r\n", &refused);
    assert_int_equal(refused, 0);
    assert_true(http_slice_is(h->path, "/health"));
    assert_int_equal(h->query.size, 0);
    assert_false(h->keep_alive);
    h = parse("GET /a?b?c#d?e HTTP/1.1\r\nHost: a\r\n\r\n", &refused);
    assert_true(http_slice_is(h->path, "/a") && http_slice_is(h->query, "b?c"));
    h = parse("GET /a#b?c HTTP/1.1\r\nHost: a\r\n\r\n", &refused);
    assert_true(http_slice_is(h->path, "/a") && !h->query.size);
    h = parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, close\r\n\r\n", &refused);
    assert_false(h->keep_alive);
}

static void test_refused_heads(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *text;
    } cases[] = {
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /\r\nHost: a\r\n\r\n"},
        {400, "G{T / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET x HTTP/1.1\r\nHost: a\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nName : b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1,1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nA: \x01\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int refused;
        parse(cases[i].text, &refused);
        if (refused != cases[i].code) fail_msg("%s: %d, wanted %d", cases[i].text, refused, cases[i].code);
    }
}

static void test_too_many_headers(void **state)
{
    (void)state;
    char *text = malloc(HTTP_MAX_HEADERS * 8 + 64), *end = text + sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < HTTP_MAX_HEADERS; i++) end += sprintf(end, "A: b\r\n");
    strcpy(end, "\r\n");
    int refused;
    parse(text, &refused);
    assert_int_equal(refused, 431);
    free(text);
}

static http_chunks_result feed(const char *text, size_t step, int64_t max, buffer *body, size_t *used, http_fault *fault)
{
    http_chunks c = {0};
    http_chunks_result result = HTTP_CHUNKS_MORE;
    size_t size = strlen(text);
    *used = 0;
    while (*used < size && result == HTTP_CHUNKS_MORE) {
        size_t n = size - *used < step ? size - *used : step, taken;
        result = http_chunks_push(&c, text + *used, n, max, body, &taken, fault);
        *used += taken;
    }
    return result;
}

static void test_chunks_cut_anywhere(void **state)
{
    (void)state;
    static const char text[] = "5;ext=\"x\"\r\nhello\r\nA\r\n, big worl\r\n1\r\nd\r\n0\r\nTrailer: x\r\n\r\nGET /";
    for (size_t step = 1; step < sizeof text; step++) {
        buffer body = {0};
        http_fault fault;
        size_t used;
        assert_int_equal(feed(text, step, 100, &body, &used, &fault), HTTP_CHUNKS_DONE);
        assert_string_equal(body.data, "hello, big world");
        assert_string_equal(text + used, "GET /");
        buffer_free(&body);
    }
}

static void test_refused_chunks(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *text;
    } cases[] = {
        {400, "\r\n"},       {400, "x\r\n"},          {400, "5\nhello"},      {400, "5\r\nhelloX\r\n"},
        {413, "65\r\n"},     {413, "fffffffffffffffffffffffff\r\n"},          {413, "40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n40\r\n"},
        {400, "-1\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer body = {0};
        http_fault fault = {0, NULL};
        size_t used;
        assert_int_equal(feed(cases[i].text, 3, 100, &body, &used, &fault), HTTP_CHUNKS_FAULT);
        assert_int_equal(fault.status, cases[i].code);
        buffer_free(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_usual_head),     cmocka_unit_test(test_refused_heads),  cmocka_unit_test(test_too_many_headers),
        cmocka_unit_test(test_chunks_cut_anywhere), cmocka_unit_test(test_refused_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
