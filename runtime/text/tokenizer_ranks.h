/* A .tiktoken file: lines of base64(bytes), a space, the rank. The rank is the token's id and its merge priority.
 * Internal. */
#ifndef RUNTIME_TEXT_TOKENIZER_RANKS_H
#define RUNTIME_TEXT_TOKENIZER_RANKS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/text/vocab.h"

/* Longest token a file may hold, in bytes; o200k's longest has 128. */
enum { TOKENIZER_RANKS_LONGEST = 256 };

/* Adds the tokens of ranks below `limit` to an empty vocabulary, and the number of all ranks in the file to *total (may
 * be NULL). STATUS_MODEL: a malformed line, or ranks that are not 0, 1, 2, ... without a gap. */
status tokenizer_ranks_parse(const char *data, size_t size, int32_t limit, vocab *v, int32_t *total,
                             status_detail *detail);

/* Two tokens whose bytes, one after the other, are a third's. */
typedef struct tokenizer_ranks_split {
    int32_t left, right;
} tokenizer_ranks_split;

/* All ways to make the ordinary token `id` of two others, ordered by left, then right; returns how many. tiktoken
 * merges any two neighbours that together are a token, so that each of them is a merge rule of the token's rank. */
size_t tokenizer_ranks_splits(const vocab *v, int32_t id, tokenizer_ranks_split out[TOKENIZER_RANKS_LONGEST]);

#endif
