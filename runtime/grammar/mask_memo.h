/* What is remembered of masks besides those of configurations: one per machine, behind its lock, and bounded. */
#ifndef RUNTIME_GRAMMAR_MASK_MEMO_H
#define RUNTIME_GRAMMAR_MASK_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mask_memo mask_memo;

/* For masks of `words` words and sets of tails of `tail_words`. NULL: no memory. */
mask_memo *mask_memo_open(size_t words, size_t tail_words);
void mask_memo_free(mask_memo *memo); /* NULL is allowed */
size_t mask_memo_bytes(const mask_memo *memo);

/* The mask kept under `key`, [words]; NULL: there is none. */
const uint32_t *mask_memo_find(const mask_memo *memo, uint64_t key);
/* A new one, all zero, to be filled in. Forgets all others when there are too many. NULL: no memory. */
uint32_t *mask_memo_add(mask_memo *memo, uint64_t key);

/* The place for the tails behind a configuration, [tail_words + 1]; not *known: all zero, to be filled in and then
 * kept. */
uint32_t *mask_memo_tails(mask_memo *memo, uint32_t config, bool *known);
void mask_memo_keep_tails(mask_memo *memo, uint32_t config);

#endif
