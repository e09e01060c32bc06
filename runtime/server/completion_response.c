/* The answers of /v1/completions, whole and streamed. */
#include "runtime/server/completion.h"

/* One choice with the text and log-probabilities that were not sent yet; both are then empty. */
static void write_choice(completion_choice *c, int index, bool finished, json_writer *w)
{
    json_write_format(w, "{\"index\":%d,\"text\":", index);
    json_write_string(w, c->text.data ? c->text.data : "", c->text.size);
    buffer_clear(&c->text);
    json_write_raw(w, ",\"logprobs\":");
    if (((const completion_generation *)c->base.owner)->logprobs >= 0) logprobs_take(&c->logprobs, w);
    else json_write_raw(w, "null");
    json_write_raw(w, ",\"finish_reason\":");
    json_write_text(w, finished ? generation_finish_reason(&c->base) : NULL);
    if (finished) generation_write_stop_reason(&c->base, w);
    else json_write_raw(w, ",\"stop_reason\":null");
    if (finished && !c->base.owner->params.stream) generation_write_prompt_logprobs(&c->base, w);
    json_write_raw(w, "}");
    w->failed |= c->failed;
}

static void send_event(completion_choice *c, bool finished)
{
    generation *g = c->base.owner;
    json_write_raw(&g->out, "data: {");
    generation_write_head(g, "text_completion", &g->out);
    json_write_raw(&g->out, ",\"choices\":[");
    write_choice(c, c->base.index, finished, &g->out);
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

static double mean_likelihood(const completion_choice *c)
{
    return c->base.n_generated ? c->likelihood / c->base.n_generated : 0;
}

/* How many of the prompt's choices are likelier, or as likely and before it. */
static int place_of(const generation *g, int index)
{
    int first = index - index % g->params.n, place = 0;
    double own = mean_likelihood((const completion_choice *)g->sequences[index]);
    for (int i = first; i < first + g->params.n; i++) {
        double other = mean_likelihood((const completion_choice *)g->sequences[i]);
        place += other > own || (other == own && i < index);
    }
    return place;
}

/* The choices of one prompt that are shown: all in their order, or the likeliest, best first. */
static void write_shown(generation *g, int first, json_writer *w)
{
    int shown = ((const completion_generation *)g)->shown, n = g->params.n;
    for (int place = 0; place < shown; place++) {
        int index = first + place;
        for (int i = first; shown < n && i < first + n; i++)
            if (place_of(g, i) == place) index = i;
        int number = first / n * shown + place;
        if (number) json_write_raw(w, ",");
        write_choice((completion_choice *)g->sequences[index], number, true, w);
    }
}

void completion_response_done(generation *g)
{
    json_writer *w = &g->out;
    json_write_raw(w, "{");
    generation_write_head(g, "text_completion", w);
    json_write_raw(w, ",\"choices\":[");
    for (int i = 0; i < g->n_sequences; i += g->params.n) write_shown(g, i, w);
    json_write_raw(w, "],\"service_tier\":null,\"system_fingerprint\":null");
    generation_write_usage(g, NULL, w);
    json_write_raw(w, "}");
    generation_reply(g);
}
