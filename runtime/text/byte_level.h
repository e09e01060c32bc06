/* The byte-level alphabet: tokenizer.json spells each byte of a token as one printable code point below U+0144.
 *
 * Bytes 21..7E, A1..AC and AE..FF stand for themselves; the other 68 are, in order, U+0100 onwards (0x20, the space, is
 * U+0120). Source: openai/gpt-2 `src/encoder.py` bytes_to_unicode.
 */
#ifndef RUNTIME_TEXT_BYTE_LEVEL_H
#define RUNTIME_TEXT_BYTE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>

/* Writes the spelling of `size` bytes to `out`, which has room for 2 * size; returns how much it wrote. */
size_t byte_level_spell(const char *bytes, size_t size, char *out);

/* Writes the bytes that `text` (valid UTF-8) spells to `out`, which has room for `size`, and their number to *n.
 * false: a character outside the alphabet; `out` then holds nothing of use. `out` may be `text`. */
bool byte_level_read(const char *text, size_t size, char *out, size_t *n);

#endif
