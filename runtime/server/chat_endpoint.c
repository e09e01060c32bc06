/* POST /v1/chat/completions. */
#include "runtime/server/chat.h"
#include "runtime/server/chat_prompt.h"
#include "runtime/server/constraint.h"
#include "runtime/server/json_body.h"

static void no_prompt_tokens(sequence *q, const ops_token *token)
{
    (void)q;
    (void)token;
}

static void finish(sequence *q)
{
    message_choice_finish((message_choice *)q);
    if (q->owner->params.stream) chat_stream_finish((chat_choice *)q);
}

static void done(generation *g)
{
    if (g->params.stream) chat_stream_done(g);
    else chat_response_done(g);
}

static void close_generation(generation *g) { message_generation_close((message_generation *)g); }

const generation_entries chat_entries = {
    .id_prefix = "chatcmpl-",
    .sequence_size = sizeof(chat_choice),
    .open_sequence = message_choice_open,
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
    prompt_messages prompt;
    status_detail detail = {""};
    status_today(today);
    if (!chat_prompt_build(request, today, &prompt, error)) return false;
    status result = harmony_render(s->harmony, prompt.messages, prompt.n, true, out, &detail);
    prompt_free(&prompt);
    sampling_params_truncate(&request->params, out);
    return result == STATUS_OK || api_error_from(error, result, &detail);
}

static void set_options(chat_generation *g, const chat_request *request)
{
    g->include_reasoning = request->include_reasoning;
    g->named = request->tools.offered && request->tools.choice == CHAT_CHOICE_NAMED;
    g->base.one_call = !request->parallel_calls;
}

static void *prepare(const server *s, char *text, size_t size, api_error *error)
{
    json_t *body;
    chat_request request;
    if (!json_body_parse(text, size, &body, error) || !chat_request_parse(body, &s->limits, &request, error)) return NULL;
    id_list prompt = {0};
    chat_generation *g = NULL;
    bool good = models_check(s, request.model, error) && constraint_of_chat(s, &request, error) && render(s, &request, &prompt, error) &&
                generation_check_prompt(s, prompt.count, &request.params, "messages", error);
    if (good) {
        g = (chat_generation *)message_generation_make(sizeof *g, &chat_entries, &chat_choice_sink, &request, &prompt);
        if (g) set_options(g, &request);
        else api_error_set(error, 500, NULL, "Out of memory.");
    }
    chat_request_free(&request);
    id_list_free(&prompt);
    return g;
}

const route_work chat_work = {prepare, generation_begin, generation_drop};
