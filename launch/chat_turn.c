#include "launch/chat_turn.h"

#include <stdlib.h>

#include "launch/chat_chunk.h"
#include "launch/chat_refusal.h"
#include "launch/chat_sse.h"

/* An answer as it comes in. */
typedef struct answer {
    chat_view *view;
    chat_sse events;
    buffer said;     /* of the answer, as it came */
    int64_t tokens;  /* -1: not told yet */
    bool cut, done;
} answer;

static status chunk_came(void *user, const char *data, size_t size, status_detail *detail)
{
    answer *a = user;
    chat_chunk chunk;
    STATUS_TRY(chat_chunk_parse(data, size, &chunk, detail));
    status result = STATUS_OK;
    if (chunk.error.data)
        result = chat_refusal_midway(chunk.error.data, chunk.error.size, detail);
    else if (!buffer_append(&a->said, chunk.content.size ? chunk.content.data : "", chunk.content.size))
        result = status_fail(detail, STATUS_MACHINE, "out of memory");
    else if (!chat_view_think(a->view, chunk.reasoning.data, chunk.reasoning.size) || !chat_view_say(a->view, chunk.content.data, chunk.content.size))
        result = status_fail(detail, STATUS_MACHINE, "the answer cannot be written to standard output");
    if (chunk.completion_tokens >= 0) a->tokens = chunk.completion_tokens;
    a->cut |= chunk.cut;
    a->done |= chunk.done;
    chat_chunk_free(&chunk);
    return result;
}

static status bytes_came(void *user, const char *bytes, size_t size, status_detail *detail)
{
    answer *a = user;
    return chat_sse_push(&a->events, bytes, size, chunk_came, a, detail);
}

static status exchange(chat_turn *turn, answer *a, status_detail *detail)
{
    char *body = chat_conversation_request(turn->conversation, turn->model, turn->effort);
    if (!body) return status_fail(detail, STATUS_MACHINE, "out of memory");
    chat_http_request request = {.path = "/v1/chat/completions", .body = body, .model = turn->model, .take = bytes_came, .user = a};
    chat_view_begin(turn->view);
    status result = chat_http_run(turn->http, &request, detail);
    turn->stopped = request.stopped;
    if (result == STATUS_OK && request.stopped == CHAT_SIGNAL_NONE && !a->done)
        result = status_fail(detail, STATUS_PEER, "%s ended the answer in the middle; what came is kept, ask again", turn->http->url);
    free(body);
    return result;
}

status chat_turn_run(chat_turn *turn, const char *message, size_t size, status_detail *detail)
{
    answer a = {.view = turn->view, .tokens = -1};
    turn->stopped = CHAT_SIGNAL_NONE;
    if (!chat_conversation_add(turn->conversation, "user", message, size)) return status_fail(detail, STATUS_MACHINE, "out of memory");
    status result = exchange(turn, &a, detail);
    const char *note = turn->stopped != CHAT_SIGNAL_NONE ? "stopped" : a.cut ? "cut: it became too long" : NULL;
    if (result == STATUS_OK && !chat_view_end(turn->view, a.tokens, note))
        result = status_fail(detail, STATUS_MACHINE, "the answer cannot be written to standard output");
    bool whole = result == STATUS_OK && turn->stopped == CHAT_SIGNAL_NONE;
    if (!a.said.size && !whole)
        chat_conversation_drop(turn->conversation);
    else if (!chat_conversation_add(turn->conversation, "assistant", a.said.data ? a.said.data : "", a.said.size))
        result = status_fail(detail, STATUS_MACHINE, "out of memory");
    chat_sse_free(&a.events);
    buffer_free(&a.said);
    return result;
}
