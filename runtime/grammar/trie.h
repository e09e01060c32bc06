/* The tokens of a vocabulary as a byte trie in preorder: a walk that keeps one state per depth reads memory front to
 * back, and skips the subtree below a byte that may not come. Layout after guidance-ai/llguidance
 * `toktrie/src/toktree.rs`.
 */
#ifndef RUNTIME_GRAMMAR_TRIE_H
#define RUNTIME_GRAMMAR_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A token of more bytes than this is in no trie, so no mask allows it. */
enum { TRIE_MAX_TOKEN = 255, TRIE_MAX_NODES = 1 << 24, TRIE_NO_TOKEN = 0xFFFFFF };

typedef struct trie_node {
    uint32_t byte : 8;
    uint32_t token : 24; /* the token that ends here, or TRIE_NO_TOKEN */
    uint32_t depth : 8;  /* bytes before this one */
    uint32_t size : 24;  /* nodes of this subtree, itself included */
} trie_node;

typedef struct trie {
    trie_node *nodes; /* [n]; children follow their parent */
    size_t n;
} trie;

typedef struct trie_key {
    const unsigned char *bytes;
    uint32_t size; /* 1..TRIE_MAX_TOKEN */
    uint32_t token;
} trie_key;

/* Orders keys as trie_build() wants them: by bytes. */
void trie_sort(trie_key *keys, size_t n);
/* `keys` are sorted and differ. False: no memory, or more than TRIE_MAX_NODES nodes. */
bool trie_build(const trie_key *keys, size_t n, trie *out);
void trie_free(trie *t);

#endif
