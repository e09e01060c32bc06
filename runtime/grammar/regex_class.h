/* Escapes and classes of regular expressions and grammars: one character or a set of them. */
#ifndef RUNTIME_GRAMMAR_REGEX_CLASS_H
#define RUNTIME_GRAMMAR_REGEX_CLASS_H

#include "runtime/grammar/charset.h"
#include "runtime/base/status.h"

/* Text that is read; `text` is valid UTF-8. */
typedef struct regex_cursor {
    const char *text;
    size_t size, at;
} regex_cursor;

static inline bool regex_class_ends(const regex_cursor *c) { return c->at >= c->size; }
static inline char regex_class_peek(const regex_cursor *c) { return c->at < c->size ? c->text[c->at] : '\0'; }

/* The character at the cursor, which moves on. */
uint32_t regex_class_char(regex_cursor *c);

/* Behind a backslash: adds one character or a class (\d \w \s and their complements) to `out`, which is not sealed.
 * `single` is the character, or UINT32_MAX for a class. STATUS_INVALID, STATUS_INTERNAL (memory). */
status regex_class_escape(regex_cursor *c, charset *out, uint32_t *single, status_detail *detail);

/* Behind '[': up to and with ']'. `out` is sealed; it may be empty. */
status regex_class_brackets(regex_cursor *c, charset *out, status_detail *detail);

/* The characters '.' stands for: all but line ends. */
bool regex_class_dot(charset *out);

#endif
