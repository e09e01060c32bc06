/* Tokens of one completion -> text and log-probabilities. */
#include "runtime/server/completion.h"

static void count_characters(completion_choice *c, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80) c->characters++;
}

static void add_logprobs(completion_choice *c, const ops_token *token, bool scored)
{
    const generation *g = c->base.owner;
    int wanted = ((const completion_generation *)g)->logprobs;
    if (wanted < 0) return;
    logprobs_style style = {g->server->tokenizer, g->params.tokens_as_ids};
    logprobs_add(&style, token, scored, wanted, c->characters, &c->logprobs);
}

/* The bytes of a prompt's token, into the text as it stands. */
static void echo_token(completion_choice *c, int32_t id)
{
    size_t size, before = c->text.size;
    const char *bytes = tokenizer_bytes(c->base.owner->server->tokenizer, id, &size);
    if (!bytes) return;
    if (!utf8_stream_push(&c->utf8, bytes, size, &c->text)) c->failed = true;
    count_characters(c, c->text.data + before, c->text.size - before);
}

/* Prompt token `n_scored`: its probability, then its text. */
static void echo_scored(completion_choice *c, const ops_token *token, bool scored)
{
    add_logprobs(c, token, scored);
    echo_token(c, token->id);
    c->n_scored++;
}

static const id_list *prompt_of(const completion_choice *c)
{
    const generation *g = c->base.owner;
    return &g->prompts[c->base.index / g->params.n];
}

void completion_choice_prompt_token(sequence *q, const ops_token *token)
{
    completion_choice *c = (completion_choice *)q;
    if (!c->n_scored) echo_scored(c, &(ops_token){.id = prompt_of(c)->ids[0]}, false);
    echo_scored(c, token, true);
}

/* Before the first token: what of the prompt has not been echoed with its probabilities. */
static void begin(completion_choice *c)
{
    const id_list *prompt = prompt_of(c);
    if (c->begun) return;
    c->begun = true;
    if (!((const completion_generation *)c->base.owner)->echo) return;
    if (!c->n_scored) echo_scored(c, &(ops_token){.id = prompt->ids[0]}, false);
    for (size_t i = (size_t)c->n_scored; i < prompt->count; i++) echo_token(c, prompt->ids[i]);
    size_t before = c->text.size;
    if (!utf8_stream_finish(&c->utf8, &c->text)) c->failed = true;
    count_characters(c, c->text.data + before, c->text.size - before);
}

/* Whole characters, past the stop strings, into `text`. */
static void put_characters(completion_choice *c, const buffer *characters)
{
    const sampling_params *params = &c->base.owner->params;
    static const stop_set none = {0};
    const stop_set *stops = c->base.n_generated > params->sampling.min_tokens ? &params->stops : &none;
    int found = -1;
    if (!characters->size) return;
    count_characters(c, characters->data, characters->size);
    if (!stop_match_push(&c->stop, stops, characters->data, characters->size, params->include_stop, &c->text, &found)) c->failed = true;
    if (found >= 0) generation_end_sequence(&c->base, found);
}

void completion_choice_token(sequence *q, const ops_token *token, bool stop)
{
    completion_choice *c = (completion_choice *)q;
    const generation *g = q->owner;
    const tokenizer *t = g->server->tokenizer;
    size_t size;
    begin(c);
    add_logprobs(c, token, true);
    if (g->top_logprobs >= 0) c->likelihood += (double)token->logprob;
    const char *bytes = tokenizer_bytes(t, token->id, &size);
    bool silent = (stop && !g->params.include_stop) || (g->params.skip_special && tokenizer_is_special(t, token->id));
    if (bytes && !silent) {
        buffer characters = {0};
        if (!utf8_stream_push(&c->utf8, bytes, size, &characters)) c->failed = true;
        put_characters(c, &characters);
        buffer_free(&characters);
    }
    if (g->params.stream) completion_stream_text(c);
}

void completion_choice_finish(completion_choice *c)
{
    begin(c);
    if (c->base.ended) return;
    buffer characters = {0};
    if (!utf8_stream_finish(&c->utf8, &characters)) c->failed = true;
    put_characters(c, &characters);
    buffer_free(&characters);
    if (!c->base.ended && !stop_match_flush(&c->stop, &c->text)) c->failed = true;
}

void completion_choice_close(sequence *q)
{
    completion_choice *c = (completion_choice *)q;
    stop_match_free(&c->stop);
    buffer_free(&c->text);
    logprobs_free(&c->logprobs);
}
