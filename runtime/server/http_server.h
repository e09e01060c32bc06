/* An HTTP/1.1 server on libevent's bufferevents: listens, reads whole requests, and hands them to one handler.
 *
 * Why not evhttp (2.1): it stops reading while a reply is awaited, so that a client that hangs up goes unnoticed; its time-out starts anew
 * with every byte of a slow head; its errors are HTML; and it ends the process (event_errx) on states that a pipelining client can cause.
 *
 * Everything runs on the thread of the event base. A connection carries one exchange at a time; later pipelined requests wait.
 */
#ifndef RUNTIME_SERVER_HTTP_SERVER_H
#define RUNTIME_SERVER_HTTP_SERVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"
#include "runtime/server/http_parse.h"

typedef struct http_server http_server;

/* A request and the reply to it. Lives from the handler's call until the reply has ended or the client is gone. */
typedef struct http_exchange http_exchange;

typedef struct http_limits {
    size_t max_head;         /* bytes of request line and headers */
    int64_t max_body;        /* bytes */
    size_t max_backlog;      /* bytes a streaming reply may have unsent; a reader slower than that is cut off */
    int max_connections;     /* 0: what the limit on open files leaves */
    double head_seconds;     /* from the first byte of a head to its last */
    double body_seconds;     /* for a whole body */
    double idle_seconds;     /* between requests */
    double stall_seconds;    /* without any progress in sending */
    double linger_seconds;   /* reading on after an early error, so that the client sees the answer and no reset */
} http_limits;

/* 32 KiB, 32 MiB, 4 MiB, 0, 10 s, 120 s, 75 s, 300 s, 2 s. */
http_limits http_limits_default(void);

/* Called for each whole request. Must reply at once, or keep `x` and reply later; in the second case http_exchange_watch() tells when the
 * client has gone. head is valid as long as `x`, body until the handler returns or http_exchange_take_body(). */
typedef void (*http_handler)(void *user, http_exchange *x, const http_head *head, char *body, size_t body_size);
/* Answers faults of the protocol itself in the API's own format. Must reply at once. */
typedef void (*http_fault_handler)(void *user, http_exchange *x, const http_fault *fault);

/* Called when a request is over. `mark` is what http_exchange_mark() said, 0 without it; `code` the status of the reply, or
 * HTTP_CLIENT_GONE; `seconds` since the whole request was there. */
typedef void (*http_over_handler)(void *user, int mark, int code, double seconds);

/* Where the client went before a reply began: never sent, known from logs of other servers. */
enum { HTTP_CLIENT_GONE = 499 };

typedef struct http_callbacks {
    http_handler request;
    http_fault_handler fault;
    http_over_handler over;
    void *user;
} http_callbacks;

/* Binds and listens. STATUS_MACHINE when the address cannot be had. */
status http_server_open(struct event_base *base, const char *host, int port, const http_limits *limits, const http_callbacks *callbacks,
                        http_server **out, status_detail *detail);
int http_server_port(const http_server *s);

/* Stops listening and closes every connection as soon as it has nothing more to send. When `base` should stop is the caller's to see. */
void http_server_drain(http_server *s);
int http_server_connections(const http_server *s);
/* Closes everything at once. NULL is allowed. */
void http_server_close(http_server *s);

/* ---- replying --------------------------------------------------------------------------------------------------- */

/* A number for http_over_handler. */
void http_exchange_mark(http_exchange *x, int mark);
/* The request's body, which is the caller's to free from now on. */
buffer http_exchange_take_body(http_exchange *x);

/* A header line for the reply, before it begins. Value bytes that cannot stand in a header are dropped. */
void http_exchange_header(http_exchange *x, const char *name, const char *value);
/* Whole reply. `x` is gone afterwards. `type` NULL: no Content-Type. */
void http_exchange_reply(http_exchange *x, int code, const char *type, const char *body, size_t size);

/* A reply in pieces: begin, any number of writes, end. After end `x` is gone. A write beyond the backlog's limit, or to a client that has
 * gone, is dropped; the watcher is told soon after, never from inside the write. */
void http_exchange_begin(http_exchange *x, int code, const char *type);
void http_exchange_write(http_exchange *x, const char *data, size_t size);
/* Bytes written that have not gone yet. */
size_t http_exchange_backlog(const http_exchange *x);
/* For a reply that is there faster than it goes: `sent` is called, with the watcher's `user`, each time all that was written has gone. It may write and end. */
void http_exchange_when_sent(http_exchange *x, void (*sent)(void *user));
void http_exchange_end(http_exchange *x);
/* Breaks a reply that has begun: the client sees a connection cut short. */
void http_exchange_abort(http_exchange *x);

/* `gone` is called, once, when the client has hung up or was cut off before the reply ended; `x` must not be used from then on. The last
 * call of this counts; `gone` NULL: nobody is called. */
void http_exchange_watch(http_exchange *x, void (*gone)(void *user), void *user);

#endif
