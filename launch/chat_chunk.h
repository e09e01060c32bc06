/* One event of a streamed answer, and the other JSON that a server sends. Pure. Internal to the verb chat. */
#ifndef LAUNCH_CHAT_CHUNK_H
#define LAUNCH_CHAT_CHUNK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"

/* A text inside `root`; NULL: none. It may hold NULs. */
typedef struct chat_text {
    const char *data;
    size_t size;
} chat_text;

typedef struct chat_chunk {
    json_t *root;
    chat_text reasoning, content;
    int64_t completion_tokens; /* -1: not told in this chunk */
    bool cut;                  /* the answer ended because it became too long */
    bool done;                 /* "[DONE]" */
    chat_text error;           /* the server failed in the middle of the answer */
} chat_chunk;

/* `data` is an event's. STATUS_PEER when it is no chunk; then there is nothing to free. */
status chat_chunk_parse(const char *data, size_t size, chat_chunk *out, status_detail *detail);
void chat_chunk_free(chat_chunk *chunk);

/* Appends the message of an error's body, or nothing when it has none. False: out of memory. */
bool chat_chunk_error(const char *data, size_t size, buffer *out);

/* The array of names of an answer of /v1/models. STATUS_PEER when it is none, or names no model. */
status chat_chunk_models(const char *data, size_t size, json_t **names, status_detail *detail);

#endif
