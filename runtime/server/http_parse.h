/* HTTP/1.x request heads and chunked bodies as pure functions over bytes (RFC 9112). They allocate nothing and return views.
 *
 * Strict where requests could be read in two ways: bare line feeds, folded headers, space before a colon, two lengths, a length together
 * with chunks are all refused.
 */
#ifndef RUNTIME_SERVER_HTTP_PARSE_H
#define RUNTIME_SERVER_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"

enum { HTTP_MAX_HEADERS = 100, HTTP_MAX_TARGET = 8192 };

typedef struct http_slice {
    const char *data;
    size_t size;
} http_slice;

bool http_slice_is(http_slice s, const char *text);           /* same bytes */
bool http_slice_is_nocase(http_slice s, const char *text);

typedef struct http_header {
    http_slice name, value; /* value without the white space around it */
} http_header;

/* A request without its body. Slices point into the bytes that were parsed. */
typedef struct http_head {
    http_slice method;
    http_slice path;        /* of the target, without query; "/" at least, or "*" */
    http_slice query;       /* what follows the path's "?"; {NULL, 0}: nothing */
    int minor;              /* 0 or 1 */
    http_header headers[HTTP_MAX_HEADERS];
    int n_headers;
    int64_t content_length; /* -1: not given */
    bool chunked, keep_alive, expect_continue;
} http_head;

/* An answer to give instead of going on. */
typedef struct http_fault {
    int status;
    const char *reason; /* one line */
} http_fault;

/* Size of the head at the start of `data`, its empty line included, or 0 while that has not come. Looks from `from` on: the bytes before
 * it were looked at already. */
size_t http_parse_head_size(const char *data, size_t size, size_t from);

/* Whether two line feeds follow each other: the end of a head whose lines end without carriage return. No good head holds that, so there is
 * nothing to wait for. `from` as above. */
bool http_parse_ends_bare(const char *data, size_t size, size_t from);

/* `data` is one whole head as http_parse_head_size() cut it. */
bool http_parse_head(const char *data, size_t size, http_head *out, http_fault *fault);

/* The value of a header, or {NULL, 0}. */
http_slice http_head_find(const http_head *head, const char *name);

/* A chunked body as it comes in. {0} is the beginning. */
typedef struct http_chunks {
    int state;
    int64_t left;   /* bytes of the current chunk still to come */
    int line_size;  /* bytes of the current chunk-size line, extensions and trailers */
    int64_t total;  /* body bytes so far */
} http_chunks;

typedef enum http_chunks_result { HTTP_CHUNKS_MORE, HTTP_CHUNKS_DONE, HTTP_CHUNKS_FAULT } http_chunks_result;

/* Takes bytes, appends the body's to `body`, and says in *taken how many it used (all of them unless DONE or FAULT). Refuses a body of
 * more than `max_body` bytes with 413 before taking it. */
http_chunks_result http_chunks_push(http_chunks *c, const char *data, size_t size, int64_t max_body, buffer *body, size_t *taken,
                                    http_fault *fault);

#endif
