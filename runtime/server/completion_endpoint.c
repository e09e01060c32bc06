/* POST /v1/completions: raw text, no harmony. */
#include <stdlib.h>

#include "runtime/server/completion.h"
#include "runtime/server/completion_request.h"
#include "runtime/server/constraint.h"
#include "runtime/server/json_body.h"

static void finish(sequence *q)
{
    completion_choice *c = (completion_choice *)q;
    completion_choice_finish(c);
    if (q->owner->params.stream) completion_stream_finish(c);
}

static void done(generation *g)
{
    if (g->params.stream) completion_stream_done(g);
    else completion_response_done(g);
}

static void close_generation(generation *g) { (void)g; }

static const generation_entries entries = {
    .id_prefix = "cmpl-",
    .sequence_size = sizeof(completion_choice),
    .prompt_token = completion_choice_prompt_token,
    .token = completion_choice_token,
    .finish = finish,
    .done = done,
    .close_sequence = completion_choice_close,
    .close = close_generation,
};

/* Appends the ids of a prompt that completion_request_parse() has checked. */
static bool encode_prompt(const server *s, const json_t *prompt, const sampling_params *params, id_list *out, api_error *error)
{
    status_detail detail = {""};
    if (json_is_array(prompt)) {
        for (size_t i = 0; i < json_array_size(prompt); i++)
            if (!id_list_push(out, (int32_t)json_integer_value(json_array_get(prompt, i))))
                return api_error_set(error, 500, NULL, "Out of memory.");
    } else {
        status result = tokenizer_encode(s->tokenizer, json_string_value(prompt), json_string_length(prompt), out, &detail);
        if (result != STATUS_OK) return api_error_from(error, result, &detail);
    }
    sampling_params_truncate(params, out);
    return generation_check_prompt(s, out->count, params, "prompt", error);
}

static completion_generation *make_generation(const server *s, completion_request *request, api_error *error)
{
    completion_generation *g = calloc(1, sizeof *g);
    id_list *prompts = calloc((size_t)request->n_prompts, sizeof *prompts);
    bool good = g && prompts ? constraint_of_text(s, &request->params, &g->base.constraint, error) : api_error_set(error, 500, NULL, "Out of memory.");
    for (int i = 0; good && i < request->n_prompts; i++)
        good = encode_prompt(s, request->prompts[i], &request->params, &prompts[i], error);
    if (!good) {
        for (int i = 0; prompts && i < request->n_prompts; i++) id_list_free(&prompts[i]);
        free(prompts);
        if (g) constraint_release(g->base.constraint);
        free(g);
        return NULL;
    }
    g->base.entries = &entries;
    g->base.params = request->params;
    request->params = (sampling_params){0};
    g->base.prompts = prompts;
    g->base.n_prompts = request->n_prompts;
    g->logprobs = request->logprobs;
    g->shown = request->shown;
    g->base.top_logprobs = request->shown < g->base.params.n && request->logprobs < 0 ? 0 : request->logprobs; /* the likeliest must be known */
    g->base.prompt_logprobs = request->echo ? request->logprobs : -1;
    g->echo = request->echo;
    return g;
}

static void *prepare(const server *s, char *text, size_t size, api_error *error)
{
    json_t *body;
    completion_request request;
    if (!json_body_parse(text, size, &body, error) || !completion_request_parse(body, &s->limits, &request, error)) return NULL;
    completion_generation *g = models_check(s, request.model, error) ? make_generation(s, &request, error) : NULL;
    completion_request_free(&request);
    return g;
}

const route_work completion_work = {prepare, generation_begin, generation_drop};
