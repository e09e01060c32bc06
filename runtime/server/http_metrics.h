/* Requests and their durations by handler, method and status, under the names of the FastAPI instrumentation that vLLM runs with. A client
 * cannot make labels: what no route knows counts as "none", a method that few use as "other". All on the server's thread. */
#ifndef RUNTIME_SERVER_HTTP_METRICS_H
#define RUNTIME_SERVER_HTTP_METRICS_H

#include <stdint.h>

#include "runtime/server/http_parse.h"
#include "runtime/server/json_write.h"

enum { HTTP_METRICS_HANDLERS = 32, HTTP_METRICS_METHODS = 8, HTTP_METRICS_CLASSES = 5, HTTP_METRICS_BOUNDS = 10 };

typedef struct http_metrics_row {
    uint64_t codes[HTTP_METRICS_CLASSES];      /* by the status' first digit, from 1 */
    uint64_t times[HTTP_METRICS_BOUNDS + 1];   /* by upper bound, each request in one of them */
    double seconds;                            /* sum */
} http_metrics_row;

typedef struct http_metrics {
    http_metrics_row rows[HTTP_METRICS_HANDLERS][HTTP_METRICS_METHODS];
} http_metrics;

/* Where a request is counted. `handler`: 1 and up as the caller numbers them; 0: "none". */
typedef struct http_metrics_place {
    int handler, method;
} http_metrics_place;

http_metrics_place http_metrics_find(int handler, http_slice method);
/* `code` is the status sent, or one that stands for a reply that was never sent. */
void http_metrics_count(http_metrics *m, http_metrics_place place, int code, double seconds);

/* The text format. `name` says a handler's label, for 1 and up. */
void http_metrics_write(const http_metrics *m, void (*name)(int handler, char *out, size_t size), json_writer *out);

#endif
