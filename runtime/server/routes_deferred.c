/* Requests that others should not wait for: parsing and tokenising many megabytes, or compiling a grammar, which the worker does. */
#include <stdlib.h>

#include "runtime/server/server_internal.h"

/* Bytes of a body that is still dealt with at once: some milliseconds. */
enum { LARGE_BODY = 64 << 10 };

typedef struct deferred {
    worker_job job; /* first */
    server *server;
    http_exchange *exchange; /* NULL: the client is gone; the server's thread alone looks at it */
    const http_head *head;   /* lives as long as the exchange */
    const route_work *work;
    buffer body;             /* owned */
    void *prepared;          /* NULL: `error` */
    api_error error;
} deferred;

static void finish(const route_call *call, const route_work *work, void *prepared, const api_error *error)
{
    if (prepared) work->begin(call, prepared);
    else routes_reply_error(call->exchange, error);
}

static void free_deferred(deferred *d)
{
    d->server->deferred--;
    buffer_free(&d->body);
    free(d);
}

static void run(worker_job *job)
{
    deferred *d = (deferred *)job;
    d->prepared = d->work->prepare(d->server, d->body.data, d->body.size, &d->error);
    buffer_free(&d->body);
}

static void done(worker_job *job)
{
    deferred *d = (deferred *)job;
    if (d->exchange) {
        route_call call = {.server = d->server, .exchange = d->exchange, .head = d->head, .tail = "", .body = (char[]){""}};
        http_exchange_watch(d->exchange, NULL, NULL);
        finish(&call, d->work, d->prepared, &d->error);
    } else if (d->prepared) {
        d->work->drop(d->prepared);
    }
    free_deferred(d);
}

static void client_gone(void *user)
{
    deferred *d = user;
    d->exchange = NULL;
    if (worker_withdraw(d->server->worker, &d->job)) free_deferred(d);
}

/* True: done with. False: the worker's part. */
static bool try_now(const route_call *call, const route_work *work)
{
    api_error error = {0};
    if (call->body_size > LARGE_BODY) return false;
    void *prepared = work->prepare(call->server, call->body, call->body_size, &error);
    if (!prepared && error.http == ROUTE_LATER) return false;
    finish(call, work, prepared, &error);
    return true;
}

void routes_work(const route_call *call, const route_work *work)
{
    api_error error;
    if (try_now(call, work)) return;
    deferred *d = calloc(1, sizeof *d);
    if (!d) {
        api_error_set(&error, 500, NULL, "Out of memory.");
        routes_reply_error(call->exchange, &error);
        return;
    }
    *d = (deferred){.job = {run, done, NULL}, .server = call->server, .exchange = call->exchange, .head = call->head, .work = work};
    d->body = http_exchange_take_body(call->exchange);
    d->server->deferred++;
    http_exchange_watch(d->exchange, client_gone, d);
    worker_add(d->server->worker, &d->job);
}
