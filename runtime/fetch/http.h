/* Requests to a hub by libcurl: what all of them share, and the small ones, whole. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_HTTP_H
#define RUNTIME_FETCH_HTTP_H

#include <curl/curl.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"
#include "runtime/fetch/fetch.h"

typedef struct http_settings {
    const char *endpoint; /* of the hub */
    const char *token;    /* NULL: none. Goes to the endpoint's origin and nowhere else, whatever redirects say */
    int retries;          /* tries without progress before giving up */
    const fetch_events *events;
} http_settings;

enum { HTTP_MOST_REDIRECTS = 10 };

/* Prepares `easy` for a GET of `url`, with the token where it may go. Redirects are not followed: the caller decides, so that the token's rule
 * is ours. `headers` is set for the caller to free once the request is over. False: out of memory. */
bool http_prepare(CURL *easy, const http_settings *s, const char *url, struct curl_slist **headers);

/* Where a 3xx answer sends us; NULL when it is no redirect, or one that url_may_follow() refuses. The caller frees it. */
char *http_redirect(CURL *easy, const char *from);

/* An answer of at most `limit` bytes, tried again as retry.h says; `next` gets the address that its Link header has for the next page, or
 * stays empty. Both are empty before, and on failure. */
status http_get(const http_settings *s, const char *url, size_t limit, buffer *body, buffer *next, status_detail *detail);

/* CLOCK_MONOTONIC, seconds. */
double http_now(void);

#endif
