/* One client's connection: the state machine between bytes and requests. Internal to http_*.c. */
#ifndef RUNTIME_SERVER_HTTP_CONNECTION_H
#define RUNTIME_SERVER_HTTP_CONNECTION_H

#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "runtime/server/http_server.h"

typedef enum http_state {
    HTTP_READING_HEAD,
    HTTP_READING_BODY,
    HTTP_REPLYING, /* the handler has the request */
    HTTP_CLOSING,  /* the last reply is on its way out; then closed, after lingering when the client may still be sending */
    HTTP_LINGERING, /* sent and half closed: what comes in is thrown away */
} http_state;

struct http_exchange {
    http_server *server;
    http_exchange *previous, *next; /* list of all connections */
    struct bufferevent *stream;
    struct event *deadline; /* of the current state */
    struct event *kick;     /* work put off to the event loop: the next request, or the end of a cut-off client */
    http_state state;
    bool cut;               /* to be closed by `kick` */
    bool linger;            /* the client may still be sending */
    bool processing;        /* inside process(): replies need not kick */
    bool head_begun;        /* the deadline of the head runs */
    size_t scanned;         /* bytes of the head already looked at */
    buffer head_bytes;      /* what `head` points into */
    http_head head;
    http_chunks chunks;
    buffer body;
    buffer reply_headers;   /* lines gathered by http_exchange_header() */
    bool head_only;         /* HEAD: no body is sent */
    int mark, code;         /* for callbacks.over; code 0: no reply has begun */
    double dispatched;      /* monotonic seconds at which the handler got the request */
    bool streaming, chunked_reply, keep_alive;
    void (*gone)(void *user);
    void (*sent)(void *user); /* NULL: nobody paces this reply */
    void *gone_user;          /* of both */
};

struct http_server {
    struct event_base *base;
    http_limits limits;
    http_callbacks callbacks;
    struct evconnlistener *listener;
    struct event *accept_again; /* after running out of descriptors */
    http_exchange *connections;
    int n_connections;
    int port;
    bool draining;
};

/* Takes over the socket. On failure it is closed. */
void http_connection_open(http_server *s, evutil_socket_t fd);
/* Tells the watcher and frees. */
void http_connection_destroy(http_exchange *c);
/* Reads on after a reply has ended. */
void http_connection_reply_ended(http_exchange *c);
/* Closes it when nothing is being said. */
void http_connection_drain(http_exchange *c);

#endif
