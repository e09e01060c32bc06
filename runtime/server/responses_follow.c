/* GET /v1/responses/{id}?stream=true: the events of a response that was made in the background, from any of them on, and on as they come.
 *
 * A client reads from what is kept at its own speed: only a little is ever written ahead of it, so one that is slow costs no memory and is not cut off. */
#include <stdlib.h>

#include "runtime/server/responses.h"

/* Bytes of the stream that may wait to be sent. */
enum { AHEAD = 256 << 10 };

typedef struct follower {
    responses_log_reader reader; /* first */
    http_exchange *exchange;
    json_writer out;             /* scratch */
} follower;

static void free_follower(follower *f)
{
    responses_log_leave(&f->reader);
    json_write_free(&f->out);
    free(f);
}

static void client_gone(void *user) { free_follower(user); }

/* The stream cannot be made whole any more: the client sees it break off, and may ask why. */
static void break_off(follower *f)
{
    http_exchange_abort(f->exchange);
    free_follower(f);
}

/* Sends what may be sent now. May free it. */
static void go_on(follower *f)
{
    if (!f->reader.log) {
        break_off(f);
        return;
    }
    size_t room = http_exchange_backlog(f->exchange);
    room = room < AHEAD ? AHEAD - room : 0;
    json_write_clear(&f->out);
    while (f->out.text.size < room && responses_log_next(&f->reader, &f->out)) continue;
    if (f->out.failed) {
        break_off(f);
        return;
    }
    http_exchange_write(f->exchange, f->out.text.data, f->out.text.size);
    if (!responses_log_is_over(&f->reader)) return;
    http_exchange_end(f->exchange);
    free_follower(f);
}

static void on_sent(void *user) { go_on(user); }
static void on_changed(responses_log_reader *r) { go_on((follower *)r); }

void responses_follow(const route_call *call, responses_log *events, long long first)
{
    http_exchange *x = call->exchange;
    follower *f = calloc(1, sizeof *f);
    if (!f) {
        api_error error;
        api_error_set(&error, 500, NULL, "Out of memory.");
        routes_reply_error(x, &error);
        return;
    }
    generation_begin_events(x);
    if (http_slice_is(call->head->method, "HEAD")) {
        free(f);
        http_exchange_end(x);
        return;
    }
    f->exchange = x;
    f->reader.changed = on_changed;
    responses_log_join(events, &f->reader, first);
    http_exchange_watch(x, client_gone, f);
    http_exchange_when_sent(x, on_sent);
    go_on(f);
}
