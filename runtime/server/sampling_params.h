/* What both generating endpoints take: how to sample, when to stop, how to answer. */
#ifndef RUNTIME_SERVER_SAMPLING_PARAMS_H
#define RUNTIME_SERVER_SAMPLING_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/engine/engine.h"
#include "runtime/server/json_fields.h"
#include "runtime/server/stop_match.h"

enum { SAMPLING_PARAMS_MAX_N = 128 };

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
void sampling_params_free(sampling_params *p);

/* Refuses fields that would change the answer and are not implemented, unless they are null, false or empty. `keys` ends with NULL. */
bool sampling_params_refuse(const json_fields *body, const char *const *keys);

#endif
