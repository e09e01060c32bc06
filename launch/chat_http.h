/* Requests to the server by libcurl, broken off by Ctrl-C. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_HTTP_H
#define LAUNCH_CHAT_HTTP_H

#include <curl/curl.h>
#include <stdbool.h>

#include "launch/chat_signals.h"
#include "runtime/base/status.h"

typedef struct chat_http {
    char *url;            /* scheme, host, port; no '/' at its end, and no /v1 */
    const char *key_file; /* NULL: none */
    CURLM *multi;         /* keeps the connection between requests */
    struct curl_slist *headers;
    int signals;          /* chat_signals_open(), or -1 */
} chat_http;

/* `url` as the user gave it; `key_file`, which may be NULL, holds the key in its first line. STATUS_USAGE when either is not good. */
status chat_http_open(const char *url, const char *key_file, int signals, chat_http *out, status_detail *detail);
void chat_http_close(chat_http *http);

typedef struct chat_http_request {
    const char *path;  /* "/v1/models" */
    const char *body;  /* JSON to POST; NULL: a GET */
    const char *model; /* for the message of a 404; NULL: none */
    /* Gets the body of a 200 as it comes. */
    status (*take)(void *user, const char *bytes, size_t size, status_detail *detail);
    void *user;
    chat_signal stopped; /* out: what broke it off; CHAT_SIGNAL_NONE: nothing */
} chat_http_request;

/* STATUS_OK: a 200 that came to its end, or it was stopped, and the connection is closed. Otherwise the detail says what to do. */
status chat_http_run(chat_http *http, chat_http_request *request, status_detail *detail);

#endif
