/* Server-sent events (WHATWG HTML, section 9.2.6) out of bytes that arrive in any pieces. Pure. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_SSE_H
#define LAUNCH_CHAT_SSE_H

#include <stdbool.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"

enum { CHAT_SSE_MOST = 8 << 20 /* bytes of one line, or of one event's data */ };

/* {0} is the start of a stream. */
typedef struct chat_sse {
    buffer line, data;
    bool after_cr; /* a '\n' right now belongs to the line that ended */
    bool has_data;
} chat_sse;

/* One event's data; lines of several data fields are joined by '\n'. `data` is followed by a NUL and valid during the call. */
typedef status (*chat_sse_event)(void *user, const char *data, size_t size, status_detail *detail);

/* Calls `event` for every event that `bytes` completes, until one fails. STATUS_PEER for a line or event larger than CHAT_SSE_MOST. */
status chat_sse_push(chat_sse *s, const char *bytes, size_t size, chat_sse_event event, void *user, status_detail *detail);
void chat_sse_free(chat_sse *s);

#endif
