/* The events of a streamed chat completion. Log-probabilities go out with the first event after their token. */
#include "runtime/server/chat.h"

static json_writer *begin_event(chat_choice *c)
{
    generation *g = c->base.base.owner;
    json_write_raw(&g->out, "data: {");
    generation_write_head(g, "chat.completion.chunk", &g->out);
    json_write_format(&g->out, ",\"choices\":[{\"index\":%d,\"delta\":{", c->base.base.index);
    return &g->out;
}

static void end_event(chat_choice *c, const char *finish_reason)
{
    generation *g = c->base.base.owner;
    json_writer *w = &g->out;
    json_write_raw(w, "},\"logprobs\":");
    if (c->logprobs.text.size) {
        json_write_raw(w, "{\"content\":[");
        json_write_bytes(w, c->logprobs.text.data, c->logprobs.text.size);
        json_write_raw(w, "]}");
        w->failed |= c->logprobs.failed;
        json_write_clear(&c->logprobs);
    } else {
        json_write_raw(w, "null");
    }
    json_write_raw(w, ",\"finish_reason\":");
    json_write_text(w, finish_reason);
    if (finish_reason) generation_write_stop_reason(&c->base.base, w);
    json_write_raw(w, "}]");
    if (g->params.continuous_usage) generation_write_usage(g, &c->base.base, w);
    json_write_raw(w, "}\n\n");
    w->failed |= c->base.failed;
    generation_send(g);
}

static void send_role(chat_choice *c)
{
    if (c->role_sent) return;
    c->role_sent = true;
    json_write_raw(begin_event(c), "\"role\":\"assistant\",\"content\":\"\"");
    end_event(c, NULL);
}

void chat_stream_text(chat_choice *c, chat_field field, const char *text, size_t size)
{
    send_role(c);
    json_writer *w = begin_event(c);
    if (field == CHAT_REASONING) {
        json_write_raw(w, "\"reasoning\":");
        json_write_string(w, text, size);
        json_write_raw(w, ",\"reasoning_content\":");
    } else {
        json_write_raw(w, "\"content\":");
    }
    json_write_string(w, text, size);
    end_event(c, NULL);
}

void chat_stream_call(chat_choice *c)
{
    send_role(c);
    const chat_call *call = &c->calls[c->n_calls - 1];
    json_writer *w = begin_event(c);
    json_write_format(w, "\"tool_calls\":[{\"index\":%d,\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", c->n_calls - 1, call->id);
    json_write_text(w, call->name);
    json_write_raw(w, ",\"arguments\":\"\"}}]");
    end_event(c, NULL);
}

void chat_stream_arguments(chat_choice *c, const char *text, size_t size)
{
    json_writer *w = begin_event(c);
    json_write_format(w, "\"tool_calls\":[{\"index\":%d,\"function\":{\"arguments\":", c->n_calls - 1);
    json_write_string(w, text, size);
    json_write_raw(w, "}}]");
    end_event(c, NULL);
}

void chat_stream_finish(chat_choice *c)
{
    send_role(c);
    begin_event(c);
    end_event(c, chat_choice_finish_reason(c));
}

void chat_stream_done(generation *g)
{
    if (g->params.include_usage) {
        json_write_raw(&g->out, "data: {");
        generation_write_head(g, "chat.completion.chunk", &g->out);
        json_write_raw(&g->out, ",\"choices\":[]");
        generation_write_usage(g, NULL, &g->out);
        json_write_raw(&g->out, "}\n\n");
    }
    generation_end_stream(g);
}
