/* UTF-8: validation, repair, and cutting a byte stream at character boundaries. */
#ifndef RUNTIME_TEXT_UTF8_H
#define RUNTIME_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/buffer.h"

bool utf8_valid(const char *text, size_t size);

/* Appends `text` with every maximal invalid subpart replaced by U+FFFD (Unicode 15, section 3.9, as Rust's from_utf8_lossy). */
bool utf8_repair(const char *text, size_t size, buffer *out);

/* Bytes arrive in any pieces, whole characters leave. */
typedef struct utf8_stream {
    char tail[4]; /* an incomplete character */
    int tail_size;
} utf8_stream;

/* Appends to `out` all characters that `bytes` completes; invalid ones as U+FFFD; an incomplete tail is kept for the next call. */
bool utf8_stream_push(utf8_stream *s, const char *bytes, size_t size, buffer *out);
/* The end of the stream: an incomplete tail becomes U+FFFD. The stream is then empty and usable again. */
bool utf8_stream_finish(utf8_stream *s, buffer *out);

#endif
