/* What others say, made harmless for a terminal: control characters could move the cursor, set its title, or make it type. Pure. Internal to
 * the verb chat. */
#ifndef LAUNCH_CHAT_SANITIZE_H
#define LAUNCH_CHAT_SANITIZE_H

#include "runtime/text/utf8.h"

/* {0} is the start of a text that arrives in any pieces. */
typedef struct chat_sanitizer {
    utf8_stream utf8;
} chat_sanitizer;

/* Appends the characters that `bytes` completes. Tab, newline and printable UTF-8 pass. U+FFFD stands for everything else: broken UTF-8, C0
 * and C1 controls, DEL, and the embeddings, overrides and isolates that make text read in another order than it is (U+202A..E, U+2066..9).
 * False: out of memory. */
bool chat_sanitize_push(chat_sanitizer *s, const char *bytes, size_t size, buffer *out);
/* The end of the text: an incomplete character becomes U+FFFD. */
bool chat_sanitize_finish(chat_sanitizer *s, buffer *out);

/* The same for a whole text that shall fit on one line: tabs and newlines become spaces, and it ends after at most `most` bytes of whole
 * characters. */
bool chat_sanitize_line(const char *text, size_t size, size_t most, buffer *out);

#endif
