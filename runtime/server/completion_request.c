#include "runtime/server/completion_request.h"

#include <stdlib.h>
#include <string.h>

static bool check_ids(const json_fields *f, const json_t *ids, int32_t vocab)
{
    for (size_t i = 0; i < json_array_size(ids); i++) {
        int32_t id;
        if (!json_fields_token_id(f, "prompt", json_array_get(ids, i), vocab, &id)) return false;
    }
    return true;
}

/* One prompt: a string, or ids. */
static bool add_prompt(const json_fields *f, const json_t *prompt, const request_limits *limits, completion_request *out)
{
    bool text = json_is_string(prompt);
    if (!text && !json_is_array(prompt))
        return json_fields_fail(f, "prompt", "a string, an array of strings, an array of token ids or an array of those is expected.");
    if (text ? !json_string_length(prompt) : !json_array_size(prompt)) return json_fields_fail(f, "prompt", "a prompt may not be empty.");
    if (!text && !check_ids(f, prompt, limits->vocab)) return false;
    out->prompts[out->n_prompts++] = prompt;
    return true;
}

static bool parse_prompts(const json_fields *f, const request_limits *limits, completion_request *out)
{
    const json_t *prompt = json_fields_get(f, "prompt");
    if (!prompt) return json_fields_fail(f, "prompt", "is required.");
    bool several = json_is_array(prompt) && json_array_size(prompt) && !json_is_number(json_array_get(prompt, 0));
    size_t n = several ? json_array_size(prompt) : 1;
    if (n > COMPLETION_MAX_SEQUENCES) return json_fields_fail(f, "prompt", "at most %d prompts are allowed.", COMPLETION_MAX_SEQUENCES);
    out->prompts = calloc(n, sizeof *out->prompts);
    if (!out->prompts) return api_error_set(f->error, 500, NULL, "Out of memory.");
    if (!several) return add_prompt(f, prompt, limits, out);
    for (size_t i = 0; i < n; i++)
        if (!add_prompt(f, json_array_get(prompt, i), limits, out)) return false;
    return true;
}

/* best_of: as many choices are generated, and those are shown whose tokens have the highest log-probability on average. */
static bool parse_best(const json_fields *f, completion_request *out)
{
    int64_t best = out->params.n;
    if (!json_fields_int(f, "best_of", 1, SAMPLING_PARAMS_MAX_N, &best)) return false;
    if (best < out->params.n) return json_fields_fail(f, "best_of", "must not be less than n, which is %d.", out->params.n);
    if (best > out->params.n && out->params.stream) return json_fields_fail(f, "best_of", "more than n is not available when stream is true.");
    out->shown = out->params.n;
    out->params.n = (int)best;
    return true;
}

static bool parse_body(const json_fields *f, const request_limits *limits, completion_request *out)
{
    static const char *const unsupported[] = {"suffix", "prompt_embeds", NULL};
    int64_t logprobs = -1;
    if (!json_fields_string(f, "model", &out->model, NULL) || !sampling_params_refuse(f, unsupported) || !parse_prompts(f, limits, out) ||
        !json_fields_bool(f, "echo", &out->echo) || !json_fields_int(f, "logprobs", 0, OPS_MAX_TOP_LOGPROBS, &logprobs) ||
        !sampling_params_parse(f, limits, &out->params) || !parse_best(f, out))
        return false;
    out->logprobs = (int)logprobs;
    /* absent: the API's 16; null: as many as fit, as vLLM has it */
    out->params.max_tokens = json_object_get(f->object, "max_tokens") ? -1 : 16;
    if (!structured_output_format(f, &out->params.structured) || !json_fields_int(f, "max_tokens", 0, INT32_MAX, &out->params.max_tokens)) return false;
    if (!sampling_params_check_length(&out->params, limits->max_model_len, f->error)) return false;
    if ((int64_t)out->n_prompts * out->params.n > COMPLETION_MAX_SEQUENCES)
        return json_fields_fail(f, "n", "prompts times n may be at most %d.", COMPLETION_MAX_SEQUENCES);
    return true;
}

bool completion_request_parse(json_t *body, const request_limits *limits, completion_request *out, api_error *error)
{
    completion_request request = {.body = body};
    json_fields f = {body, "", error};
    if (!parse_body(&f, limits, &request)) {
        completion_request_free(&request);
        return false;
    }
    *out = request;
    return true;
}

void completion_request_free(completion_request *r)
{
    sampling_params_free(&r->params);
    free(r->prompts);
    json_decref(r->body);
    *r = (completion_request){0};
}
