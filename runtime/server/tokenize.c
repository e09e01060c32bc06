/* POST /tokenize and /detokenize. */
#include "runtime/server/chat_prompt.h"
#include "runtime/server/json_body.h"
#include "runtime/server/server_internal.h"

/* Ids of `messages`, rendered as a chat request's would be. Takes the body over. */
static bool encode_messages(const server *s, json_t *body, id_list *out, api_error *error)
{
    chat_request request;
    chat_prompt prompt;
    char today[11];
    status_detail detail = {""};
    if (!chat_request_parse(body, &s->limits, &request, error)) return false;
    status_today(today);
    bool good = models_check(s, request.model, error) && chat_prompt_build(&request, today, &prompt, error);
    if (good) {
        status result = harmony_render(s->harmony, prompt.messages, prompt.n, request.add_generation_prompt, out, &detail);
        good = result == STATUS_OK || api_error_from(error, result, &detail);
        chat_prompt_free(&prompt);
    }
    chat_request_free(&request);
    return good;
}

static bool encode_prompt(const server *s, json_t *body, id_list *out, api_error *error)
{
    json_fields f = {body, "", error};
    const char *text = NULL, *name = NULL;
    size_t size;
    status_detail detail = {""};
    bool good = json_fields_string(&f, "prompt", &text, &size) && json_fields_string(&f, "model", &name, NULL) && models_check(s, name, error);
    if (good && !text) good = json_fields_fail(&f, "prompt", "prompt or messages is required.");
    if (good) {
        status result = tokenizer_encode(s->tokenizer, text, size, out, &detail);
        good = result == STATUS_OK || api_error_from(error, result, &detail);
    }
    json_decref(body);
    return good;
}

static void write_tokens(const server *s, const id_list *ids, bool strings, json_writer *w)
{
    json_write_format(w, "{\"count\":%zu,\"max_model_len\":%d,\"tokens\":[", ids->count, s->limits.max_model_len);
    for (size_t i = 0; i < ids->count; i++) json_write_format(w, "%s%d", i ? "," : "", ids->ids[i]);
    json_write_raw(w, "],\"token_strs\":");
    if (!strings) {
        json_write_raw(w, "null}");
        return;
    }
    json_write_raw(w, "[");
    for (size_t i = 0; i < ids->count; i++) {
        size_t size;
        const char *bytes = tokenizer_bytes(s->tokenizer, ids->ids[i], &size);
        if (i) json_write_raw(w, ",");
        json_write_string(w, bytes ? bytes : "", bytes ? size : 0);
    }
    json_write_raw(w, "]}");
}

void tokenize_endpoint(const route_call *call)
{
    api_error error;
    json_t *body;
    id_list ids = {0};
    bool strings = false, good = json_body_parse(call->body, call->body_size, &body, &error);
    if (good) {
        json_fields f = {body, "", &error};
        bool messages = json_fields_get(&f, "messages") != NULL;
        good = json_fields_bool(&f, "return_token_strs", &strings);
        if (!good) json_decref(body);
        else good = messages ? encode_messages(call->server, body, &ids, &error) : encode_prompt(call->server, body, &ids, &error);
    }
    if (good) {
        json_writer w = {0};
        write_tokens(call->server, &ids, strings, &w);
        routes_reply_json(call->exchange, &w);
    } else {
        routes_reply_error(call->exchange, &error);
    }
    id_list_free(&ids);
}

static bool decode(const server *s, const json_t *body, buffer *out, api_error *error)
{
    json_fields f = {body, "", error};
    const json_t *tokens = NULL;
    const char *name = NULL;
    if (!json_fields_array(&f, "tokens", &tokens) || !json_fields_string(&f, "model", &name, NULL) || !models_check(s, name, error)) return false;
    if (!tokens) return json_fields_fail(&f, "tokens", "is required.");
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const json_t *id = json_array_get(tokens, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= s->limits.vocab)
            return json_fields_fail(&f, "tokens", "an array of token ids (0 to %d) is expected.", s->limits.vocab - 1);
        size_t size;
        const char *bytes = tokenizer_bytes(s->tokenizer, (int32_t)json_integer_value(id), &size);
        if (bytes && !buffer_append(out, bytes, size)) return api_error_set(error, 500, NULL, "Out of memory.");
    }
    return true;
}

void detokenize_endpoint(const route_call *call)
{
    api_error error;
    json_t *body;
    buffer text = {0};
    bool good = json_body_parse(call->body, call->body_size, &body, &error);
    if (good) {
        good = decode(call->server, body, &text, &error);
        json_decref(body);
    }
    if (good) {
        json_writer w = {0};
        json_write_raw(&w, "{\"prompt\":");
        json_write_string(&w, text.data ? text.data : "", text.size);
        json_write_raw(&w, "}");
        routes_reply_json(call->exchange, &w);
    } else {
        routes_reply_error(call->exchange, &error);
    }
    buffer_free(&text);
}
