/* POST /tokenize and /detokenize. */
#include <stdlib.h>

#include "runtime/server/chat_prompt.h"
#include "runtime/server/json_body.h"
#include "runtime/server/server_internal.h"

/* Ids of `messages`, rendered as a chat request's would be. Takes the body over. */
static bool encode_messages(const server *s, json_t *body, id_list *out, api_error *error)
{
    chat_request request;
    prompt_messages prompt;
    char today[11];
    status_detail detail = {""};
    if (!chat_request_parse(body, &s->limits, &request, error)) return false;
    status_today(today);
    bool good = models_check(s, request.model, error) && chat_prompt_build(&request, today, &prompt, error);
    if (good) {
        status result = harmony_render(s->harmony, prompt.messages, prompt.n, request.add_generation_prompt, out, &detail);
        good = result == STATUS_OK || api_error_from(error, result, &detail);
        prompt_free(&prompt);
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

/* ---- both: what is prepared is the text of the answer ------------------------------------------------------------ */

static json_writer *new_answer(api_error *error)
{
    json_writer *w = calloc(1, sizeof *w);
    if (!w) api_error_set(error, 500, NULL, "Out of memory.");
    return w;
}

static void reply(const route_call *call, void *prepared)
{
    routes_reply_json(call->exchange, prepared);
    free(prepared);
}

static void drop(void *prepared)
{
    json_write_free(prepared);
    free(prepared);
}

static void *prepare_tokens(const server *s, char *text, size_t size, api_error *error)
{
    json_t *body;
    id_list ids = {0};
    json_writer *answer = NULL;
    bool strings = false;
    if (!json_body_parse(text, size, &body, error)) return NULL;
    json_fields f = {body, "", error};
    bool messages = json_fields_get(&f, "messages") != NULL, good = json_fields_bool(&f, "return_token_strs", &strings);
    if (!good) json_decref(body);
    else good = messages ? encode_messages(s, body, &ids, error) : encode_prompt(s, body, &ids, error);
    if (good && (answer = new_answer(error))) write_tokens(s, &ids, strings, answer);
    id_list_free(&ids);
    return answer;
}

const route_work tokenize_work = {prepare_tokens, reply, drop};

static bool decode(const server *s, const json_t *body, buffer *out, api_error *error)
{
    json_fields f = {body, "", error};
    const json_t *tokens = NULL;
    const char *name = NULL;
    if (!json_fields_array(&f, "tokens", &tokens) || !json_fields_string(&f, "model", &name, NULL) || !models_check(s, name, error)) return false;
    if (!tokens) return json_fields_fail(&f, "tokens", "is required.");
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        int32_t id;
        size_t size;
        if (!json_fields_token_id(&f, "tokens", json_array_get(tokens, i), s->limits.vocab, &id)) return false;
        const char *bytes = tokenizer_bytes(s->tokenizer, id, &size);
        if (bytes && !buffer_append(out, bytes, size)) return api_error_set(error, 500, NULL, "Out of memory.");
    }
    return true;
}

static void *prepare_text(const server *s, char *text, size_t size, api_error *error)
{
    json_t *body;
    buffer decoded = {0};
    json_writer *answer = NULL;
    if (!json_body_parse(text, size, &body, error)) return NULL;
    if (decode(s, body, &decoded, error) && (answer = new_answer(error))) {
        json_write_raw(answer, "{\"prompt\":");
        json_write_string(answer, decoded.data ? decoded.data : "", decoded.size);
        json_write_raw(answer, "}");
    }
    json_decref(body);
    buffer_free(&decoded);
    return answer;
}

const route_work detokenize_work = {prepare_text, reply, drop};
