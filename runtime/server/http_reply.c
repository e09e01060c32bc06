/* The reply half of an exchange: status line, headers, body in one piece or in chunks. */
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "runtime/base/log.h"
#include "runtime/server/http_connection.h"

static const char *reason_phrase(int code)
{
    switch (code) {
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return code >= 500 ? "Internal Server Error" : "Error";
    }
}

void http_exchange_mark(http_exchange *x, int mark) { x->mark = mark; }

buffer http_exchange_take_body(http_exchange *x)
{
    buffer body = x->body;
    x->body = (buffer){0};
    return body;
}

void http_exchange_header(http_exchange *x, const char *name, const char *value)
{
    char clean[512];
    size_t n = 0;
    for (; *value && n + 1 < sizeof clean; value++)
        if ((unsigned char)*value >= 0x20 && *value != 0x7f) clean[n++] = *value;
    clean[n] = '\0';
    if (!buffer_printf(&x->reply_headers, "%s: %s\r\n", name, clean)) x->cut = true;
}

static void write_head(http_exchange *x, int code, const char *type)
{
    struct evbuffer *out = bufferevent_get_output(x->stream);
    char date[64];
    x->code = code;
    time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &utc));
    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\nServer: gptoss-tp\r\n", code, reason_phrase(code), date);
    if (type) evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
    evbuffer_add(out, x->reply_headers.data, x->reply_headers.size);
    if (!x->keep_alive) evbuffer_add_printf(out, "Connection: close\r\n");
    else if (!x->head.minor) evbuffer_add_printf(out, "Connection: keep-alive\r\n");
}

void http_exchange_reply(http_exchange *x, int code, const char *type, const char *body, size_t size)
{
    struct evbuffer *out = bufferevent_get_output(x->stream);
    if (x->server->draining) x->keep_alive = false;
    write_head(x, code, type);
    evbuffer_add_printf(out, "Content-Length: %zu\r\n\r\n", size);
    bool bare = x->head_only || code == 304; /* Content-Length says what a whole reply would hold (RFC 9110 section 8.6) */
    if (!bare && size && evbuffer_add(out, body, size)) x->cut = true;
    x->head_only = false;
    http_connection_reply_ended(x);
}

/* HTTP/1.0 knows no chunks: there the end of the connection ends the body. HEAD has none. */
void http_exchange_begin(http_exchange *x, int code, const char *type)
{
    struct evbuffer *out = bufferevent_get_output(x->stream);
    x->streaming = true;
    bool chunked = x->head.minor == 1;
    x->chunked_reply = chunked && !x->head_only;
    if (!chunked || x->server->draining) x->keep_alive = false;
    write_head(x, code, type);
    evbuffer_add_printf(out, "%s\r\n", chunked ? "Transfer-Encoding: chunked\r\n" : "");
}

static void cut(http_exchange *x)
{
    x->cut = true;
    event_active(x->kick, EV_TIMEOUT, 0);
}

void http_exchange_write(http_exchange *x, const char *data, size_t size)
{
    struct evbuffer *out = bufferevent_get_output(x->stream);
    if (!size || x->cut || x->head_only) return;
    if (evbuffer_get_length(out) > x->server->limits.max_backlog) {
        log_warn("closing a client that reads too slowly: more than %zu bytes of its stream are waiting", x->server->limits.max_backlog);
        cut(x);
        return;
    }
    char line[24];
    int length = snprintf(line, sizeof line, "%zx\r\n", size);
    if (x->chunked_reply && evbuffer_add(out, line, (size_t)length)) cut(x);
    else if (evbuffer_add(out, data, size)) cut(x);
    else if (x->chunked_reply && evbuffer_add(out, "\r\n", 2)) cut(x);
}

size_t http_exchange_backlog(const http_exchange *x) { return evbuffer_get_length(bufferevent_get_output(x->stream)); }

void http_exchange_when_sent(http_exchange *x, void (*sent)(void *user)) { x->sent = sent; }

void http_exchange_end(http_exchange *x)
{
    if (!x->cut && x->chunked_reply) evbuffer_add(bufferevent_get_output(x->stream), "0\r\n\r\n", 5);
    x->streaming = x->chunked_reply = false;
    http_connection_reply_ended(x);
}

void http_exchange_abort(http_exchange *x)
{
    x->gone = x->sent = NULL;
    cut(x);
}

void http_exchange_watch(http_exchange *x, void (*gone)(void *user), void *user)
{
    x->gone = gone;
    x->gone_user = user;
}
