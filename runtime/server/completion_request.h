/* The body of POST /v1/completions and the raw prompts of POST /tokenize: bytes -> checked fields. Pure: no server, no engine. */
#ifndef RUNTIME_SERVER_COMPLETION_REQUEST_H
#define RUNTIME_SERVER_COMPLETION_REQUEST_H

#include "runtime/server/sampling_params.h"

/* Sequences of one request, prompts times n. */
enum { COMPLETION_MAX_SEQUENCES = 4096 };

typedef struct completion_request {
    json_t *body;          /* owned; `prompts` borrow from it */
    const char *model;     /* NULL: not given */
    sampling_params params; /* n: choices to generate for each prompt */
    int shown;             /* and how many of them the answer holds: the likeliest (best_of) */
    const json_t **prompts; /* owned array; each a string, or an array of ids of the vocabulary (not empty) */
    int n_prompts;
    bool echo;
    int logprobs;          /* top log-probabilities; -1: none */
} completion_request;

/* Takes the body over: completion_request_free() drops it, and so does a failure. */
bool completion_request_parse(json_t *body, const request_limits *limits, completion_request *out, api_error *error);
void completion_request_free(completion_request *r);

#endif
