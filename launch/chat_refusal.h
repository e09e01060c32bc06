/* Why a server did not answer, in one line that says what to do. Pure. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_REFUSAL_H
#define LAUNCH_CHAT_REFUSAL_H

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"

typedef struct chat_refusal_context {
    const char *url;      /* of the server */
    const char *key_file; /* NULL: no key was sent */
    const char *model;    /* NULL: the request names none */
    long retry_after;     /* seconds; 0: not told */
} chat_refusal_context;

/* An HTTP status other than 200 with its body. STATUS_USAGE (key, model, address), STATUS_INVALID, STATUS_BUSY, or STATUS_PEER. */
status chat_refusal_http(long code, const char *body, size_t size, const chat_refusal_context *c, status_detail *detail);

/* The server said in the middle of an answer that it failed. STATUS_PEER. */
status chat_refusal_midway(const char *message, size_t size, status_detail *detail);

#endif
