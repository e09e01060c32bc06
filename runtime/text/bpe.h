/* Byte-pair merging: from the bytes of one piece to token ids.
 *
 * The piece starts as its single bytes; the adjacent pair with the lowest priority number is merged, the leftmost of
 * equals, until no adjacent pair has a rule. Source: openai/tiktoken `src/lib.rs` (byte_pair_merge).
 */
#ifndef RUNTIME_TEXT_BPE_H
#define RUNTIME_TEXT_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"

typedef struct bpe_rule {
    int32_t left, right; /* token ids; left -1: an empty place of the table */
    uint32_t priority;   /* lower merges first; below BPE_NO_RULE */
    int32_t merged;      /* the id that replaces both */
} bpe_rule;

#define BPE_NO_RULE UINT32_MAX

typedef struct bpe {
    bpe_rule *rules; /* [1 << (64 - shift)], open addressing with linear probing */
    int shift;
    size_t n_rules;
    uint64_t *filter;      /* [places / 16], once sealed: bits that say which pairs surely have no rule */
    int32_t byte_ids[256]; /* the token of each single byte; set by the owner */
    bpe_rule
        *byte_rules; /* [256][256] by first and second byte, once sealed: the first look at every pair of a piece */
} bpe;

/* A rule set starts as {0}. */
void bpe_free(bpe *b);

/* A rule for a pair that has one already replaces it. false: out of memory. */
bool bpe_add(bpe *b, bpe_rule rule);

/* To be called after the last bpe_add and when byte_ids is filled. false: out of memory. */
bool bpe_seal(bpe *b);

/* Appends the ids of a piece, size > 0, in time n log n. false: out of memory, or a piece above 1 GiB; `out` is then
 * unchanged. */
bool bpe_encode(const bpe *b, const char *bytes, size_t size, id_list *out);

#endif
