/* Slices: the tokens that are wholly made of characters of one class, counted by how many characters they have.
 *
 * Where a grammar stands in a run of such characters (inside a JSON string, say), the whole slice is allowed and only
 * the other tokens need walking; where at most k more characters fit, it is the slice's tokens of up to k characters.
 * Idea: guidance-ai/llguidance `parser/src/earley/slicer.rs`; the levels are ours, so that maxLength costs no walk.
 */
#ifndef RUNTIME_GRAMMAR_SLICE_H
#define RUNTIME_GRAMMAR_SLICE_H

#include "runtime/grammar/charset.h"
#include "runtime/grammar/trie.h"

/* Longer tokens (0.1 % of o200k) belong to no slice. */
enum { SLICE_CHARS = 32 };

typedef enum slice_class {
    SLICE_TEXT,         /* what a JSON string holds unescaped: from U+0020 on, without quote and backslash */
    SLICE_ASCII,        /* 0x20..0x7E without quote and backslash */
    SLICE_WORDS,        /* letters, digits and space of ASCII */
    SLICE_ALPHANUMERIC, /* [A-Za-z0-9] */
    SLICE_LETTERS,      /* [A-Za-z] */
    SLICE_LOWER,        /* [a-z] */
    SLICE_CLASSES,
} slice_class;

typedef struct slice {
    uint32_t *masks;              /* [SLICE_CHARS][words]: tokens of at most 1, 2, ... SLICE_CHARS characters */
    uint32_t counts[SLICE_CHARS]; /* bits set in each */
    trie of_chars[SLICE_CHARS];   /* tokens of exactly 1, 2, ... characters, for where lengths decide */
    trie rest;                    /* all tokens that are not in it */
} slice;

/* The characters of a class, constant. */
const charset_range *slice_ranges(slice_class class, size_t *n);
/* May `byte` begin a character of the class? */
bool slice_byte_begins(slice_class class, unsigned byte);
/* The characters of a token, or 0 if it has others, more than SLICE_CHARS, or is no valid UTF-8. */
int slice_count_chars(slice_class class, const unsigned char *bytes, size_t size);

/* `keys` are sorted; `words` is the size of a mask. False: no memory. */
bool slice_build(slice_class class, const trie_key *keys, size_t n, size_t words, slice *out);
void slice_free(slice *s);

#endif
