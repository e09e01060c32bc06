/* The parts of answers that all generating endpoints share. */
#include <string.h>

#include "runtime/server/generation.h"

static void abort_reply(generation *g)
{
    http_exchange *x = g->exchange;
    g->exchange = NULL;
    g->keep = false;
    for (int i = 0; i < g->n_submitted; i++)
        if (g->sequences[i]->live) engine_cancel(g->server->engine, g->sequences[i]->id);
    http_exchange_abort(x);
}

void generation_begin_events(http_exchange *x)
{
    http_exchange_header(x, "Cache-Control", "no-cache");
    http_exchange_header(x, "X-Accel-Buffering", "no"); /* nginx: pass each event on at once */
    http_exchange_begin(x, 200, "text/event-stream; charset=utf-8");
}

void generation_send(generation *g)
{
    if (g->exchange && g->out.failed) abort_reply(g);
    else if (g->exchange) http_exchange_write(g->exchange, g->out.text.data, g->out.text.size);
    json_write_clear(&g->out);
}

void generation_reply(generation *g)
{
    http_exchange *x = g->exchange;
    if (!x) return;
    g->exchange = NULL;
    routes_reply_json(x, &g->out);
}

void generation_end_stream(generation *g)
{
    json_write_raw(&g->out, "data: [DONE]\n\n");
    generation_close_stream(g);
}

void generation_close_stream(generation *g)
{
    generation_send(g);
    if (!g->exchange) return;
    http_exchange_end(g->exchange);
    g->exchange = NULL;
}

const char *generation_finish_reason(const sequence *q) { return q->finish == ENGINE_FINISH_LENGTH ? "length" : "stop"; }

void generation_write_stop_reason(const sequence *q, json_writer *w)
{
    const generation *g = q->owner;
    json_write_raw(w, ",\"stop_reason\":");
    if (q->stop_string >= 0) {
        const buffer *string = &g->params.stops.strings[q->stop_string];
        json_write_string(w, string->data, string->size);
    } else if (q->stop_id >= 0 && q->stop_id != g->server->end_of_text) {
        json_write_int(w, q->stop_id);
    } else {
        json_write_raw(w, "null");
    }
}

generation_usage generation_count(const generation *g, const sequence *q)
{
    generation_usage usage = {0};
    for (int i = 0; i < g->n_sequences; i++) {
        const sequence *s = g->sequences[i];
        if (q && s != q) continue;
        if (q || i % g->params.n == 0) {
            usage.prompt += (long long)g->prompts[i / g->params.n].count;
            usage.cached += s->n_cached;
        }
        usage.completion += s->n_generated;
        usage.reasoning += s->n_reasoning;
    }
    return usage;
}

void generation_write_usage(const generation *g, const sequence *q, json_writer *w)
{
    generation_usage usage = generation_count(g, q);
    json_write_format(w,
                      ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld,\"completion_tokens\":%lld,\"prompt_tokens_details\":"
                      "{\"cached_tokens\":%lld},\"completion_tokens_details\":{\"reasoning_tokens\":%lld}}",
                      usage.prompt, usage.prompt + usage.completion, usage.completion, usage.cached, usage.reasoning);
}

void generation_write_prompt_logprobs(const sequence *q, json_writer *w)
{
    const json_writer *list = &q->prompt_logprobs;
    json_write_raw(w, ",\"prompt_logprobs\":");
    if (q->owner->params.prompt_logprobs < 0) {
        json_write_raw(w, "null");
        return;
    }
    json_write_raw(w, list->text.size ? "[null," : "[null");
    json_write_bytes(w, list->text.data, list->text.size);
    json_write_raw(w, "]");
    w->failed |= list->failed;
}

void generation_write_head(const generation *g, const char *object, json_writer *w)
{
    json_write_format(w, "\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", g->id, object, (long long)g->created);
    json_write_text(w, g->server->names[0]);
}
