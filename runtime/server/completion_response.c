/* The answers of /v1/completions, whole and streamed. */
#include "runtime/server/completion.h"

/* One choice with the text and log-probabilities that were not sent yet; both are then empty. */
static void write_choice(completion_choice *c, bool finished, json_writer *w)
{
    json_write_format(w, "{\"index\":%d,\"text\":", c->base.index);
    json_write_string(w, c->text.data ? c->text.data : "", c->text.size);
    buffer_clear(&c->text);
    json_write_raw(w, ",\"logprobs\":");
    if (c->base.owner->top_logprobs >= 0) logprobs_take(&c->logprobs, w);
    else json_write_raw(w, "null");
    json_write_raw(w, ",\"finish_reason\":");
    json_write_text(w, finished ? generation_finish_reason(&c->base) : NULL);
    if (finished) generation_write_stop_reason(&c->base, w);
    else json_write_raw(w, ",\"stop_reason\":null");
    json_write_raw(w, "}");
    w->failed |= c->failed;
}

static void send_event(completion_choice *c, bool finished)
{
    generation *g = c->base.owner;
    json_write_raw(&g->out, "data: {");
    generation_write_head(g, "text_completion", &g->out);
    json_write_raw(&g->out, ",\"choices\":[");
    write_choice(c, finished, &g->out);
    json_write_raw(&g->out, "]");
    if (g->params.continuous_usage) generation_write_usage(g, &c->base, &g->out);
    json_write_raw(&g->out, "}\n\n");
    generation_send(g);
}

void completion_stream_text(completion_choice *c)
{
    if (c->text.size || c->failed) send_event(c, false);
}

void completion_stream_finish(completion_choice *c) { send_event(c, true); }

void completion_stream_done(generation *g)
{
    if (g->params.include_usage) {
        json_write_raw(&g->out, "data: {");
        generation_write_head(g, "text_completion", &g->out);
        json_write_raw(&g->out, ",\"choices\":[]");
        generation_write_usage(g, NULL, &g->out);
        json_write_raw(&g->out, "}\n\n");
    }
    generation_end_stream(g);
}

void completion_response_done(generation *g)
{
    json_writer *w = &g->out;
    json_write_raw(w, "{");
    generation_write_head(g, "text_completion", w);
    json_write_raw(w, ",\"choices\":[");
    for (int i = 0; i < g->n_sequences; i++) {
        if (i) json_write_raw(w, ",");
        write_choice((completion_choice *)g->sequences[i], true, w);
    }
    json_write_raw(w, "],\"service_tier\":null,\"system_fingerprint\":null");
    generation_write_usage(g, NULL, w);
    json_write_raw(w, "}");
    generation_reply(g);
}
