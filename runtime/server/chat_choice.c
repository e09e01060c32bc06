/* The messages of one choice -> reasoning, content and calls. */
#include <stdlib.h>
#include <string.h>

#include "runtime/server/chat.h"

static chat_generation *owner(const chat_choice *c) { return (chat_generation *)c->base.base.owner; }
static bool streams(const chat_choice *c) { return c->base.base.owner->params.stream; }

/* ---- the sink --------------------------------------------------------------------------------------------------- */

static void begin_call(chat_choice *c, const char *name)
{
    chat_call *grown = realloc(c->calls, ((size_t)c->n_calls + 1) * sizeof *grown);
    if (grown) c->calls = grown;
    char *copy = strdup(name);
    if (!grown || !copy) {
        free(copy);
        c->base.failed = true;
        return;
    }
    chat_call *call = &grown[c->n_calls];
    *call = (chat_call){.name = copy};
    message_choice_call_id(call->id);
    c->n_calls++;
    if (streams(c)) chat_stream_call(c);
}

static void on_begin(message_choice *m, const harmony_header *header)
{
    chat_choice *c = (chat_choice *)m;
    if (header->kind == HARMONY_TOOL_CALL) {
        begin_call(c, header->function ? header->function : "");
        return;
    }
    c->field = header->kind == HARMONY_ANALYSIS ? CHAT_REASONING : CHAT_CONTENT;
    c->separator = c->filled[c->field];
    c->seen[c->field] = true;
}

static void put_text(chat_choice *c, const char *text, size_t size)
{
    if (c->field == CHAT_REASONING && !owner(c)->include_reasoning) return;
    if (streams(c)) chat_stream_text(c, c->field, text, size);
    else if (!buffer_append(&c->texts[c->field], text, size)) c->base.failed = true;
}

static void put_arguments(chat_choice *c, const char *text, size_t size)
{
    if (c->base.failed) return; /* there may be no call to put them in */
    if (streams(c)) chat_stream_arguments(c, text, size);
    else if (!buffer_append(&c->calls[c->n_calls - 1].arguments, text, size)) c->base.failed = true;
}

/* Messages of one kind are joined by a line feed; one without text is nothing to join. */
static void on_text(message_choice *m, const char *text, size_t size)
{
    chat_choice *c = (chat_choice *)m;
    if (m->kind == HARMONY_TOOL_CALL) {
        put_arguments(c, text, size);
        return;
    }
    if (c->separator) put_text(c, "\n", 1);
    c->separator = false;
    c->filled[c->field] = true;
    put_text(c, text, size);
}

static void on_end(message_choice *m) { (void)m; }

const message_sink chat_choice_sink = {on_begin, on_text, on_end};

/* ---- life ------------------------------------------------------------------------------------------------------- */

void chat_choice_close(sequence *q)
{
    chat_choice *c = (chat_choice *)q;
    message_choice_close(q);
    for (int i = 0; i < c->n_calls; i++) {
        free(c->calls[i].name);
        buffer_free(&c->calls[i].arguments);
    }
    free(c->calls);
    for (int i = 0; i < CHAT_FIELDS; i++) buffer_free(&c->texts[i]);
    json_write_free(&c->logprobs);
}

void chat_choice_token(sequence *q, const ops_token *token, bool stop)
{
    chat_choice *c = (chat_choice *)q;
    const generation *g = q->owner;
    if (g->top_logprobs >= 0 && owner(c)->include_reasoning) {
        logprobs_style style = {g->server->tokenizer, g->params.tokens_as_ids};
        logprobs_write_chat(&style, token, &c->logprobs);
    }
    message_choice_token(q, token, stop);
}

const char *chat_choice_finish_reason(const chat_choice *c)
{
    /* OpenAI's word for a call that the client asked for by name is "stop", and vLLM's */
    if (c->base.base.finish == ENGINE_FINISH_STOP && c->n_calls && !owner(c)->named) return "tool_calls";
    return generation_finish_reason(&c->base.base);
}
