/* JSON text written straight into a buffer. Nothing is checked while writing: the first growth that fails marks the writer, and whoever
 * sends the text asks `failed` once. */
#ifndef RUNTIME_SERVER_JSON_WRITE_H
#define RUNTIME_SERVER_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"

typedef struct json_writer {
    buffer text;
    bool failed; /* memory ended: the text is not whole */
} json_writer;

void json_write_free(json_writer *w);
/* Empties it and keeps the memory; forgets a failure. */
void json_write_clear(json_writer *w);

/* Bytes as they are. */
void json_write_raw(json_writer *w, const char *text);
void json_write_bytes(json_writer *w, const char *data, size_t size);
void json_write_format(json_writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A quoted string. Broken UTF-8 is repaired (U+FFFD), so that the answer is always valid JSON; NUL becomes \u0000. */
void json_write_string(json_writer *w, const char *text, size_t size);
void json_write_text(json_writer *w, const char *text); /* NUL-terminated; NULL writes null */

void json_write_int(json_writer *w, int64_t value);
/* Shortest of 9 digits, enough for a float; null for NaN and infinities, which JSON cannot say. */
void json_write_number(json_writer *w, double value);

#endif
