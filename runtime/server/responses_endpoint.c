/* POST /v1/responses. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/server/constraint.h"
#include "runtime/server/json_body.h"
#include "runtime/server/responses.h"
#include "runtime/server/responses_prompt.h"

/* ---- the way back ------------------------------------------------------------------------------------------------ */

static void no_prompt_tokens(sequence *q, const ops_token *token)
{
    (void)q;
    (void)token;
}

static void finish(sequence *q) { responses_choice_finish((responses_choice *)q); }

/* Into the store, in the form in which GET answers. A response that cannot be kept for lack of memory is as good as evicted. */
static void keep(responses_generation *g)
{
    if (!g->store) return;
    json_writer object = {0}, output = {0};
    responses_object_write(g, &object);
    responses_object_output(g, &output);
    bool known = g->background || responses_store_begin(g->responses, g->base.base.id, g->before, &g->input, false, g);
    if (object.failed || output.failed) responses_store_remove(g->responses, g->base.base.id);
    else if (known) responses_store_finish(g->responses, g->base.base.id, &object.text, &output.text);
    json_write_free(&object);
    json_write_free(&output);
    g->store = false; /* once */
}

static void begun(generation *base)
{
    responses_generation *g = (responses_generation *)base;
    g->status = g->background ? RESPONSES_QUEUED : RESPONSES_IN_PROGRESS;
    if (g->background && !responses_store_begin(g->responses, base->id, g->before, &g->input, true, g)) {
        api_error error;
        api_error_set(&error, 500, NULL, "Out of memory.");
        g->store = false;
        generation_fail(base, &error);
        return;
    }
    g->keeps_events = g->background && base->params.stream;
    if (g->keeps_events) responses_store_stream(g->responses, base->id);
    responses_stream_state(g, "response.created");
    responses_stream_state(g, g->background ? "response.queued" : "response.in_progress");
    if (!g->background || base->params.stream) return;
    responses_object_write(g, &base->out);
    generation_reply(base);
}

/* Says how it ended, and ends the reply. */
static void conclude(responses_generation *g, responses_status state, const char *event)
{
    generation *base = &g->base.base;
    g->status = state;
    g->completed = time(NULL);
    keep(g);
    responses_stream_end(g, event);
    if (base->params.stream) {
        generation_close_stream(base);
    } else if (base->exchange) {
        responses_object_write(g, &base->out);
        generation_reply(base);
    }
}

static void done(generation *base)
{
    bool cut = base->sequences[0]->finish == ENGINE_FINISH_LENGTH;
    conclude((responses_generation *)base, cut ? RESPONSES_INCOMPLETE : RESPONSES_COMPLETED, cut ? "response.incomplete" : "response.completed");
}

static void failed(generation *base, const api_error *error)
{
    responses_generation *g = (responses_generation *)base;
    g->error = *error;
    conclude(g, RESPONSES_FAILED, "response.failed");
}

/* A stream has no event for it: it ends with the one for responses that are not complete, whose status tells. */
void responses_cancel(responses_generation *g)
{
    conclude(g, RESPONSES_CANCELLED, "response.incomplete");
    generation_cancel(&g->base.base);
}

static void close_generation(generation *base)
{
    responses_generation *g = (responses_generation *)base;
    const responses_entry *entry = g->store && g->background ? responses_store_find(g->responses, base->id) : NULL;
    if (entry && entry->running == g) responses_store_remove(g->responses, base->id); /* it came to no end: memory was short */
    responses_store_release(g->responses, g->before);
    message_generation_close(&g->base);
    buffer_free(&g->input);
    json_write_free(&g->echo);
}

static const generation_entries entries = {
    .id_prefix = "resp_",
    .own_id = true,
    .sequence_size = sizeof(responses_choice),
    .open_sequence = message_choice_open,
    .begun = begun,
    .prompt_token = no_prompt_tokens,
    .token = responses_choice_token,
    .finish = finish,
    .done = done,
    .failed = failed,
    .close_sequence = responses_choice_close,
    .close = close_generation,
};

/* ---- the way in -------------------------------------------------------------------------------------------------- */

/* What a request becomes on its way to token ids. */
typedef struct conversation {
    responses_turn *before; /* a reference, or NULL */
    json_t *items;          /* of before, then the request's own */
    size_t own;             /* where these begin */
    id_list prompt;
    harmony_effort effort;
} conversation;

static void free_conversation(const server *s, conversation *c)
{
    responses_store_release(s->responses, c->before);
    json_decref(c->items);
    id_list_free(&c->prompt);
}

static json_t *find_item(void *user, const char *id) { return responses_store_item(user, id); }

static bool collect_items(const server *s, const responses_request *request, conversation *c, api_error *error)
{
    if (request->previous && !(c->before = responses_store_turn(s->responses, request->previous, error))) return false;
    c->items = json_array();
    if (!c->items || !responses_store_items(c->before, false, c->items)) return prompt_no_memory(error);
    c->own = json_array_size(c->items);
    return responses_items_append(request, c->items, error) && responses_items_resolve(c->items, c->own, find_item, s->responses, error);
}

static bool render(const server *s, const responses_request *request, size_t skip, conversation *c, api_error *error)
{
    char today[11];
    prompt_messages prompt;
    status_detail detail = {""};
    status_today(today);
    if (!responses_prompt_build(request, c->items, c->own, skip, today, &prompt, error)) return false;
    id_list_clear(&c->prompt);
    c->effort = prompt.system.effort;
    status result = harmony_render(s->harmony, prompt.messages, prompt.n, true, &c->prompt, &detail);
    prompt_free(&prompt);
    sampling_params_truncate(&request->chat.params, &c->prompt);
    return result == STATUS_OK || api_error_from(error, result, &detail);
}

/* Renders what fits, when that is allowed: drops as few of the oldest items as leave room for max_output_tokens, or for an eighth of the
 * model's length, but never asks for more than half of it. */
static bool render_within(const server *s, const responses_request *request, conversation *c, api_error *error)
{
    size_t limit = (size_t)s->limits.max_model_len, room = limit / 8, few = 0, many = responses_prompt_most(c->items);
    if (!render(s, request, 0, c, error)) return false;
    if (!request->truncate || c->prompt.count < limit) return true;
    if (request->chat.params.max_tokens >= 0) room = (size_t)request->chat.params.max_tokens;
    if (room > limit / 2) room = limit / 2;
    while (few < many) { /* dropping `many` is the best there is, dropping less than `few` is not enough */
        size_t middle = few + (many - few) / 2;
        if (!render(s, request, middle, c, error)) return false;
        if (c->prompt.count + room <= limit) many = middle;
        else few = middle + 1;
    }
    return render(s, request, many, c, error);
}

static responses_generation *make_generation(const server *s, responses_request *request, conversation *c)
{
    json_writer echo = {0}, input = {0};
    responses_object_echo(s, request, c->effort, &echo);
    if (request->store) responses_items_write(c->items, c->own, &input);
    message_generation *base =
        echo.failed || input.failed
            ? NULL
            : message_generation_make(sizeof(responses_generation), &entries, &responses_choice_sink, &request->chat, &c->prompt);
    if (!base) {
        json_write_free(&echo);
        json_write_free(&input);
        return NULL;
    }
    responses_generation *g = (responses_generation *)base;
    base->one_call = !request->chat.parallel_calls;
    base->base.keep = request->background;
    g->responses = s->responses;
    g->before = c->before;
    c->before = NULL;
    g->input = input.text;
    g->echo = echo;
    g->store = request->store;
    g->background = request->background;
    g->logprobs = request->logprobs;
    g->end_of_message = tokenizer_special(s->tokenizer, "<|end|>");
    return g;
}

static void *prepare(const server *s, char *text, size_t size, api_error *error)
{
    json_t *body;
    responses_request request;
    if (!json_body_parse(text, size, &body, error) || !responses_request_parse(body, &s->limits, &request, error)) return NULL;
    conversation c = {0};
    responses_generation *g = NULL;
    bool good = models_check(s, request.chat.model, error) && constraint_of_chat(s, &request.chat, error) &&
                collect_items(s, &request, &c, error) && render_within(s, &request, &c, error) &&
                generation_check_prompt(s, c.prompt.count, &request.chat.params, "input", error);
    if (good && !(g = make_generation(s, &request, &c))) prompt_no_memory(error);
    responses_request_free(&request);
    free_conversation(s, &c);
    return g;
}

const route_work responses_work = {prepare, generation_begin, generation_drop};

/* ---- POST /v1/responses/input_tokens: how long the prompt would be ------------------------------------------------- */

static void *prepare_count(const server *s, char *text, size_t size, api_error *error)
{
    json_t *body;
    responses_request request;
    json_writer *answer = NULL;
    if (!json_body_parse(text, size, &body, error) || !responses_request_parse(body, &s->limits, &request, error)) return NULL;
    conversation c = {0};
    if (models_check(s, request.chat.model, error) && collect_items(s, &request, &c, error) && render_within(s, &request, &c, error)) {
        answer = calloc(1, sizeof *answer);
        if (answer) json_write_format(answer, "{\"object\":\"response.input_tokens\",\"input_tokens\":%zu}", c.prompt.count);
        else prompt_no_memory(error);
    }
    responses_request_free(&request);
    free_conversation(s, &c);
    return answer;
}

static void reply_count(const route_call *call, void *prepared)
{
    routes_reply_json(call->exchange, prepared);
    free(prepared);
}

static void drop_count(void *prepared)
{
    json_write_free(prepared);
    free(prepared);
}

const route_work responses_count_work = {prepare_count, reply_count, drop_count};
