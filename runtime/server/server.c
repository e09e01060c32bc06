#include "runtime/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/server/generation.h"
#include "runtime/base/quiet_thread.h"
#include "runtime/server/responses_store.h"

/* ---- the server's thread ---------------------------------------------------------------------------------------- */

static double monotonic_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Takes a bounded number of events, so that connections get their turn; the descriptor stays readable while more wait. */
static int take_events(server *s)
{
    enum { BATCH = 64 };
    engine_event events[BATCH];
    int n = engine_poll(s->engine, events, BATCH);
    double now = monotonic_seconds();
    for (int i = 0; i < n; i++) generation_event(&events[i], now);
    if (n) generation_retry(s);
    return n;
}

static void on_retry(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    generation_retry(user);
}

static void on_engine(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    for (int i = 0; i < 16 && take_events(user); i++) {
    }
}

/* After closing began: leaves the loop once every client has its answer, or at the deadline. */
static void on_close_timer(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    server *s = user;
    while (take_events(s)) {
    }
    if (http_server_connections(s->http) == 0 || monotonic_seconds() >= s->close_seconds) event_base_loopbreak(s->base);
    else event_add(s->close_timer, &(struct timeval){.tv_usec = 10000});
}

static void on_control(evutil_socket_t fd, short what, void *user)
{
    (void)what;
    server *s = user;
    uint64_t count;
    if (read(fd, &count, sizeof count) != sizeof count) return;
    s->close_seconds += monotonic_seconds();
    while (take_events(s)) {
    }
    http_server_drain(s->http);
    on_close_timer(-1, 0, s);
}

static void *run(void *user)
{
    server *s = user;
    if (event_base_dispatch(s->base) < 0) log_error("the server's event loop failed");
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static bool copy_names(server *s, const server_options *options)
{
    s->names = calloc(options->n_names > 0 ? (size_t)options->n_names : 1, sizeof *s->names);
    if (!s->names) return false;
    for (int i = 0; i < options->n_names; i++) {
        s->names[i] = strdup(options->names[i]);
        if (!s->names[i]) return false;
        s->n_names++;
    }
    if (!s->n_names) s->n_names = (s->names[0] = strdup("gpt-oss")) != NULL;
    return s->n_names > 0;
}

static status copy_stop_ids(server *s, const server_options *options, status_detail *detail)
{
    int32_t ids[3];
    int n = harmony_stop_ids(s->harmony, ids), room = (int)(sizeof s->stop_ids / sizeof s->stop_ids[0]);
    for (int i = 0; i < n; i++) s->stop_ids[s->n_stop_ids++] = ids[i];
    for (int i = 0; i < options->n_eos; i++) {
        if (s->n_stop_ids == room) return status_fail(detail, STATUS_MODEL, "config.json: more than %d eos_token_id values", room - n);
        s->stop_ids[s->n_stop_ids++] = options->eos[i];
    }
    return STATUS_OK;
}

static status open_events(server *s, status_detail *detail)
{
    s->control_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->base = event_base_new();
    if (s->control_fd < 0 || !s->base) return status_fail(detail, STATUS_MACHINE, "cannot make the server's event loop: %s", strerror(errno));
    s->engine_event = event_new(s->base, engine_event_fd(s->engine), EV_READ | EV_PERSIST, on_engine, s);
    s->control_event = event_new(s->base, s->control_fd, EV_READ | EV_PERSIST, on_control, s);
    s->close_timer = event_new(s->base, -1, 0, on_close_timer, s);
    s->retry_timer = event_new(s->base, -1, 0, on_retry, s);
    if (!s->engine_event || !s->control_event || !s->close_timer || !s->retry_timer || event_add(s->engine_event, NULL) ||
        event_add(s->control_event, NULL))
        return status_fail(detail, STATUS_MACHINE, "cannot make the server's event loop: no memory");
    return STATUS_OK;
}

static void free_server(server *s)
{
    http_server_close(s->http);
    worker_close(s->worker); /* after those who wait for it */
    if (s->retry_timer) event_free(s->retry_timer);
    if (s->close_timer) event_free(s->close_timer);
    if (s->control_event) event_free(s->control_event);
    if (s->engine_event) event_free(s->engine_event);
    if (s->base) event_base_free(s->base);
    if (s->control_fd >= 0) close(s->control_fd);
    responses_store_close(s->responses);
    api_keys_free(&s->keys);
    constraint_cache_close(s->constraints);
    for (int i = 0; i < s->n_names; i++) free(s->names[i]);
    free(s->names);
    free(s);
}

static status open_parts(server *s, const server_options *options, const http_limits *limits, status_detail *detail)
{
    const http_callbacks callbacks = {routes_dispatch, routes_fault, routes_over, s};
    if (!copy_names(s, options)) return status_fail(detail, STATUS_MACHINE, "no memory for the server");
    s->responses = responses_store_open(options->max_responses > 0 ? (size_t)options->max_responses : (size_t)RESPONSES_STORE_DEFAULT_MIB << 20);
    if (!s->responses) return status_fail(detail, STATUS_MACHINE, "no memory for the server");
    if (options->api_key) STATUS_TRY(api_keys_take(options->api_key, &s->keys, detail));
    else STATUS_TRY(api_keys_read(options->api_keys_file, &s->keys, detail));
    STATUS_TRY(copy_stop_ids(s, options, detail));
    STATUS_TRY(constraint_cache_open(s->tokenizer, &s->constraints, detail));
    STATUS_TRY(open_events(s, detail));
    STATUS_TRY(worker_open(s->base, &s->worker, detail));
    STATUS_TRY(http_server_open(s->base, options->host, options->port, limits, &callbacks, &s->http, detail));
    engine_on_step(s->engine, metrics_step, &s->metrics);
    int error = quiet_thread_start(&s->thread, run, s);
    if (!error) return STATUS_OK;
    engine_on_step(s->engine, NULL, NULL);
    return status_fail(detail, STATUS_MACHINE, "cannot start the server's thread: %s", strerror(error));
}

status server_open_limits(const server_options *options, const http_limits *limits, engine *e, const tokenizer *t, const harmony *h,
                          server **out, status_detail *detail)
{
    server *s = calloc(1, sizeof *s);
    if (!s) return status_fail(detail, STATUS_MACHINE, "no memory for the server");
    s->engine = e;
    s->tokenizer = t;
    s->harmony = h;
    s->control_fd = -1;
    s->limits = (request_limits){tokenizer_size(t), engine_max_model_len(e)};
    s->end_of_text = tokenizer_special(t, "<|endoftext|>");
    s->started = time(NULL);
    metrics_init(&s->metrics, s->limits.max_model_len);
    status result = open_parts(s, options, limits, detail);
    if (result == STATUS_OK) *out = s;
    else free_server(s);
    return result;
}

status server_open(const server_options *options, engine *e, const tokenizer *t, const harmony *h, server **out, status_detail *detail)
{
    http_limits limits = http_limits_default();
    if (options->max_body > 0) limits.max_body = options->max_body;
    return server_open_limits(options, &limits, e, t, h, out, detail);
}

int server_port(const server *s) { return http_server_port(s->http); }

void server_close(server *s, double seconds)
{
    if (!s) return;
    uint64_t one = 1;
    s->close_seconds = seconds;
    if (write(s->control_fd, &one, sizeof one) != sizeof one) log_error("cannot wake the server's thread: %s", strerror(errno));
    pthread_join(s->thread, NULL);
    engine_on_step(s->engine, NULL, NULL);
    /* clients that are still there go now, and with them the last interest in their sequences */
    http_server_close(s->http);
    s->http = NULL;
    while (take_events(s)) {
    }
    free_server(s);
}
