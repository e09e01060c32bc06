/* The events of a streamed response, in OpenAI's order. Places of an item's parts count from 0 in each item; an item has one. */
#include "runtime/server/responses.h"

static responses_generation *owner(const responses_choice *c) { return (responses_generation *)c->base.base.owner; }

/* NULL: nobody listens. */
static json_writer *begin(responses_generation *g, const char *type)
{
    generation *base = &g->base.base;
    if (!base->params.stream || !base->exchange) return NULL;
    json_write_format(&base->out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%lld", type, type, g->sequence_number++);
    return &base->out;
}

static void end(responses_generation *g, json_writer *w)
{
    json_write_raw(w, "}\n\n");
    generation_send(&g->base.base);
}

void responses_stream_state(responses_generation *g, const char *type)
{
    json_writer *w = begin(g, type);
    if (!w) return;
    json_write_raw(w, ",\"response\":");
    responses_object_write(g, w);
    end(g, w);
}

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
