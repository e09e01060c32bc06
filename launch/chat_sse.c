#include "launch/chat_sse.h"

#include <string.h>

static status append(buffer *b, const char *bytes, size_t size, status_detail *detail)
{
    if (size > CHAT_SSE_MOST - b->size)
        return status_fail(detail, STATUS_PEER, "the server sent an event larger than %d MiB, which no answer is", CHAT_SSE_MOST >> 20);
    return buffer_append(b, bytes, size) ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "out of memory");
}

/* A whole line is in s->line. */
static status line_ended(chat_sse *s, chat_sse_event event, void *user, status_detail *detail)
{
    static const char field[] = "data:";
    const size_t name = sizeof field - 1;
    if (!s->line.size) {
        bool dispatch = s->has_data;
        s->has_data = false;
        status result = dispatch ? event(user, s->data.data, s->data.size, detail) : STATUS_OK;
        buffer_clear(&s->data);
        return result;
    }
    status result = STATUS_OK;
    if (s->line.size >= name && memcmp(s->line.data, field, name) == 0) {
        size_t from = name + (s->line.size > name && s->line.data[name] == ' ');
        if (s->has_data) result = append(&s->data, "\n", 1, detail);
        if (result == STATUS_OK) result = append(&s->data, s->line.data + from, s->line.size - from, detail);
        s->has_data = true;
    }
    buffer_clear(&s->line);
    return result;
}

status chat_sse_push(chat_sse *s, const char *bytes, size_t size, chat_sse_event event, void *user, status_detail *detail)
{
    for (size_t at = 0; at < size;) {
        if (s->after_cr && bytes[at] == '\n') at++;
        s->after_cr = false;
        size_t from = at;
        while (at < size && bytes[at] != '\n' && bytes[at] != '\r') at++;
        STATUS_TRY(append(&s->line, bytes + from, at - from, detail));
        if (at == size) break;
        s->after_cr = bytes[at++] == '\r';
        STATUS_TRY(line_ended(s, event, user, detail));
    }
    return STATUS_OK;
}

void chat_sse_free(chat_sse *s)
{
    buffer_free(&s->line);
    buffer_free(&s->data);
    *s = (chat_sse){0};
}
