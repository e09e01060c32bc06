#include "launch/chat_sanitize.h"

#include <string.h>

/* Bytes of the unprintable character at s[0..n), which is valid UTF-8; 0: it is printable. */
static size_t unprintable(const unsigned char *s, size_t n)
{
    if (s[0] < 0x20) return s[0] != '\t' && s[0] != '\n';
    if (s[0] == 0x7F) return 1;
    if (s[0] == 0xC2 && n > 1 && s[1] < 0xA0) return 2; /* U+0080..U+009F */
    if (s[0] != 0xE2 || n < 3) return 0;
    bool reorders = (s[1] == 0x80 && s[2] >= 0xAA && s[2] <= 0xAE) || (s[1] == 0x81 && s[2] >= 0xA6 && s[2] <= 0xA9);
    return reorders ? 3 : 0;
}

static bool append_printable(const buffer *valid, buffer *out)
{
    const unsigned char *bytes = (const unsigned char *)valid->data;
    size_t from = 0;
    for (size_t at = 0; at < valid->size;) {
        size_t bad = unprintable(bytes + at, valid->size - at);
        if (!bad) {
            at++;
            continue;
        }
        if (!buffer_append(out, valid->data + from, at - from) || !buffer_append_text(out, "\xEF\xBF\xBD")) return false;
        at += bad;
        from = at;
    }
    return from == valid->size || buffer_append(out, valid->data + from, valid->size - from);
}

bool chat_sanitize_push(chat_sanitizer *s, const char *bytes, size_t size, buffer *out)
{
    buffer valid = {0};
    bool good = utf8_stream_push(&s->utf8, bytes, size, &valid) && append_printable(&valid, out);
    buffer_free(&valid);
    return good;
}

bool chat_sanitize_finish(chat_sanitizer *s, buffer *out) { return utf8_stream_finish(&s->utf8, out); }

bool chat_sanitize_line(const char *text, size_t size, size_t most, buffer *out)
{
    chat_sanitizer s = {0};
    size_t from = out->size;
    if (!chat_sanitize_push(&s, text, size, out) || !chat_sanitize_finish(&s, out)) return false;
    if (out->size - from > most) {
        size_t cut = from + most;
        while (cut > from && ((unsigned char)out->data[cut] & 0xC0) == 0x80) cut--;
        out->size = cut;
        out->data[cut] = '\0';
    }
    for (size_t i = from; i < out->size; i++)
        if (out->data[i] == '\n' || out->data[i] == '\t') out->data[i] = ' ';
    return true;
}
