#include "launch/chat_chunk.h"

#include <string.h>

static chat_text text_of(const json_t *value)
{
    return json_is_string(value) ? (chat_text){json_string_value(value), json_string_length(value)} : (chat_text){0};
}

/* An error's message, which some servers send as an object and some as a string; no text at all still says that it is one. */
static chat_text error_of(const json_t *root)
{
    const json_t *error = json_object_get(root, "error");
    if (!error || json_is_null(error)) return (chat_text){0};
    chat_text text = text_of(json_is_object(error) ? json_object_get(error, "message") : error);
    return text.data ? text : (chat_text){"", 0};
}

status chat_chunk_parse(const char *data, size_t size, chat_chunk *out, status_detail *detail)
{
    *out = (chat_chunk){.completion_tokens = -1};
    if (size == 6 && memcmp(data, "[DONE]", 6) == 0) {
        out->done = true;
        return STATUS_OK;
    }
    json_t *root = json_loadb(data, size, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return status_fail(detail, STATUS_PEER, "the server's answer is no stream of chat completion chunks: is --url that of an OpenAI-compatible server?");
    }
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0), *delta = json_object_get(choice, "delta");
    const json_t *tokens = json_object_get(json_object_get(root, "usage"), "completion_tokens");
    chat_text finish = text_of(json_object_get(choice, "finish_reason"));
    out->root = root;
    out->content = text_of(json_object_get(delta, "content"));
    out->reasoning = text_of(json_object_get(delta, "reasoning"));
    if (!out->reasoning.data) out->reasoning = text_of(json_object_get(delta, "reasoning_content")); /* the older name */
    if (json_is_integer(tokens)) out->completion_tokens = json_integer_value(tokens);
    out->cut = finish.data && strcmp(finish.data, "length") == 0;
    out->error = error_of(root);
    return STATUS_OK;
}

void chat_chunk_free(chat_chunk *chunk)
{
    json_decref(chunk->root);
    *chunk = (chat_chunk){0};
}

bool chat_chunk_error(const char *data, size_t size, buffer *out)
{
    json_t *root = json_loadb(data, size, JSON_ALLOW_NUL, NULL);
    chat_text text = error_of(root);
    bool good = !text.size || buffer_append(out, text.data, text.size);
    json_decref(root);
    return good;
}

status chat_chunk_models(const char *data, size_t size, json_t **names, status_detail *detail)
{
    json_t *root = json_loadb(data, size, 0, NULL), *list = json_array(), *entry;
    size_t i;
    json_array_foreach(json_object_get(root, "data"), i, entry)
    {
        json_t *id = json_object_get(entry, "id");
        if (json_is_string(id)) json_array_append(list, id);
    }
    json_decref(root);
    if (!json_array_size(list)) {
        json_decref(list);
        return status_fail(detail, STATUS_PEER, "/v1/models names no model: is --url that of an OpenAI-compatible server?");
    }
    *names = list;
    return STATUS_OK;
}
