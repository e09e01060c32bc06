#include "launch/chat_refusal.h"

#include "launch/chat_chunk.h"
#include "launch/chat_sanitize.h"

enum { MESSAGE_MOST = 300 /* bytes of the server's own words */ };

/* The server's own words as part of our line. Without memory for them: none. */
static const char *words_of(const char *body, size_t size, buffer *raw, buffer *out)
{
    if (!chat_chunk_error(body, size, raw) || !chat_sanitize_line(raw->data, raw->size, MESSAGE_MOST, out) || !out->size) return "it did not say why";
    return out->data;
}

static status refuse(long code, const char *words, const chat_refusal_context *c, status_detail *detail)
{
    if (code == 401 || code == 403) {
        if (!c->key_file) return status_fail(detail, STATUS_USAGE, "%s wants an API key: start with --api-key-file FILE", c->url);
        return status_fail(detail, STATUS_USAGE, "%s does not take the key in %s: put a valid one there and start again", c->url, c->key_file);
    }
    if (code == 404 && c->model)
        return status_fail(detail, STATUS_USAGE, "%s has no model '%.128s': /model lists what it has, /model NAME or --model NAME takes one", c->url, c->model);
    if (code == 429 && c->retry_after > 0)
        return status_fail(detail, STATUS_BUSY, "%s has too much to do: try again in %ld s", c->url, c->retry_after);
    if (code == 429) return status_fail(detail, STATUS_BUSY, "%s has too much to do: try again in a while", c->url);
    if (code == 400 || code == 413 || code == 422)
        return status_fail(detail, STATUS_INVALID, "%s refused the request: %s (if the conversation has become too long: /clear)", c->url, words);
    if (code >= 300 && code < 500)
        return status_fail(detail, STATUS_USAGE, "%s answers with HTTP %ld: is --url that of an OpenAI-compatible server?", c->url, code);
    return status_fail(detail, STATUS_PEER, "%s failed with HTTP %ld: %s; its log may tell more", c->url, code, words);
}

status chat_refusal_http(long code, const char *body, size_t size, const chat_refusal_context *c, status_detail *detail)
{
    buffer raw = {0}, words = {0};
    status result = refuse(code, words_of(body, size, &raw, &words), c, detail);
    buffer_free(&words);
    buffer_free(&raw);
    return result;
}

status chat_refusal_midway(const char *message, size_t size, status_detail *detail)
{
    buffer words = {0};
    bool said = size && chat_sanitize_line(message, size, MESSAGE_MOST, &words);
    status result = status_fail(detail, STATUS_PEER, "the server broke off: %s; what came is kept, ask again", said ? words.data : "it did not say why");
    buffer_free(&words);
    return result;
}
