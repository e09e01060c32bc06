/* Failures of requests in words: what happened, where, what to do. Pure. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_HTTP_REFUSAL_H
#define RUNTIME_FETCH_HTTP_REFUSAL_H

#include <stdbool.h>

#include "runtime/base/status.h"

/* An answer that will not change (RETRY_NEVER). `has_token`: one was sent. */
status http_refusal(int http_status, const char *url, bool has_token, status_detail *detail);

/* Giving up after `tries`; `why` is the last one's reason, for HTTP answers ignored. */
status http_gave_up(int tries, int http_status, const char *why, const char *url, status_detail *detail);

#endif
