/* The vocabulary as automata over characters read it: every token as whole characters and what then is left of it.
 *
 * One for each way in which characters become bytes (expr_encoding): in a JSON string a token may also hold escapes,
 * and go on behind the quote that ends the string.
 */
#ifndef RUNTIME_GRAMMAR_VOCAB_TEXT_H
#define RUNTIME_GRAMMAR_VOCAB_TEXT_H

#include "runtime/grammar/charset.h"
#include "runtime/grammar/expr.h"
#include "runtime/grammar/trie.h"

typedef enum vocab_text_kind {
    VOCAB_TEXT_WHOLE,   /* characters and nothing else */
    VOCAB_TEXT_CUT,     /* ends inside of a character: `rest` is its beginning, one of `cuts` */
    VOCAB_TEXT_CLOSING, /* JSON: the string's end follows: `rest` is what comes from the quote on, one of `tails` */
} vocab_text_kind;

/* A token that can begin where a character begins. Entries are in the order of their bytes. */
typedef struct vocab_text_entry {
    uint32_t token;
    uint32_t rest;  /* see vocab_text_kind */
    uint8_t kind;   /* vocab_text_kind */
    uint8_t shared; /* characters at its beginning that are those of the entry before */
    uint8_t fresh;  /* characters behind those; they are in `stream` */
} vocab_text_entry;

enum { VOCAB_TEXT_CUT_RANGES = 3 };

/* The characters that can begin like this. */
typedef struct vocab_text_cut {
    charset_range ranges[VOCAB_TEXT_CUT_RANGES];
    size_t n;
} vocab_text_cut;

typedef struct vocab_text {
    vocab_text_entry *entries;
    size_t n_entries;
    uint32_t *stream; /* [n_stream] fresh characters of all entries in their order, as indices in `letters` */
    size_t n_stream;
    uint32_t *letters; /* [n_letters] all characters that occur, ascending */
    size_t n_letters;
    vocab_text_cut *cuts;
    size_t n_cuts;
    trie tails; /* its tokens are numbers of tails */
    size_t n_tails;
} vocab_text;

/* `keys` are the ordinary tokens, ordered; they are needed only during the call. False: no memory. */
bool vocab_text_build(const trie_key *keys, size_t n, expr_encoding encoding, vocab_text *out);
void vocab_text_free(vocab_text *t);

/* Reads one character of a token's bytes, of `size` at least 1. The number of bytes it takes; 0: it is cut off by the
 * end, and *cut says what it can become; -1: there is none, and none that begins so. */
int vocab_text_char(const unsigned char *bytes, size_t size, expr_encoding encoding, uint32_t *c, vocab_text_cut *cut);

#endif
