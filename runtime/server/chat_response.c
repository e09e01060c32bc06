/* The body of a chat completion that does not stream. */
#include "runtime/server/chat.h"

static void write_text_field(const chat_choice *c, chat_field field, const char *name, bool shown, json_writer *w)
{
    const buffer *text = &c->texts[field];
    json_write_format(w, ",\"%s\":", name);
    if (c->seen[field] && shown) json_write_string(w, text->data ? text->data : "", text->size);
    else json_write_raw(w, "null");
}

static void write_calls(const chat_choice *c, json_writer *w)
{
    if (!c->n_calls) return;
    json_write_raw(w, ",\"tool_calls\":[");
    for (int i = 0; i < c->n_calls; i++) {
        const chat_call *call = &c->calls[i];
        json_write_format(w, "%s{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", i ? "," : "", call->id);
        json_write_text(w, call->name);
        json_write_raw(w, ",\"arguments\":");
        json_write_string(w, call->arguments.data ? call->arguments.data : "", call->arguments.size);
        json_write_raw(w, "}}");
    }
    json_write_raw(w, "]");
}

static void write_choice(const chat_choice *c, bool include_reasoning, json_writer *w)
{
    json_write_format(w, "{\"index\":%d,\"message\":{\"role\":\"assistant\"", c->base.base.index);
    write_text_field(c, CHAT_CONTENT, "content", true, w);
    write_text_field(c, CHAT_REASONING, "reasoning", include_reasoning, w);
    write_text_field(c, CHAT_REASONING, "reasoning_content", include_reasoning, w);
    write_calls(c, w);
    json_write_raw(w, ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null},\"logprobs\":");
    if (c->base.base.owner->top_logprobs >= 0 && include_reasoning) {
        json_write_raw(w, "{\"content\":[");
        json_write_bytes(w, c->logprobs.text.data, c->logprobs.text.size);
        json_write_raw(w, "]}");
    } else {
        json_write_raw(w, "null");
    }
    json_write_format(w, ",\"finish_reason\":\"%s\"", chat_choice_finish_reason(c));
    generation_write_stop_reason(&c->base.base, w);
    json_write_raw(w, "}");
    w->failed |= c->base.failed || c->logprobs.failed;
}

void chat_response_done(generation *g)
{
    json_writer *w = &g->out;
    json_write_raw(w, "{");
    generation_write_head(g, "chat.completion", w);
    json_write_raw(w, ",\"choices\":[");
    for (int i = 0; i < g->n_sequences; i++) {
        if (i) json_write_raw(w, ",");
        write_choice((const chat_choice *)g->sequences[i], ((const chat_generation *)g)->include_reasoning, w);
    }
    json_write_raw(w, "],\"service_tier\":null,\"system_fingerprint\":null");
    generation_write_usage(g, NULL, w);
    generation_write_prompt_logprobs(g->sequences[0], w);
    json_write_raw(w, "}");
    generation_reply(g);
}
