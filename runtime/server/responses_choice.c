/* The messages of a response -> items. */
#include <stdlib.h>
#include <string.h>

#include "runtime/server/responses.h"

static responses_generation *owner(const responses_choice *c) { return (responses_generation *)c->base.base.owner; }

responses_choice *responses_choice_of(const responses_generation *g) { return (responses_choice *)g->base.base.sequences[0]; }

static bool open_item(responses_choice *c, responses_kind kind, const char *name)
{
    static const char *const prefixes[] = {[RESPONSES_REASONING] = "rs_", [RESPONSES_MESSAGE] = "msg_", [RESPONSES_CALL] = "fc_"};
    if (c->n_items == c->room) {
        int room = c->room ? 2 * c->room : 4;
        responses_item *grown = realloc(c->items, (size_t)room * sizeof *grown);
        if (!grown) return false;
        c->items = grown;
        c->room = room;
    }
    char *copy = name ? strdup(name) : NULL;
    if (name && !copy) return false;
    responses_item *item = &c->items[c->n_items++];
    *item = (responses_item){.kind = kind, .status = RESPONSES_IN_PROGRESS, .preamble = c->preamble, .name = copy};
    responses_items_id(prefixes[kind], item->id);
    if (kind == RESPONSES_CALL) message_choice_call_id(item->call_id);
    c->open = true;
    responses_stream_item(c);
    return true;
}

static void on_begin(message_choice *m, const harmony_header *header)
{
    responses_choice *c = (responses_choice *)m;
    bool answer = header->kind == HARMONY_FINAL;
    c->open = false;
    c->preamble = answer && header->channel && !strcmp(header->channel, "commentary");
    if (header->kind == HARMONY_TOOL_CALL) m->failed |= !open_item(c, RESPONSES_CALL, header->function ? header->function : "");
    else if (answer && !c->preamble) m->failed |= !open_item(c, RESPONSES_MESSAGE, NULL);
}

/* Moves the entries that wait to those of the item, after the event that carried them. */
static void keep_logprobs(responses_choice *c, responses_item *item)
{
    if (!c->logprobs.text.size) return;
    if (item->logprobs.text.size) json_write_raw(&item->logprobs, ",");
    json_write_bytes(&item->logprobs, c->logprobs.text.data, c->logprobs.text.size);
    item->logprobs.failed |= c->logprobs.failed;
    json_write_clear(&c->logprobs);
}

static void on_text(message_choice *m, const char *text, size_t size)
{
    responses_choice *c = (responses_choice *)m;
    if (!c->open) m->failed |= !open_item(c, m->kind == HARMONY_ANALYSIS ? RESPONSES_REASONING : RESPONSES_MESSAGE, NULL);
    if (m->failed) return;
    responses_item *item = &c->items[c->n_items - 1];
    if (!buffer_append(&item->text, text, size)) m->failed = true;
    responses_stream_delta(c, text, size);
    keep_logprobs(c, item);
}

static void on_end(message_choice *m)
{
    responses_choice *c = (responses_choice *)m;
    if (!c->open) return;
    responses_item *item = &c->items[c->n_items - 1];
    keep_logprobs(c, item);
    item->status = c->cut ? RESPONSES_INCOMPLETE : RESPONSES_COMPLETED;
    c->open = false;
    responses_stream_item_done(c);
}

const message_sink responses_choice_sink = {on_begin, on_text, on_end};

/* The token belongs to the text of an answer that is open. Control tokens do not, nor what a header hides. */
static bool is_text(const responses_choice *c, int32_t id, bool stop)
{
    const responses_generation *g = owner(c);
    const message_choice *m = &c->base;
    if (!m->open || m->kind != HARMONY_FINAL || m->parsed) return false;
    if (stop && !g->base.base.params.include_stop) return false;
    return id != g->end_of_message && !message_choice_ends_turn(g->base.base.server, id);
}

void responses_choice_token(sequence *q, const ops_token *token, bool stop)
{
    responses_choice *c = (responses_choice *)q;
    responses_generation *g = owner(c);
    if (g->status == RESPONSES_QUEUED) {
        g->status = RESPONSES_IN_PROGRESS;
        responses_stream_state(g, "response.in_progress");
    }
    if (g->logprobs && is_text(c, token->id, stop)) {
        logprobs_style style = {g->base.base.server->tokenizer, g->base.base.params.tokens_as_ids};
        logprobs_write_chat(&style, token, &c->logprobs);
    }
    message_choice_token(q, token, stop);
}

void responses_choice_finish(responses_choice *c)
{
    c->cut = c->base.base.finish == ENGINE_FINISH_LENGTH;
    message_choice_finish(&c->base);
}

void responses_choice_close(sequence *q)
{
    responses_choice *c = (responses_choice *)q;
    message_choice_close(q);
    for (int i = 0; i < c->n_items; i++) {
        free(c->items[i].name);
        buffer_free(&c->items[i].text);
        json_write_free(&c->items[i].logprobs);
    }
    free(c->items);
    json_write_free(&c->logprobs);
}
