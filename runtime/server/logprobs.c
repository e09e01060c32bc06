#include "runtime/server/logprobs.h"

#include <math.h>
#include <string.h>

/* JSON has no -inf; vLLM's floor. */
static double floored(float logprob) { return logprob >= -9999.0f ? logprob : -9999.0; }

static void write_token(const logprobs_style *style, int32_t id, json_writer *out)
{
    size_t size;
    const char *bytes = tokenizer_bytes(style->tokenizer, id, &size);
    if (style->as_ids) json_write_format(out, "\"token_id:%d\"", id);
    else json_write_string(out, bytes ? bytes : "", bytes ? size : 0);
}

static void write_chat_fields(const logprobs_style *style, int32_t id, float logprob, json_writer *out)
{
    size_t size;
    const char *bytes = tokenizer_bytes(style->tokenizer, id, &size);
    json_write_raw(out, "{\"token\":");
    write_token(style, id, out);
    json_write_raw(out, ",\"logprob\":");
    json_write_number(out, floored(logprob));
    json_write_raw(out, ",\"bytes\":[");
    for (size_t i = 0; bytes && i < size; i++) json_write_format(out, "%s%d", i ? "," : "", (unsigned char)bytes[i]);
    json_write_raw(out, "]");
}

void logprobs_write_chat(const logprobs_style *style, const ops_token *token, json_writer *list)
{
    if (list->text.size) json_write_raw(list, ",");
    write_chat_fields(style, token->id, token->logprob, list);
    json_write_raw(list, ",\"top_logprobs\":[");
    for (int i = 0; i < token->n_top; i++) {
        if (i) json_write_raw(list, ",");
        write_chat_fields(style, token->top_ids[i], token->top_logprobs[i], list);
        json_write_raw(list, "}");
    }
    json_write_raw(list, "]}");
}

static void write_ranked(const logprobs_style *style, int32_t id, float logprob, int rank, json_writer *out)
{
    json_write_format(out, "\"%d\":{\"logprob\":", id);
    json_write_number(out, floored(logprob));
    json_write_format(out, ",\"rank\":%d,\"decoded_token\":", rank + 1);
    write_token(style, id, out);
    json_write_raw(out, "}");
}

void logprobs_add_prompt(const logprobs_style *style, const ops_token *token, int wanted, json_writer *list)
{
    json_write_raw(list, list->text.size ? ",{" : "{");
    write_ranked(style, token->id, token->logprob, token->rank, list);
    for (int i = 0; i < token->n_top && i < wanted; i++) {
        if (token->top_ids[i] == token->id) continue;
        json_write_raw(list, ",");
        write_ranked(style, token->top_ids[i], token->top_logprobs[i], i, list);
    }
    json_write_raw(list, "}");
}

/* An object keyed by text: of tokens that are spelled alike only the first, most probable one is said. */
static void write_top(const logprobs_style *style, const ops_token *token, json_writer *out)
{
    json_writer keys[OPS_MAX_TOP_LOGPROBS + 1] = {0};
    int n = 0;
    json_write_raw(out, "{");
    for (int i = 0; i <= token->n_top && i <= OPS_MAX_TOP_LOGPROBS; i++) {
        bool own = i == token->n_top;
        write_token(style, own ? token->id : token->top_ids[i], &keys[n]);
        bool again = keys[n].failed;
        for (int k = 0; k < n && !again; k++)
            again = keys[k].text.size == keys[n].text.size && !memcmp(keys[k].text.data, keys[n].text.data, keys[n].text.size);
        if (again) {
            json_write_clear(&keys[n]);
            continue;
        }
        if (n) json_write_raw(out, ",");
        json_write_bytes(out, keys[n].text.data, keys[n].text.size);
        json_write_raw(out, ":");
        json_write_number(out, floored(own ? token->logprob : token->top_logprobs[i]));
        n++;
    }
    json_write_raw(out, "}");
    for (int k = 0; k <= OPS_MAX_TOP_LOGPROBS; k++) json_write_free(&keys[k]);
}

void logprobs_add(const logprobs_style *style, const ops_token *token, bool scored, int wanted, size_t offset, logprobs_lists *lists)
{
    json_writer *all[] = {&lists->tokens, &lists->values, &lists->top, &lists->offsets};
    if (lists->tokens.text.size)
        for (int i = 0; i < 4; i++) json_write_raw(all[i], ",");
    write_token(style, token->id, &lists->tokens);
    json_write_format(&lists->offsets, "%zu", offset);
    if (scored) json_write_number(&lists->values, floored(token->logprob));
    else json_write_raw(&lists->values, "null");
    if (scored && wanted > 0) write_top(style, token, &lists->top);
    else json_write_raw(&lists->top, "null");
}

static void take_list(const char *name, json_writer *list, json_writer *out)
{
    json_write_format(out, "\"%s\":[", name);
    json_write_bytes(out, list->text.data, list->text.size);
    json_write_raw(out, "]");
    out->failed |= list->failed;
    json_write_clear(list);
}

void logprobs_take(logprobs_lists *lists, json_writer *out)
{
    json_write_raw(out, "{");
    take_list("text_offset", &lists->offsets, out);
    json_write_raw(out, ",");
    take_list("token_logprobs", &lists->values, out);
    json_write_raw(out, ",");
    take_list("tokens", &lists->tokens, out);
    json_write_raw(out, ",");
    take_list("top_logprobs", &lists->top, out);
    json_write_raw(out, "}");
}

void logprobs_free(logprobs_lists *lists)
{
    json_write_free(&lists->tokens);
    json_write_free(&lists->values);
    json_write_free(&lists->top);
    json_write_free(&lists->offsets);
}
