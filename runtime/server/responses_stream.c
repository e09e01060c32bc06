/* The events of a streamed response, in OpenAI's order. Places of an item's parts count from 0 in each item; an item has one. */
#include <string.h>

#include "runtime/server/responses.h"

static responses_generation *owner(const responses_choice *c) { return (responses_generation *)c->base.base.owner; }

/* NULL: nobody wants it. */
static json_writer *begin(responses_generation *g, const char *type)
{
    generation *base = &g->base.base;
    if (!base->params.stream || (!base->exchange && !g->keeps_events)) return NULL;
    responses_log_frame(type, strlen(type), g->sequence_number++, &base->out);
    g->event.type = type;
    g->event.fields = base->out.text.size;
    g->event.rest = 0;
    g->event.last = false;
    return &base->out;
}

static void keep(responses_generation *g, const json_writer *w)
{
    size_t size = w->text.size, rest = g->event.rest ? g->event.rest : size;
    const char *text = w->text.data;
    responses_event event = {.type = g->event.type, .last = g->event.last};
    if (!w->failed) {
        event.fields = text + g->event.fields;
        event.fields_size = rest - g->event.fields;
        event.rest = text + rest;
        event.rest_size = size - rest;
    }
    g->keeps_events = responses_store_event(g->responses, g->base.base.id, w->failed ? NULL : &event);
}

static void end(responses_generation *g, json_writer *w)
{
    if (g->keeps_events) keep(g, w);
    json_write_raw(w, RESPONSES_LOG_FRAME_END);
    generation_send(&g->base.base);
}

static void send_state(responses_generation *g, const char *type, bool last)
{
    json_writer *w = begin(g, type);
    if (!w) return;
    g->event.last = last;
    json_write_raw(w, ",\"response\":");
    responses_object_write(g, w);
    end(g, w);
}

void responses_stream_state(responses_generation *g, const char *type) { send_state(g, type, false); }
void responses_stream_end(responses_generation *g, const char *type) { send_state(g, type, true); }

static responses_item *last_item(responses_choice *c) { return &c->items[c->n_items - 1]; }

/* An event about the last item as a whole. */
static void send_item(responses_choice *c, const char *type)
{
    json_writer *w = begin(owner(c), type);
    if (!w) return;
    json_write_format(w, ",\"output_index\":%d,\"item\":", c->n_items - 1);
    responses_object_item(last_item(c), w);
    end(owner(c), w);
}

/* Begins an event inside the last item, up to where it says what is new. */
static json_writer *begin_inside(responses_choice *c, const char *type)
{
    json_writer *w = begin(owner(c), type);
    if (!w) return NULL;
    json_write_format(w, ",\"item_id\":\"%s\",\"output_index\":%d,", last_item(c)->id, c->n_items - 1);
    if (last_item(c)->kind != RESPONSES_CALL) json_write_raw(w, "\"content_index\":0,");
    return w;
}

static void send_part(responses_choice *c, const char *type, bool begins)
{
    json_writer *w = begin_inside(c, type);
    if (!w) return;
    json_write_raw(w, "\"part\":");
    responses_object_part(last_item(c), begins, w);
    end(owner(c), w);
}

void responses_stream_item(responses_choice *c)
{
    send_item(c, "response.output_item.added");
    if (last_item(c)->kind != RESPONSES_CALL) send_part(c, "response.content_part.added", true);
}

/* ,"logprobs":[...] of a message. */
static void write_logprobs(const responses_choice *c, const json_writer *entries, json_writer *w)
{
    if (c->items[c->n_items - 1].kind != RESPONSES_MESSAGE) return;
    json_write_raw(w, ",\"logprobs\":[");
    json_write_bytes(w, entries->text.data, entries->text.size);
    w->failed |= entries->failed;
    json_write_raw(w, "]");
}

void responses_stream_delta(responses_choice *c, const char *text, size_t size)
{
    static const char *const types[] = {"response.reasoning_text.delta", "response.output_text.delta", "response.function_call_arguments.delta"};
    json_writer *w = begin_inside(c, types[last_item(c)->kind]);
    if (!w) return;
    json_write_raw(w, "\"delta\":");
    owner(c)->event.rest = w->text.size;
    json_write_string(w, text, size);
    write_logprobs(c, &c->logprobs, w);
    end(owner(c), w);
}

void responses_stream_item_done(responses_choice *c)
{
    static const char *const types[] = {"response.reasoning_text.done", "response.output_text.done", "response.function_call_arguments.done"};
    const responses_item *item = last_item(c);
    json_writer *w = begin_inside(c, types[item->kind]);
    if (!w) return;
    json_write_format(w, "\"%s\":", item->kind == RESPONSES_CALL ? "arguments" : "text");
    json_write_string(w, item->text.data ? item->text.data : "", item->text.size);
    if (item->kind == RESPONSES_CALL) {
        json_write_raw(w, ",\"name\":");
        json_write_text(w, item->name);
    }
    write_logprobs(c, &item->logprobs, w);
    end(owner(c), w);
    if (item->kind != RESPONSES_CALL) send_part(c, "response.content_part.done", false);
    send_item(c, "response.output_item.done");
}
