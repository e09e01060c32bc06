/* The body of POST /v1/responses: bytes -> checked fields. Pure: no server, no engine, no store.
 *
 * What it shares with a chat (model, sampling, tools, text.format, reasoning.effort) fills in a chat_request, so that the prompt and what
 * constrains the answer are made of both in the same way. */
#ifndef RUNTIME_SERVER_RESPONSES_REQUEST_H
#define RUNTIME_SERVER_RESPONSES_REQUEST_H

#include "runtime/server/chat_request.h"

typedef struct responses_request {
    chat_request chat;        /* owns the body; its messages are not used */
    const json_t *input;      /* a string or an array; NULL: none, together with `previous` only */
    const char *instructions; /* NULL: none */
    size_t instructions_size;
    const char *previous;     /* previous_response_id; NULL: none */
    bool store, background;
    bool truncate;            /* truncation "auto": what does not fit is dropped from the beginning */
    bool logprobs;            /* include message.output_text.logprobs */
} responses_request;

/* Takes the body over: responses_request_free() drops it, and so does a failure. */
bool responses_request_parse(json_t *body, const request_limits *limits, responses_request *out, api_error *error);
void responses_request_free(responses_request *r);

#endif
