#include "runtime/server/http_connection.h"

#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "runtime/base/log.h"

/* While a reply is being made no more than this of the next requests is read; reading itself goes on, to notice a hang-up. */
enum { MAX_READ_AHEAD = 64 << 10 };

static struct timeval to_timeval(double seconds)
{
    long whole = (long)seconds;
    return (struct timeval){.tv_sec = whole, .tv_usec = (long)((seconds - (double)whole) * 1e6)};
}

static double monotonic_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The handler, or that of faults, is about to get the exchange. */
static void begin_reply(http_exchange *c)
{
    c->state = HTTP_REPLYING;
    c->mark = c->code = 0;
    c->dispatched = monotonic_seconds();
    event_del(c->deadline);
}

static void tell_over(const http_exchange *c)
{
    const http_callbacks *to = &c->server->callbacks;
    if (to->over) to->over(to->user, c->mark, c->code ? c->code : HTTP_CLIENT_GONE, monotonic_seconds() - c->dispatched);
}

static void set_deadline(http_exchange *c, double seconds)
{
    struct timeval time = to_timeval(seconds);
    event_add(c->deadline, &time);
}

void http_connection_destroy(http_exchange *c)
{
    http_server *s = c->server;
    if (c->gone) {
        void (*gone)(void *) = c->gone;
        c->gone = NULL;
        gone(c->gone_user);
    }
    if (c->state == HTTP_REPLYING) tell_over(c);
    if (c->previous) c->previous->next = c->next;
    else s->connections = c->next;
    if (c->next) c->next->previous = c->previous;
    s->n_connections--;
    if (c->kick) event_free(c->kick);
    if (c->deadline) event_free(c->deadline);
    if (c->stream) bufferevent_free(c->stream);
    buffer_free(&c->head_bytes);
    buffer_free(&c->body);
    buffer_free(&c->reply_headers);
    free(c);
}

static void answer_fault(http_exchange *c, const http_fault *fault)
{
    begin_reply(c);
    c->keep_alive = false;
    c->linger = true;
    c->server->callbacks.fault(c->server->callbacks.user, c, fault);
}

/* Head ------------------------------------------------------------------------------------------------------------- */

static void begin_head(http_exchange *c)
{
    c->state = HTTP_READING_HEAD;
    c->scanned = 0;
    c->head_begun = false;
    c->linger = false;
    bufferevent_setwatermark(c->stream, EV_READ, 0, 0);
    set_deadline(c, c->server->limits.idle_seconds);
}

/* Empty lines before a request are allowed (RFC 9112 section 2.2). */
static void skip_empty_lines(struct evbuffer *input)
{
    char two[2];
    while (evbuffer_copyout(input, two, 2) == 2 && two[0] == '\r' && two[1] == '\n') evbuffer_drain(input, 2);
}

static void begin_body(http_exchange *c)
{
    const http_head *head = &c->head;
    c->state = HTTP_READING_BODY;
    c->chunks = (http_chunks){0};
    buffer_clear(&c->body);
    c->head_only = http_slice_is(head->method, "HEAD");
    c->keep_alive = head->keep_alive;
    if (head->content_length > c->server->limits.max_body) {
        answer_fault(c, &(http_fault){413, "The request body is too large."});
        return;
    }
    if (!head->chunked && head->content_length <= 0) return;
    set_deadline(c, c->server->limits.body_seconds);
    if (head->expect_continue && !evbuffer_get_length(bufferevent_get_input(c->stream)))
        evbuffer_add_printf(bufferevent_get_output(c->stream), "HTTP/1.1 100 Continue\r\n\r\n");
}

/* Returns whether there is more to do with what has been read. */
static bool read_head(http_exchange *c)
{
    struct evbuffer *input = bufferevent_get_input(c->stream), *output = bufferevent_get_output(c->stream);
    /* a client that pipelines and does not read must not pile up replies */
    if (evbuffer_get_length(output) > MAX_READ_AHEAD) return false;
    if (!c->scanned) skip_empty_lines(input);
    size_t available = evbuffer_get_length(input), limit = c->server->limits.max_head;
    if (!available) return false;
    if (!c->head_begun) {
        c->head_begun = true;
        set_deadline(c, c->server->limits.head_seconds);
    }
    size_t look = available < limit ? available : limit;
    const char *data = (const char *)evbuffer_pullup(input, (ev_ssize_t)look);
    size_t size = data ? http_parse_head_size(data, look, c->scanned) : 0;
    if (!size) {
        bool bare = data && http_parse_ends_bare(data, look, c->scanned);
        c->scanned = look;
        if (data && (unsigned char)data[0] >= 0x80) answer_fault(c, &(http_fault){400, "This is not HTTP."});
        else if (data && data[0] < 0x20 && data[0] != '\r') answer_fault(c, &(http_fault){400, "This is not HTTP; TLS is not spoken here."});
        else if (bare) answer_fault(c, &(http_fault){400, "A line ends without carriage return and line feed."});
        else if (available > limit) answer_fault(c, &(http_fault){431, "The request's headers are too long."});
        return false;
    }
    http_fault fault = {503, "No memory for the request."};
    buffer_clear(&c->head_bytes);
    bool good = buffer_append(&c->head_bytes, data, size) && http_parse_head(c->head_bytes.data, size, &c->head, &fault);
    evbuffer_drain(input, size);
    if (good) begin_body(c);
    else answer_fault(c, &fault);
    return true;
}

/* Body ------------------------------------------------------------------------------------------------------------- */

static void dispatch(http_exchange *c)
{
    begin_reply(c);
    bufferevent_setwatermark(c->stream, EV_READ, 0, MAX_READ_AHEAD);
    c->server->callbacks.request(c->server->callbacks.user, c, &c->head, c->body.data ? c->body.data : (char[]){""}, c->body.size);
}

/* Takes what has come of a body; sets *whole at its end. False: a fault. */
static bool take_body(http_exchange *c, bool *whole, http_fault *fault)
{
    struct evbuffer *input = bufferevent_get_input(c->stream);
    *whole = !c->head.chunked && (int64_t)c->body.size >= c->head.content_length;
    while (!*whole && evbuffer_get_length(input)) {
        size_t size = evbuffer_get_contiguous_space(input), taken = size;
        const char *data = (const char *)evbuffer_pullup(input, (ev_ssize_t)size);
        if (c->head.chunked) {
            http_chunks_result result = http_chunks_push(&c->chunks, data, size, c->server->limits.max_body, &c->body, &taken, fault);
            if (result == HTTP_CHUNKS_FAULT) return false;
            *whole = result == HTTP_CHUNKS_DONE;
        } else {
            int64_t left = c->head.content_length - (int64_t)c->body.size;
            if ((int64_t)taken > left) taken = (size_t)left;
            if (!buffer_append(&c->body, data, taken)) return *fault = (http_fault){503, "No memory for the request body."}, false;
            *whole = (int64_t)taken == left;
        }
        evbuffer_drain(input, taken);
    }
    return true;
}

static bool read_body(http_exchange *c)
{
    bool whole;
    http_fault fault;
    if (!take_body(c, &whole, &fault)) answer_fault(c, &fault);
    else if (!whole) return false;
    else dispatch(c);
    return true;
}

/* Life ------------------------------------------------------------------------------------------------------------- */

static void finish_sending(http_exchange *c)
{
    if (evbuffer_get_length(bufferevent_get_output(c->stream))) return;
    if (!c->linger || c->server->draining) {
        c->cut = true;
        return;
    }
    c->state = HTTP_LINGERING;
    shutdown(bufferevent_getfd(c->stream), SHUT_WR);
    bufferevent_setwatermark(c->stream, EV_READ, 0, 0);
    set_deadline(c, c->server->limits.linger_seconds);
}

/* All that can be done with what has been read and sent. May free the connection. */
static void process(http_exchange *c)
{
    c->processing = true;
    bool more = true;
    while (more && !c->cut) {
        if (c->state == HTTP_READING_HEAD) more = read_head(c);
        else if (c->state == HTTP_READING_BODY) more = read_body(c);
        else more = false;
        if (c->state == HTTP_CLOSING) finish_sending(c);
    }
    if (c->state == HTTP_LINGERING) {
        struct evbuffer *input = bufferevent_get_input(c->stream);
        evbuffer_drain(input, evbuffer_get_length(input));
    }
    c->processing = false;
    if (c->cut) http_connection_destroy(c);
}

void http_connection_reply_ended(http_exchange *c)
{
    c->gone = c->sent = NULL;
    tell_over(c);
    buffer_clear(&c->reply_headers);
    buffer_free(&c->body);
    if (c->keep_alive && !c->server->draining) {
        begin_head(c);
    } else {
        c->state = HTTP_CLOSING;
        bufferevent_setwatermark(c->stream, EV_READ, 0, MAX_READ_AHEAD);
    }
    if (!c->processing) event_active(c->kick, EV_TIMEOUT, 0);
}

void http_connection_drain(http_exchange *c)
{
    bool idle = c->state != HTTP_REPLYING && !evbuffer_get_length(bufferevent_get_output(c->stream));
    c->keep_alive = false;
    if (idle) http_connection_destroy(c);
    else if (c->state != HTTP_REPLYING) c->state = HTTP_CLOSING;
}

static void on_read(struct bufferevent *stream, void *user)
{
    (void)stream;
    process(user);
}

static void on_sent(struct bufferevent *stream, void *user)
{
    (void)stream;
    http_exchange *c = user;
    if (c->sent && !c->cut) c->sent(c->gone_user);
    process(c);
}

static void on_kick(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    process(user);
}

/* A client that stops sending counts as gone, whether it closed both directions or one: TCP does not tell, and a sequence that nobody
 * reads costs a place in the batch. What has been answered already still goes out. */
static void on_event(struct bufferevent *stream, short what, void *user)
{
    http_exchange *c = user;
    bool sending = evbuffer_get_length(bufferevent_get_output(stream)) > 0;
    if ((what & BEV_EVENT_EOF) && sending && c->state != HTTP_REPLYING) {
        c->state = HTTP_CLOSING;
        c->linger = false;
        event_del(c->deadline);
        return;
    }
    if (what & BEV_EVENT_TIMEOUT) log_info("closing a client that reads nothing");
    http_connection_destroy(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    http_exchange *c = user;
    if ((c->state == HTTP_READING_HEAD && c->head_begun) || c->state == HTTP_READING_BODY) {
        answer_fault(c, &(http_fault){408, "The request did not arrive in time."});
    } else if (c->state == HTTP_READING_HEAD && evbuffer_get_length(bufferevent_get_output(c->stream))) {
        c->state = HTTP_CLOSING; /* a slow reader of the last reply: `stall_seconds` watches it */
    } else {
        http_connection_destroy(c);
    }
}

void http_connection_open(http_server *s, evutil_socket_t fd)
{
    http_exchange *c = calloc(1, sizeof *c);
    struct bufferevent *stream = c ? bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
    if (!stream) {
        free(c);
        evutil_closesocket(fd);
        return;
    }
    c->server = s;
    c->stream = stream;
    c->next = s->connections;
    if (c->next) c->next->previous = c;
    s->connections = c;
    s->n_connections++;
    c->deadline = event_new(s->base, -1, 0, on_deadline, c);
    c->kick = event_new(s->base, -1, 0, on_kick, c);
    if (!c->deadline || !c->kick) {
        http_connection_destroy(c);
        return;
    }
    int on = 1; /* a token is a packet: never wait for more */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    bufferevent_setcb(stream, on_read, on_sent, on_event, c);
    struct timeval stall = to_timeval(s->limits.stall_seconds);
    bufferevent_set_timeouts(stream, NULL, &stall);
    begin_head(c);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}
