/* The inside of grammar_vocab, for the matcher. */
#ifndef RUNTIME_GRAMMAR_GRAMMAR_VOCAB_H
#define RUNTIME_GRAMMAR_GRAMMAR_VOCAB_H

#include "runtime/grammar/grammar.h"
#include "runtime/grammar/slice.h"
#include "runtime/grammar/trie.h"
#include "runtime/grammar/vocab_text.h"

struct grammar_vocab {
    int32_t n_ids;
    size_t words;         /* of a mask */
    uint32_t *starts;     /* [n_ids + 1] in `bytes`; special tokens and ids without a token have no bytes */
    unsigned char *bytes; /* of all ordinary tokens */
    trie all;
    slice slices[SLICE_CLASSES];
    vocab_text texts[2]; /* as EXPR_UTF8 and as EXPR_JSON have it */
};

/* The bytes of an ordinary token; *size 0 for any other id. */
const unsigned char *grammar_vocab_bytes(const grammar_vocab *v, int32_t id, size_t *size);

#endif
