/* Tokens of one choice -> reasoning, content and calls. */
#include <stdlib.h>
#include <string.h>

#include "runtime/server/chat.h"

static chat_generation *owner(const chat_choice *c) { return (chat_generation *)c->base.owner; }
static bool streams(const chat_choice *c) { return c->base.owner->params.stream; }

/* ---- pieces out ------------------------------------------------------------------------------------------------- */

static void put_text(chat_choice *c, const char *text, size_t size)
{
    if (!size || (c->field == CHAT_REASONING && !owner(c)->include_reasoning)) return;
    if (streams(c)) chat_stream_text(c, c->field, text, size);
    else if (!buffer_append(&c->texts[c->field], text, size)) c->failed = true;
}

/* Messages of one kind are joined by a line feed. */
static void put_message_text(chat_choice *c, const char *text, size_t size)
{
    if (!size) return;
    if (c->separator) put_text(c, "\n", 1);
    c->separator = false;
    put_text(c, text, size);
}

static void put_arguments(chat_choice *c, const char *text, size_t size)
{
    if (streams(c)) chat_stream_arguments(c, text, size);
    else if (!buffer_append(&c->calls[c->n_calls - 1].arguments, text, size)) c->failed = true;
}

static void begin_call(chat_choice *c, const char *name)
{
    chat_call *grown = realloc(c->calls, ((size_t)c->n_calls + 1) * sizeof *grown);
    if (grown) c->calls = grown;
    char *copy = strdup(name);
    if (!grown || !copy) {
        free(copy);
        c->failed = true;
        return;
    }
    chat_call *call = &grown[c->n_calls];
    *call = (chat_call){.name = copy};
    memcpy(call->id, "call_", 5);
    generation_random_hex(call->id + 5, 24);
    c->n_calls++;
    c->is_call = true;
    if (streams(c)) chat_stream_call(c);
}

/* ---- the parser's sink ------------------------------------------------------------------------------------------ */

static void on_begin(void *user, const harmony_header *header)
{
    chat_choice *c = user;
    if (c->base.ended) return;
    c->open = true;
    c->is_call = false;
    if (header->kind == HARMONY_TOOL_CALL) {
        begin_call(c, header->function ? header->function : "");
        return;
    }
    c->field = header->kind == HARMONY_ANALYSIS ? CHAT_REASONING : CHAT_CONTENT;
    c->separator = c->seen[c->field];
    c->seen[c->field] = true;
    stop_match_reset(&c->stop);
}

/* Stop strings are looked for in what the client shows its user: not in reasoning, not in arguments. */
static void on_content(chat_choice *c, const char *text, size_t size)
{
    const sampling_params *params = &c->base.owner->params;
    static const stop_set none = {0};
    const stop_set *stops = c->base.n_generated > params->sampling.min_tokens ? &params->stops : &none;
    buffer out = {0};
    int found;
    if (!stop_match_push(&c->stop, stops, text, size, params->include_stop, &out, &found)) c->failed = true;
    put_message_text(c, out.data, out.size);
    buffer_free(&out);
    if (found >= 0) generation_end_sequence(&c->base, found);
}

static void on_delta(void *user, const char *text, size_t size)
{
    chat_choice *c = user;
    if (c->base.ended || !c->open) return;
    if (c->is_call) put_arguments(c, text, size);
    else if (c->field == CHAT_CONTENT && c->base.owner->params.stops.n) on_content(c, text, size);
    else put_message_text(c, text, size);
}

static void on_end(void *user)
{
    chat_choice *c = user;
    if (!c->base.ended && c->open && !c->is_call) {
        buffer rest = {0};
        if (!stop_match_flush(&c->stop, &rest)) c->failed = true;
        put_message_text(c, rest.data, rest.size);
        buffer_free(&rest);
    }
    c->open = false;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

bool chat_choice_open(sequence *q)
{
    chat_choice *c = (chat_choice *)q;
    const chat_generation *g = owner(c);
    harmony_parser_options options = {.after_assistant = true, .functions = g->names, .n_functions = g->n_names};
    harmony_sink sink = {c, on_begin, on_delta, on_end};
    return harmony_parser_open(g->base.server->harmony, &options, sink, &c->parser, NULL) == STATUS_OK;
}

void chat_choice_close(sequence *q)
{
    chat_choice *c = (chat_choice *)q;
    if (c->parser) {
        c->base.ended = true; /* its last messages are nobody's any more */
        harmony_parser_close(c->parser);
    }
    for (int i = 0; i < c->n_calls; i++) {
        free(c->calls[i].name);
        buffer_free(&c->calls[i].arguments);
    }
    free(c->calls);
    for (int i = 0; i < CHAT_FIELDS; i++) buffer_free(&c->texts[i]);
    stop_match_free(&c->stop);
    json_write_free(&c->logprobs);
}

static bool ends_turn(const server *s, int32_t id)
{
    int32_t stops[3];
    int n = harmony_stop_ids(s->harmony, stops);
    for (int i = 0; i < n; i++)
        if (stops[i] == id) return true;
    return false;
}

void chat_choice_token(sequence *q, const ops_token *token, bool stop)
{
    chat_choice *c = (chat_choice *)q;
    const generation *g = q->owner;
    if (g->top_logprobs >= 0 && owner(c)->include_reasoning) {
        logprobs_style style = {g->server->tokenizer, g->params.tokens_as_ids};
        logprobs_write_chat(&style, token, &c->logprobs);
    }
    bool last = ends_turn(g->server, token->id);
    /* a stop id of the client's own is no part of the text, the model's own closes the message */
    if (!c->parsed && (last || !stop || g->params.include_stop)) harmony_parser_push(c->parser, token->id);
    if (!c->parsed && harmony_parser_in_reasoning(c->parser)) q->n_reasoning++;
    c->parsed |= last;
}

void chat_choice_finish(chat_choice *c)
{
    harmony_parser_finish(c->parser);
}

const char *chat_choice_finish_reason(const chat_choice *c)
{
    if (c->base.finish == ENGINE_FINISH_STOP && c->n_calls) return "tool_calls";
    return generation_finish_reason(&c->base);
}
