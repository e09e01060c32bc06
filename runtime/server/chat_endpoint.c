/* POST /v1/chat/completions. */
#include <stdlib.h>

#include "runtime/server/chat.h"
#include "runtime/server/chat_prompt.h"
#include "runtime/server/json_body.h"

static void no_prompt_tokens(sequence *q, const ops_token *token)
{
    (void)q;
    (void)token;
}

static void finish(sequence *q)
{
    chat_choice *c = (chat_choice *)q;
    chat_choice_finish(c);
    if (q->owner->params.stream) chat_stream_finish(c);
}

static void done(generation *g)
{
    if (g->params.stream) chat_stream_done(g);
    else chat_response_done(g);
}

static void close_generation(generation *g)
{
    chat_generation *c = (chat_generation *)g;
    json_decref(c->tools);
    free(c->names);
}

const generation_entries chat_entries = {
    .id_prefix = "chatcmpl-",
    .sequence_size = sizeof(chat_choice),
    .open_sequence = chat_choice_open,
    .prompt_token = no_prompt_tokens,
    .token = chat_choice_token,
    .finish = finish,
    .done = done,
    .close_sequence = chat_choice_close,
    .close = close_generation,
};

/* Messages -> token ids. */
static bool render(const server *s, const chat_request *request, id_list *out, api_error *error)
{
    char today[11];
    chat_prompt prompt;
    status_detail detail = {""};
    status_today(today);
    if (!chat_prompt_build(request, today, &prompt, error)) return false;
    status result = harmony_render(s->harmony, prompt.messages, prompt.n, true, out, &detail);
    chat_prompt_free(&prompt);
    return result == STATUS_OK || api_error_from(error, result, &detail);
}

/* Moves what generating needs out of the request; the messages can go. */
static chat_generation *make_generation(chat_request *request, id_list *prompt)
{
    chat_generation *g = calloc(1, sizeof *g);
    id_list *prompts = calloc(1, sizeof *prompts);
    if (!g || !prompts) {
        free(g);
        free(prompts);
        return NULL;
    }
    *prompts = *prompt;
    *prompt = (id_list){0};
    g->base.entries = &chat_entries;
    g->base.params = request->params;
    request->params = (sampling_params){0};
    g->base.prompts = prompts;
    g->base.n_prompts = 1;
    g->base.top_logprobs = request->top_logprobs;
    g->base.prompt_logprobs = -1;
    g->include_reasoning = request->include_reasoning;
    if (request->tools.offered) {
        g->tools = json_incref(json_object_get(request->body, "tools"));
        g->names = request->tools.names;
        g->n_names = request->tools.n;
        request->tools.names = NULL;
    }
    return g;
}

static void *prepare(const server *s, char *text, size_t size, api_error *error)
{
    json_t *body;
    chat_request request;
    if (!json_body_parse(text, size, &body, error) || !chat_request_parse(body, &s->limits, &request, error)) return NULL;
    id_list prompt = {0};
    chat_generation *g = NULL;
    bool good = models_check(s, request.model, error) && render(s, &request, &prompt, error) &&
                generation_check_prompt(s, prompt.count, &request.params, "messages", error);
    if (good && !(g = make_generation(&request, &prompt))) api_error_set(error, 500, NULL, "Out of memory.");
    chat_request_free(&request);
    id_list_free(&prompt);
    return g;
}

const route_work chat_work = {prepare, generation_begin, generation_drop};
