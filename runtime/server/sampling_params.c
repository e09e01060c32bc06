#include "runtime/server/sampling_params.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool sampling_params_refuse(const json_fields *body, const char *const *keys)
{
    for (; *keys; keys++) {
        const json_t *value = json_fields_get(body, *keys);
        if (!value || json_is_false(value)) continue;
        if ((json_is_array(value) && !json_array_size(value)) || (json_is_object(value) && !json_object_size(value))) continue;
        if (json_is_string(value) && !json_string_length(value)) continue;
        return api_error_set(body->error, 400, *keys, "%s: is not supported.", *keys);
    }
    return true;
}

static bool parse_numbers(const json_fields *body, ops_sampling *out)
{
    int n;
    const engine_range *ranges = engine_sampling_ranges(&n);
    for (int i = 0; i < n; i++)
        if (!json_fields_float(body, ranges[i].name, ranges[i].min, ranges[i].max, (float *)((char *)out + ranges[i].offset))) return false;
    return true;
}

/* {"id": bias}; values are clamped to -100..100 as the API documents the range. */
static bool parse_bias(const json_fields *body, const request_limits *limits, ops_sampling *out)
{
    const json_t *map = NULL;
    if (!json_fields_object(body, "logit_bias", &map)) return false;
    if (!map) return true;
    if (json_object_size(map) > OPS_MAX_LOGIT_BIAS)
        return json_fields_fail(body, "logit_bias", "at most %d entries are allowed.", OPS_MAX_LOGIT_BIAS);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)map, key, value) {
        char *end;
        errno = 0;
        long id = strtol(key, &end, 10);
        if (errno || end == key || *end || id < 0 || id >= limits->vocab)
            return json_fields_fail(body, "logit_bias", "\"%.40s\" is not a token id of this model (0 to %d).", key, limits->vocab - 1);
        if (!json_is_number(value)) return json_fields_fail(body, "logit_bias", "the bias of token %ld must be a number.", id);
        out->bias_ids[out->n_bias] = (int32_t)id;
        out->bias_values[out->n_bias++] = (float)fmax(-100, fmin(100, json_number_value(value)));
    }
    return true;
}

static bool add_stop(const json_fields *body, const json_t *value, stop_set *out)
{
    if (!json_is_string(value)) return json_fields_fail(body, "stop", "a string or an array of strings is expected.");
    size_t size = json_string_length(value);
    if (!size) return json_fields_fail(body, "stop", "a stop string may not be empty.");
    if (size > STOP_MATCH_MAX_SIZE) return json_fields_fail(body, "stop", "a stop string may have at most %d bytes.", STOP_MATCH_MAX_SIZE);
    if (out->n == STOP_MATCH_MAX_STRINGS) return json_fields_fail(body, "stop", "at most %d stop strings are allowed.", STOP_MATCH_MAX_STRINGS);
    if (!stop_set_add(out, json_string_value(value), size)) return api_error_set(body->error, 500, NULL, "Out of memory.");
    return true;
}

static bool parse_stops(const json_fields *body, stop_set *out)
{
    const json_t *stop = json_fields_get(body, "stop");
    if (!stop) return true;
    if (!json_is_array(stop)) return add_stop(body, stop, out);
    for (size_t i = 0; i < json_array_size(stop); i++)
        if (!add_stop(body, json_array_get(stop, i), out)) return false;
    return true;
}

static bool parse_stop_ids(const json_fields *body, const request_limits *limits, sampling_params *out)
{
    /* room is left for the model's own stop ids */
    enum { MAX_OWN = ENGINE_MAX_STOP_IDS / 2 };
    const json_t *ids = NULL;
    if (!json_fields_array(body, "stop_token_ids", &ids)) return false;
    if (json_array_size(ids) > MAX_OWN) return json_fields_fail(body, "stop_token_ids", "at most %d ids are allowed.", MAX_OWN);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_fields_token_id(body, "stop_token_ids", id, limits->vocab, &out->stop_ids[out->n_stop_ids])) return false;
        out->n_stop_ids++;
    }
    return true;
}

static bool parse_stream(const json_fields *body, sampling_params *out)
{
    const json_t *options = NULL;
    if (!json_fields_bool(body, "stream", &out->stream) || !json_fields_object(body, "stream_options", &options)) return false;
    if (!options) return true;
    if (!out->stream) return json_fields_fail(body, "stream_options", "is only allowed when stream is true.");
    json_fields f = {options, "stream_options", body->error};
    out->include_usage = true;
    return json_fields_bool(&f, "include_usage", &out->include_usage) &&
           json_fields_bool(&f, "continuous_usage_stats", &out->continuous_usage);
}

static bool parse_switches(const json_fields *body, sampling_params *out)
{
    return json_fields_bool(body, "ignore_eos", &out->ignore_eos) &&
           json_fields_bool(body, "include_stop_str_in_output", &out->include_stop) &&
           json_fields_bool(body, "skip_special_tokens", &out->skip_special) &&
           json_fields_bool(body, "return_tokens_as_token_ids", &out->tokens_as_ids);
}

static bool parse_allowed(const json_fields *body, const request_limits *limits, sampling_params *out)
{
    const json_t *ids = NULL;
    if (!json_fields_array(body, "allowed_token_ids", &ids)) return false;
    if (!ids) return true;
    if (!json_array_size(ids)) return json_fields_fail(body, "allowed_token_ids", "at least one id is expected; leave the field out to allow all.");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        int32_t id;
        if (!json_fields_token_id(body, "allowed_token_ids", json_array_get(ids, i), limits->vocab, &id)) return false;
    }
    out->allowed_ids = json_incref((json_t *)ids);
    return true;
}

static bool parse_bad_words(const json_fields *body, sampling_params *out)
{
    const json_t *words = NULL;
    if (!json_fields_array(body, "bad_words", &words)) return false;
    if (!json_array_size(words)) return true;
    if (json_array_size(words) > SAMPLING_PARAMS_MAX_BAD_WORDS)
        return json_fields_fail(body, "bad_words", "at most %d words are allowed.", SAMPLING_PARAMS_MAX_BAD_WORDS);
    for (size_t i = 0; i < json_array_size(words); i++) {
        const json_t *word = json_array_get(words, i);
        size_t size = json_string_length(word), blank = strspn(json_is_string(word) ? json_string_value(word) : "", " ");
        if (!json_is_string(word)) return json_fields_fail(body, "bad_words", "an array of strings is expected.");
        if (blank == size) return json_fields_fail(body, "bad_words", "a word may not be empty.");
        if (size > SAMPLING_PARAMS_MAX_BAD_SIZE) return json_fields_fail(body, "bad_words", "a word may have at most %d bytes.", SAMPLING_PARAMS_MAX_BAD_SIZE);
    }
    out->bad_words = json_incref((json_t *)words);
    return true;
}

/* Of the prompt. Its log-probabilities come with the whole answer only, as in vLLM. */
static bool parse_prompt(const json_fields *body, const request_limits *limits, sampling_params *out)
{
    int64_t top = -1, keep = -1;
    const char *side = NULL;
    if (!json_fields_int(body, "prompt_logprobs", 0, OPS_MAX_TOP_LOGPROBS, &top) ||
        !json_fields_int(body, "truncate_prompt_tokens", -1, limits->max_model_len, &keep) ||
        !json_fields_string(body, "truncation_side", &side, NULL))
        return false;
    if (side && strcmp(side, "left")) return json_fields_fail(body, "truncation_side", "only \"left\" is supported: the last tokens are kept.");
    if (top >= 0 && out->stream) return json_fields_fail(body, "prompt_logprobs", "is not available when stream is true.");
    if (keep == 0) return json_fields_fail(body, "truncate_prompt_tokens", "a prompt may not be empty.");
    out->prompt_logprobs = (int)top;
    out->keep_prompt = keep;
    return true;
}

static bool parse_request_id(const json_fields *body, sampling_params *out)
{
    const char *id = NULL;
    if (!json_fields_string(body, "request_id", &id, NULL)) return false;
    if (id && strlen(id) < sizeof out->request_id) strcpy(out->request_id, id);
    return true;
}

static bool parse_integers(const json_fields *body, sampling_params *out)
{
    int64_t n = 1, top_k = 0, min_tokens = 0, priority = 0, seed = 0;
    if (!json_fields_int(body, "n", 1, SAMPLING_PARAMS_MAX_N, &n) || !json_fields_int(body, "top_k", -1, INT32_MAX, &top_k) ||
        !json_fields_int(body, "min_tokens", 0, INT32_MAX, &min_tokens) ||
        !json_fields_int(body, "priority", INT32_MIN, INT32_MAX, &priority) || !json_fields_int(body, "seed", INT64_MIN, INT64_MAX, &seed))
        return false;
    out->n = (int)n;
    out->sampling.top_k = top_k < 0 ? 0 : (int32_t)top_k;
    out->sampling.min_tokens = (int32_t)min_tokens;
    out->priority = (int)priority;
    out->has_seed = json_fields_get(body, "seed") != NULL;
    out->seed = (uint64_t)seed;
    return true;
}

bool sampling_params_parse(const json_fields *body, const request_limits *limits, sampling_params *out)
{
    static const char *const unsupported[] = {"use_beam_search", "logits_processors", "cache_salt", "return_token_ids", "logprob_token_ids", "thinking_token_budget",
                                              "repetition_detection", "watermarking", "kv_transfer_params", "ec_transfer_params", NULL};
    *out = (sampling_params){.sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1}, .max_tokens = -1, .skip_special = true,
                             .prompt_logprobs = -1, .keep_prompt = -1};
    bool good = sampling_params_refuse(body, unsupported) && parse_numbers(body, &out->sampling) && parse_integers(body, out) &&
                parse_bias(body, limits, &out->sampling) && parse_stops(body, &out->stops) && parse_stop_ids(body, limits, out) &&
                parse_stream(body, out) && parse_switches(body, out) && parse_request_id(body, out) && parse_prompt(body, limits, out) && parse_allowed(body, limits, out) &&
                parse_bad_words(body, out) && structured_output_parse(body, &out->structured);
    if (!good) sampling_params_free(out);
    return good;
}

bool sampling_params_check_length(const sampling_params *p, int64_t room, api_error *error)
{
    bool asked = p->max_tokens >= 0 && p->max_tokens <= room;
    int64_t most = asked ? p->max_tokens : room;
    if (p->sampling.min_tokens <= most) return true;
    return api_error_set(error, 400, "min_tokens", "min_tokens: %d is too large, at most %lld is allowed: that is %s.", p->sampling.min_tokens,
                         (long long)most, asked ? "max_tokens" : "what the model's length leaves for the answer");
}

void sampling_params_truncate(const sampling_params *p, id_list *prompt)
{
    size_t keep = p->keep_prompt > 0 ? (size_t)p->keep_prompt : prompt->count;
    if (prompt->count <= keep) return;
    memmove(prompt->ids, prompt->ids + (prompt->count - keep), keep * sizeof *prompt->ids);
    prompt->count = keep;
}

void sampling_params_free(sampling_params *p)
{
    stop_set_free(&p->stops);
    structured_output_free(&p->structured);
    json_decref(p->allowed_ids);
    json_decref(p->bad_words);
    p->allowed_ids = p->bad_words = NULL;
}
