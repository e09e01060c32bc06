#include "runtime/server/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/text/utf8.h"

void json_write_free(json_writer *w)
{
    buffer_free(&w->text);
    w->failed = false;
}

void json_write_clear(json_writer *w)
{
    buffer_clear(&w->text);
    w->failed = false;
}

void json_write_bytes(json_writer *w, const char *data, size_t size)
{
    if (!buffer_append(&w->text, data, size)) w->failed = true;
}

void json_write_raw(json_writer *w, const char *text) { json_write_bytes(w, text, strlen(text)); }

void json_write_format(json_writer *w, const char *format, ...)
{
    char piece[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof piece) {
        w->failed = true;
        return;
    }
    json_write_bytes(w, piece, (size_t)length);
}

static void write_escaped(json_writer *w, const char *text, size_t size)
{
    size_t plain = 0; /* start of the run that needs no escape */
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        json_write_bytes(w, text + plain, i - plain);
        plain = i + 1;
        switch (c) {
        case '"': json_write_raw(w, "\\\""); break;
        case '\\': json_write_raw(w, "\\\\"); break;
        case '\n': json_write_raw(w, "\\n"); break;
        case '\r': json_write_raw(w, "\\r"); break;
        case '\t': json_write_raw(w, "\\t"); break;
        default: json_write_format(w, "\\u%04x", c); break;
        }
    }
    json_write_bytes(w, text + plain, size - plain);
}

void json_write_string(json_writer *w, const char *text, size_t size)
{
    json_write_bytes(w, "\"", 1);
    if (utf8_valid(text, size)) {
        write_escaped(w, text, size);
    } else {
        buffer repaired = {0};
        if (!utf8_repair(text, size, &repaired)) w->failed = true;
        write_escaped(w, repaired.data ? repaired.data : "", repaired.size);
        buffer_free(&repaired);
    }
    json_write_bytes(w, "\"", 1);
}

void json_write_text(json_writer *w, const char *text)
{
    if (text) json_write_string(w, text, strlen(text));
    else json_write_raw(w, "null");
}

void json_write_int(json_writer *w, int64_t value) { json_write_format(w, "%" PRId64, value); }

void json_write_number(json_writer *w, double value)
{
    if (isfinite(value)) json_write_format(w, "%.9g", value);
    else json_write_raw(w, "null");
}
