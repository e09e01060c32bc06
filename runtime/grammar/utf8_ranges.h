/* Ranges of characters as ranges of their UTF-8 bytes. */
#ifndef RUNTIME_GRAMMAR_UTF8_RANGES_H
#define RUNTIME_GRAMMAR_UTF8_RANGES_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/grammar/charset.h"

/* A sequence of 1..4 bytes, each from its own range. */
typedef struct utf8_ranges_sequence {
    int n;
    struct {
        uint8_t low, high;
    } at[4];
} utf8_ranges_sequence;

/* Calls `emit` for sequences that together are exactly the characters of `range`, which has no surrogates. */
void utf8_ranges_split(charset_range range, void (*emit)(void *user, const utf8_ranges_sequence *sequence), void *user);

/* Writes a character; returns its size. */
int utf8_ranges_encode(uint32_t c, uint8_t out[4]);
/* Reads the character at `text`, which is valid UTF-8, and moves on. */
uint32_t utf8_ranges_decode(const char **text);

#endif
