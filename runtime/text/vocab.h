/* The two directions of a vocabulary: id to bytes, and bytes to id for ordinary tokens.
 *
 * Filled with vocab_add(), then sealed; constant from then on. Special tokens have bytes (their text) but are found by
 * vocab_special() only, so that no text can become one.
 */
#ifndef RUNTIME_TEXT_VOCAB_H
#define RUNTIME_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"

/* Ids must be below this: ten times the largest vocabulary we know, small enough that a false id costs no real memory.
 */
#define VOCAB_MAX_IDS (1 << 21)

typedef struct vocab_token {
    uint32_t start;     /* in `bytes` */
    uint32_t size : 31; /* 0: no token has this id */
    uint32_t special : 1;
} vocab_token;

/* One place of the hash table, open addressing with linear probing. Tokens of up to 8 bytes lie in `key` themselves, so
 * that a lookup of a common word touches one cache line. */
typedef struct vocab_slot {
    uint64_t key;  /* the bytes, or a hash of them when there are more than 8 */
    uint32_t size; /* 0: empty */
    int32_t id;    /* -1: hidden */
} vocab_slot;

typedef struct vocab {
    vocab_token *tokens; /* [n_ids], has room for `capacity` */
    int32_t n_ids;       /* one past the highest id */
    int32_t capacity;
    buffer bytes;      /* of all tokens, one after the other */
    vocab_slot *slots; /* [1 << (64 - shift)] */
    int shift;         /* a hash's top bits choose the slot */
    size_t n_ordinary;
    int32_t *specials; /* [n_specials], ids ordered by text once sealed */
    size_t n_specials;
} vocab;

/* A vocabulary starts as {0}. */
void vocab_free(vocab *v);

/* Adds a token. STATUS_MODEL: id out of range or taken, no bytes, or bytes that another token has (ordinary among
 * ordinary ones, special among special ones; the latter shows when sealing). The token is then not added. */
status vocab_add(vocab *v, int32_t id, const char *bytes, size_t size, bool special, status_detail *detail);

/* No token is added after this. STATUS_MODEL when special tokens share a text. */
status vocab_seal(vocab *v, status_detail *detail);

/* The ordinary token of exactly these bytes, or -1. */
int32_t vocab_find(const vocab *v, const char *bytes, size_t size);

/* vocab_find() no longer finds this ordinary token; its bytes stay. */
void vocab_hide(vocab *v, int32_t id);

/* The special token of this text in a sealed vocabulary, or -1. */
int32_t vocab_special(const vocab *v, const char *text);

/* The bytes of any token; NULL and *size 0 where there is none. */
const char *vocab_bytes(const vocab *v, int32_t id, size_t *size);
bool vocab_is_special(const vocab *v, int32_t id);

#endif
