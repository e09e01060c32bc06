/* Items and the response object as JSON, as OpenAI writes them. */
#include <stdlib.h>
#include <string.h>

#include "runtime/server/responses.h"
#include "runtime/server/responses_request.h"

const char *responses_object_status(responses_status state)
{
    static const char *const names[] = {"queued", "in_progress", "completed", "incomplete", "failed", "cancelled"};
    return names[state];
}

static bool is_over(responses_status state) { return state > RESPONSES_IN_PROGRESS; }

/* ---- what the request decides ------------------------------------------------------------------------------------ */

/* The value under `key` as it was sent, or `otherwise` when it is absent or null. */
static void write_value(const json_t *object, const char *key, const char *otherwise, json_writer *w)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) {
        json_write_raw(w, otherwise);
        return;
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (text) json_write_raw(w, text);
    else w->failed = true;
    free(text);
}

static void write_echo(const json_t *body, const char *key, const char *otherwise, json_writer *w)
{
    json_write_format(w, ",\"%s\":", key);
    write_value(body, key, otherwise, w);
}

void responses_object_echo(const server *s, const responses_request *request, harmony_effort effort, json_writer *w)
{
    static const char *const efforts[] = {"low", "medium", "high"};
    const json_t *body = request->chat.body;
    write_echo(body, "instructions", "null", w);
    write_echo(body, "max_output_tokens", "null", w);
    write_echo(body, "max_tool_calls", "null", w);
    write_echo(body, "metadata", "{}", w);
    json_write_raw(w, ",\"model\":");
    json_write_text(w, s->names[0]);
    json_write_format(w, ",\"parallel_tool_calls\":%s", request->chat.parallel_calls ? "true" : "false");
    write_echo(body, "previous_response_id", "null", w);
    write_echo(body, "prompt_cache_key", "null", w);
    /* no summary, whatever was asked for: there is the reasoning itself */
    json_write_format(w, ",\"reasoning\":{\"effort\":\"%s\",\"summary\":null}", efforts[effort]);
    write_echo(body, "safety_identifier", "null", w);
    json_write_format(w, ",\"service_tier\":\"default\",\"store\":%s", request->store ? "true" : "false");
    write_echo(body, "temperature", "1.0", w);
    json_write_raw(w, ",\"text\":{\"format\":");
    write_value(json_object_get(body, "text"), "format", "{\"type\":\"text\"}", w);
    json_write_raw(w, "}");
    write_echo(body, "tool_choice", "\"auto\"", w);
    write_echo(body, "tools", "[]", w);
    write_echo(body, "top_logprobs", "0", w);
    write_echo(body, "top_p", "1.0", w);
    json_write_format(w, ",\"truncation\":\"%s\"", request->truncate ? "auto" : "disabled");
    write_echo(body, "user", "null", w);
}

/* ---- items ------------------------------------------------------------------------------------------------------- */

static void write_text(const responses_item *item, const char *key, json_writer *w)
{
    json_write_format(w, "\"%s\":", key);
    json_write_string(w, item->text.data ? item->text.data : "", item->text.size);
}

void responses_object_part(const responses_item *item, bool begins, json_writer *w)
{
    static const responses_item nothing = {0};
    const responses_item *shown = begins ? &nothing : item;
    if (item->kind == RESPONSES_REASONING) {
        json_write_raw(w, "{\"type\":\"reasoning_text\",");
    } else {
        json_write_raw(w, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[");
        json_write_bytes(w, shown->logprobs.text.data, shown->logprobs.text.size);
        w->failed |= shown->logprobs.failed;
        json_write_raw(w, "],");
    }
    write_text(shown, "text", w);
    json_write_raw(w, "}");
}

/* While an item has no text there is no part. */
static void write_parts(const responses_item *item, json_writer *w)
{
    json_write_raw(w, "\"content\":[");
    if (item->text.size || is_over(item->status)) responses_object_part(item, false, w);
    json_write_raw(w, "]");
}

void responses_object_item(const responses_item *item, json_writer *w)
{
    const char *state = responses_object_status(item->status);
    json_write_format(w, "{\"id\":\"%s\",\"type\":", item->id);
    switch (item->kind) {
    case RESPONSES_REASONING:
        json_write_raw(w, "\"reasoning\",\"summary\":[],");
        write_parts(item, w);
        json_write_format(w, ",\"encrypted_content\":null,\"status\":\"%s\"}", state);
        break;
    case RESPONSES_MESSAGE:
        json_write_format(w, "\"message\",\"status\":\"%s\",", state);
        write_parts(item, w);
        json_write_format(w, ",\"role\":\"assistant\",\"phase\":\"%s\"}", item->preamble ? "commentary" : "final_answer");
        break;
    case RESPONSES_CALL:
        json_write_format(w, "\"function_call\",\"status\":\"%s\",", state);
        write_text(item, "arguments", w);
        json_write_format(w, ",\"call_id\":\"%s\",\"name\":", item->call_id);
        json_write_text(w, item->name);
        json_write_raw(w, "}");
        break;
    }
}

void responses_object_output(const responses_generation *g, json_writer *w)
{
    const responses_choice *c = responses_choice_of(g);
    for (int i = 0; i < c->n_items; i++) {
        responses_item item = c->items[i];
        /* what a failure or a cancellation has left open */
        if (is_over(g->status) && !is_over(item.status)) item.status = RESPONSES_INCOMPLETE;
        if (i) json_write_raw(w, ",");
        responses_object_item(&item, w);
    }
    w->failed |= c->base.failed;
}

/* ---- the response ------------------------------------------------------------------------------------------------ */

static void write_usage(const responses_generation *g, json_writer *w)
{
    json_write_raw(w, ",\"usage\":");
    if (!is_over(g->status)) {
        json_write_raw(w, "null");
        return;
    }
    generation_usage usage = generation_count(&g->base.base, NULL);
    json_write_format(w,
                      "{\"input_tokens\":%lld,\"input_tokens_details\":{\"cached_tokens\":%lld},\"output_tokens\":%lld,"
                      "\"output_tokens_details\":{\"reasoning_tokens\":%lld},\"total_tokens\":%lld}",
                      usage.prompt, usage.cached, usage.completion, usage.reasoning, usage.prompt + usage.completion);
}

void responses_object_write(const responses_generation *g, json_writer *w)
{
    json_write_format(w, "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\",\"background\":%s,\"completed_at\":",
                      g->base.base.id, (long long)g->base.base.created, responses_object_status(g->status), g->background ? "true" : "false");
    if (g->status == RESPONSES_COMPLETED) json_write_int(w, g->completed);
    else json_write_raw(w, "null");
    json_write_raw(w, ",\"error\":");
    if (g->status == RESPONSES_FAILED) {
        json_write_raw(w, "{\"code\":\"server_error\",\"message\":");
        json_write_text(w, g->error.message);
        json_write_raw(w, "}");
    } else {
        json_write_raw(w, "null");
    }
    json_write_format(w, ",\"incomplete_details\":%s", g->status == RESPONSES_INCOMPLETE ? "{\"reason\":\"max_output_tokens\"}" : "null");
    json_write_bytes(w, g->echo.text.data, g->echo.text.size);
    w->failed |= g->echo.failed;
    json_write_raw(w, ",\"output\":[");
    responses_object_output(g, w);
    json_write_raw(w, "]");
    write_usage(g, w);
    json_write_raw(w, "}");
}
