#include "runtime/server/message_choice.h"

#include <stdlib.h>
#include <string.h>

static message_generation *owner(const message_choice *c) { return (message_generation *)c->base.owner; }

void message_choice_call_id(char out[MESSAGE_CHOICE_CALL_ID])
{
    memcpy(out, "call_", 5);
    generation_random_hex(out + 5, MESSAGE_CHOICE_CALL_ID - 6);
}

/* ---- the parser's sink ------------------------------------------------------------------------------------------ */

static void on_begin(void *user, const harmony_header *header)
{
    message_choice *c = user;
    if (c->base.ended) return;
    c->open = true;
    c->kind = header->kind;
    if (c->kind == HARMONY_TOOL_CALL) c->n_calls++;
    else stop_match_reset(&c->stop);
    owner(c)->sink->begin(c, header);
}

static void put(message_choice *c, const char *text, size_t size)
{
    if (size) owner(c)->sink->text(c, text, size);
}

static void put_answer(message_choice *c, const char *text, size_t size)
{
    const sampling_params *params = &c->base.owner->params;
    static const stop_set none = {0};
    const stop_set *stops = c->base.n_generated > params->sampling.min_tokens ? &params->stops : &none;
    buffer out = {0};
    int found;
    if (!stop_match_push(&c->stop, stops, text, size, params->include_stop, &out, &found)) c->failed = true;
    put(c, out.data, out.size);
    buffer_free(&out);
    if (found >= 0) generation_end_sequence(&c->base, found);
}

static void on_delta(void *user, const char *text, size_t size)
{
    message_choice *c = user;
    if (c->base.ended || !c->open) return;
    if (c->kind == HARMONY_FINAL && c->base.owner->params.stops.n) put_answer(c, text, size);
    else put(c, text, size);
}

static void on_end(void *user)
{
    message_choice *c = user;
    if (!c->open) return;
    if (!c->base.ended && c->kind == HARMONY_FINAL) {
        buffer rest = {0};
        if (!stop_match_flush(&c->stop, &rest)) c->failed = true;
        put(c, rest.data, rest.size);
        buffer_free(&rest);
    }
    c->open = false;
    owner(c)->sink->end(c);
}

/* ---- tokens ----------------------------------------------------------------------------------------------------- */

bool message_choice_open(sequence *q)
{
    message_choice *c = (message_choice *)q;
    const message_generation *g = owner(c);
    harmony_parser_options options = {.after_assistant = true, .functions = g->names, .n_functions = g->n_names};
    harmony_sink sink = {c, on_begin, on_delta, on_end};
    return harmony_parser_open(g->base.server->harmony, &options, sink, &c->parser, NULL) == STATUS_OK;
}

void message_choice_close(sequence *q)
{
    message_choice *c = (message_choice *)q;
    harmony_parser_close(c->parser);
    stop_match_free(&c->stop);
}

bool message_choice_ends_turn(const server *s, int32_t id)
{
    int32_t stops[3];
    int n = harmony_stop_ids(s->harmony, stops);
    for (int i = 0; i < n; i++)
        if (stops[i] == id) return true;
    return false;
}

void message_choice_token(sequence *q, const ops_token *token, bool stop)
{
    message_choice *c = (message_choice *)q;
    const generation *g = q->owner;
    bool last = message_choice_ends_turn(g->server, token->id);
    /* a stop id of the client's own is no part of the text, the model's own closes the message */
    if (!c->parsed && (last || !stop || g->params.include_stop)) harmony_parser_push(c->parser, token->id);
    if (!c->parsed && harmony_parser_in_reasoning(c->parser)) q->n_reasoning++;
    c->parsed |= last;
    bool called = c->n_calls && !(c->open && c->kind == HARMONY_TOOL_CALL);
    if (owner(c)->one_call && called && !stop && !q->ended) generation_end_sequence(q, -1);
}

void message_choice_finish(message_choice *c) { harmony_parser_finish(c->parser); }

/* ---- the generation --------------------------------------------------------------------------------------------- */

message_generation *message_generation_make(size_t size, const generation_entries *entries, const message_sink *sink, chat_request *request,
                                            id_list *prompt)
{
    message_generation *g = calloc(1, size);
    id_list *prompts = calloc(1, sizeof *prompts);
    if (!g || !prompts) {
        free(g);
        free(prompts);
        return NULL;
    }
    *prompts = *prompt;
    *prompt = (id_list){0};
    g->sink = sink;
    g->base.entries = entries;
    g->base.params = request->params;
    request->params = (sampling_params){0};
    g->base.constraint = request->constraint;
    request->constraint = NULL;
    g->base.prompts = prompts;
    g->base.n_prompts = 1;
    g->base.top_logprobs = request->top_logprobs;
    g->base.prompt_logprobs = -1;
    if (request->tools.offered) {
        g->tools = json_incref(json_object_get(request->body, "tools"));
        g->names = request->tools.names;
        g->n_names = request->tools.n;
        request->tools.names = NULL;
    }
    return g;
}

void message_generation_close(message_generation *g)
{
    json_decref(g->tools);
    free(g->names);
}
