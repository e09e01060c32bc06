#include "runtime/grammar/mask_memo.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_MASKS = 192, /* 5 MB for 200,000 tokens */
    SLOTS = 512,     /* a power of two */
    TAILS = 64,      /* configurations whose tails are kept, each in the one place for its number */
};

struct mask_memo {
    size_t words, tail_words;
    struct {
        uint64_t key;
        uint32_t mask;          /* number + 1; 0: free */
    } slots[SLOTS];             /* open addressing */
    uint32_t *masks[MAX_MASKS]; /* the first n_masks are in use, those behind are kept to be used again, or NULL */
    size_t n_masks, n_allocated;
    uint32_t configs[TAILS]; /* 0: none */
    uint32_t tails[];        /* [TAILS][tail_words + 1] */
};

mask_memo *mask_memo_open(size_t words, size_t tail_words)
{
    mask_memo *memo = calloc(1, sizeof *memo + TAILS * (tail_words + 1) * sizeof *memo->tails);
    if (!memo) return NULL;
    memo->words = words;
    memo->tail_words = tail_words;
    return memo;
}

void mask_memo_free(mask_memo *memo)
{
    if (!memo) return;
    for (size_t i = 0; i < memo->n_allocated; i++) free(memo->masks[i]);
    free(memo);
}

size_t mask_memo_bytes(const mask_memo *memo)
{
    if (!memo) return 0;
    return sizeof *memo + (TAILS * (memo->tail_words + 1) + memo->n_allocated * memo->words) * sizeof *memo->tails;
}

static size_t slot_of(const mask_memo *memo, uint64_t key)
{
    size_t at = (size_t)((key ^ key >> 29) * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (SLOTS - 1);
    while (memo->slots[at].mask && memo->slots[at].key != key) at = (at + 1) & (SLOTS - 1);
    return at;
}

const uint32_t *mask_memo_find(const mask_memo *memo, uint64_t key)
{
    uint32_t mask = memo->slots[slot_of(memo, key)].mask;
    return mask ? memo->masks[mask - 1] : NULL;
}

uint32_t *mask_memo_add(mask_memo *memo, uint64_t key)
{
    if (memo->n_masks == MAX_MASKS) {
        memset(memo->slots, 0, sizeof memo->slots);
        memo->n_masks = 0;
    }
    if (memo->n_masks == memo->n_allocated) {
        if (!(memo->masks[memo->n_masks] = malloc(memo->words * sizeof *memo->masks[0]))) return NULL;
        memo->n_allocated++;
    }
    size_t at = slot_of(memo, key);
    memo->slots[at].key = key;
    memo->slots[at].mask = (uint32_t)memo->n_masks + 1;
    return memset(memo->masks[memo->n_masks++], 0, memo->words * sizeof *memo->masks[0]);
}

uint32_t *mask_memo_tails(mask_memo *memo, uint32_t config, bool *known)
{
    size_t at = config % TAILS;
    uint32_t *tails = memo->tails + at * (memo->tail_words + 1);
    *known = memo->configs[at] == config;
    if (*known) return tails;
    memo->configs[at] = 0;
    memset(tails, 0, (memo->tail_words + 1) * sizeof *tails);
    return tails;
}

void mask_memo_keep_tails(mask_memo *memo, uint32_t config) { memo->configs[config % TAILS] = config; }
