/* Request heads and chunked bodies: any bytes end in a request or in a fault, and cutting a body elsewhere changes nothing. */
#include <stdlib.h>
#include <string.h>

#include "runtime/server/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BODY = 300 };

static void check_inside(http_slice s, const char *data, size_t size)
{
    if (s.size && s.data != data && (s.data < data || s.data + s.size > data + size) && !http_slice_is(s, "/")) abort();
}

static void try_head(const char *data, size_t size)
{
    static http_head head;
    http_fault fault = {0, NULL};
    if (!http_parse_head(data, size, &head, &fault)) {
        if (fault.status < 400 || fault.status > 505 || !fault.reason) abort();
        return;
    }
    if (head.n_headers > HTTP_MAX_HEADERS || !head.path.size || head.content_length < -1) abort();
    check_inside(head.method, data, size);
    check_inside(head.path, data, size);
    for (int i = 0; i < head.n_headers; i++) {
        check_inside(head.headers[i].name, data, size);
        check_inside(head.headers[i].value, data, size);
    }
}

static http_chunks_result decode(const char *data, size_t size, size_t step, buffer *body, size_t *used)
{
    http_chunks chunks = {0};
    http_fault fault;
    http_chunks_result result = HTTP_CHUNKS_MORE;
    *used = 0;
    while (*used < size && result == HTTP_CHUNKS_MORE) {
        size_t n = size - *used < step ? size - *used : step, taken = 0;
        result = http_chunks_push(&chunks, data + *used, n, MAX_BODY, body, &taken, &fault);
        if (taken > n) abort();
        *used += taken;
    }
    if (body->size > MAX_BODY) abort();
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    buffer whole = {0}, cut = {0};
    size_t used_whole, used_cut;
    size_t head = http_parse_head_size(text, size, 0);
    if (head) try_head(text, head);
    try_head(text, size);
    http_chunks_result a = decode(text + head, size - head, size + 1, &whole, &used_whole);
    http_chunks_result b = decode(text + head, size - head, 1, &cut, &used_cut);
    if (a != b || used_whole != used_cut || whole.size != cut.size || (whole.size && memcmp(whole.data, cut.data, whole.size))) abort();
    buffer_free(&whole);
    buffer_free(&cut);
    return 0;
}
