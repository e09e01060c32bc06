/* What both generating endpoints take: how to sample, when to stop, how to answer. */
#ifndef RUNTIME_SERVER_SAMPLING_PARAMS_H
#define RUNTIME_SERVER_SAMPLING_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/engine/engine.h"
#include "runtime/server/json_fields.h"
#include "runtime/server/stop_match.h"
#include "runtime/server/structured_output.h"

enum { SAMPLING_PARAMS_MAX_N = 128, SAMPLING_PARAMS_MAX_BAD_WORDS = 1024, SAMPLING_PARAMS_MAX_BAD_SIZE = 1024 };

typedef struct sampling_params {
    ops_sampling sampling; /* seed is filled in per sequence */
    bool has_seed;
    uint64_t seed;
    int n;                 /* choices per prompt */
    int64_t max_tokens;    /* -1: not given */
    int32_t stop_ids[ENGINE_MAX_STOP_IDS]; /* the request's own */
    int n_stop_ids;
    stop_set stops;
    bool ignore_eos;       /* the model's stop ids do not stop; the request's own still do */
    bool include_stop;     /* include_stop_str_in_output */
    bool skip_special;     /* special tokens give no text */
    bool tokens_as_ids;    /* return_tokens_as_token_ids */
    structured_output structured; /* what the answer must look like, but for response_format */
    json_t *allowed_ids;   /* owned reference: array of ids of the vocabulary, not empty; NULL: all */
    json_t *bad_words;     /* owned reference: array of strings, not empty; NULL: none */
    int prompt_logprobs;   /* top log-probabilities of prompt tokens; -1: none */
    int64_t keep_prompt;   /* truncate_prompt_tokens: only so many of the prompt's last tokens; -1: all */
    char request_id[129];  /* what the answer's id is made of, unless a header says it; "": nothing */
    int priority;
    bool stream, include_usage, continuous_usage;
} sampling_params;

/* Limits of the model that values are checked against. */
typedef struct request_limits {
    int32_t vocab;     /* one past the highest id */
    int max_model_len; /* tokens */
} request_limits;

/* Fills in *out, which needs sampling_params_free() only on success. */
bool sampling_params_parse(const json_fields *body, const request_limits *limits, sampling_params *out);
/* An answer of `room` tokens at most must allow min_tokens; otherwise error 400. To be called once max_tokens is read, and again when the
 * prompt's length is known. */
bool sampling_params_check_length(const sampling_params *p, int64_t room, api_error *error);
/* truncate_prompt_tokens: drops what the prompt has too many at its beginning. */
void sampling_params_truncate(const sampling_params *p, id_list *prompt);
void sampling_params_free(sampling_params *p);

/* Refuses fields that would change the answer and are not implemented, unless they are null, false or empty. `keys` ends with NULL. */
bool sampling_params_refuse(const json_fields *body, const char *const *keys);

#endif
