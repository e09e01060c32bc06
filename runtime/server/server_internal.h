/* What the endpoints share. Internal to runtime/server. */
#ifndef RUNTIME_SERVER_SERVER_INTERNAL_H
#define RUNTIME_SERVER_SERVER_INTERNAL_H

#include <event2/event.h>
#include <pthread.h>

#include "runtime/server/api_error.h"
#include "runtime/server/api_keys.h"
#include "runtime/server/constraint_cache.h"
#include "runtime/server/http_metrics.h"
#include "runtime/server/http_server.h"
#include "runtime/server/metrics.h"
#include "runtime/server/sampling_params.h"
#include "runtime/server/server.h"
#include "runtime/server/worker.h"

struct server {
    engine *engine;             /* borrowed, as the next two */
    const tokenizer *tokenizer;
    const harmony *harmony;
    char **names;               /* owned copies; the first is what answers bear */
    int n_names;
    api_keys keys;
    request_limits limits;
    constraint_cache *constraints;
    int32_t stop_ids[ENGINE_MAX_STOP_IDS / 2]; /* harmony's and the model's */
    int n_stop_ids;
    int32_t end_of_text;        /* an end that is not worth a stop_reason; -1: none */
    int64_t started;            /* Unix time */
    metrics metrics;
    http_metrics http_figures;
    int generations;            /* API calls whose sequences have not all finished */
    int deferred;               /* API calls that the worker has */
    struct responses_store *responses; /* what /v1/responses remembers */
    struct generation *waiting; /* calls that were begun and now have nothing in the engine, because its queue is full */

    struct event_base *base;
    http_server *http;
    struct event *engine_event, *control_event, *close_timer, *retry_timer;
    int control_fd;             /* an eventfd: server_close() has been called */
    double close_seconds;       /* how long closing may take; once it has begun, the monotonic time of its end */
    pthread_t thread;
    worker *worker;             /* prepares large requests */
};

/* server_open() with limits other than the defaults, for tests; its max_body is used, not that of the options. */
status server_open_limits(const server_options *options, const http_limits *limits, engine *e, const tokenizer *t, const harmony *h,
                          server **out, status_detail *detail);

/* A request as the endpoints see it. */
typedef struct route_call {
    server *server;
    http_exchange *exchange;
    const http_head *head;
    const char *tail; /* the name that follows the route's path, percent-decoded; "" for an exact match */
    char *body;       /* may be edited */
    size_t body_size;
} route_call;

/* As api_error.http from prepare(), and never seen by a client: on the server's thread this would take too long. The worker then calls prepare() once more. */
enum { ROUTE_LATER = 102 };

/* An endpoint whose work grows with the body, in two halves. */
typedef struct route_work {
    /* On any thread: of the server it may use only what is fixed once it is open. NULL: *error says why. The body may be edited, such that it can be
     * read once more. */
    void *(*prepare)(const server *s, char *body, size_t size, api_error *error);
    /* On the server's thread: takes over what prepare() gave, and replies or keeps the exchange. call->body is not there any more. */
    void (*begin)(const route_call *call, void *prepared);
    void (*drop)(void *prepared); /* instead of begin(), when the client has gone */
} route_work;

/* Prepares and begins: a small body at once, a large one by way of the worker. In routes_deferred.c. */
void routes_work(const route_call *call, const route_work *work);

/* The handler of http_server: finds the route, checks the key, calls the endpoint. */
void routes_dispatch(void *user, http_exchange *x, const http_head *head, char *body, size_t size);
void routes_fault(void *user, http_exchange *x, const http_fault *fault);
void routes_over(void *user, int mark, int code, double seconds);
/* The label of handler `handler`, 1 and up, in metrics. */
void routes_handler_name(int handler, char *out, size_t size);

/* Replies with an API error; 429 and 503 get Retry-After. */
void routes_reply_error(http_exchange *x, const api_error *error);
/* Replies 200 with the text, or 500 when it is not whole. Frees it. */
void routes_reply_json(http_exchange *x, json_writer *w);

/* Sets 404 when a request names a model that is not served. `name` NULL: any. */
bool models_check(const server *s, const char *name, api_error *error);

/* The endpoints. */
extern const route_work chat_work, completion_work, tokenize_work, detokenize_work, responses_work, responses_count_work;
void responses_get_endpoint(const route_call *call);
void responses_delete_endpoint(const route_call *call);
void responses_cancel_endpoint(const route_call *call);
void responses_input_items_endpoint(const route_call *call);
void models_list_endpoint(const route_call *call);
void models_one_endpoint(const route_call *call);
void status_health_endpoint(const route_call *call);
void status_version_endpoint(const route_call *call);
void status_load_endpoint(const route_call *call);
void status_metrics_endpoint(const route_call *call);
void openapi_endpoint(const route_call *call);

/* Today as YYYY-MM-DD, local time. */
void status_today(char out[11]);

#endif
