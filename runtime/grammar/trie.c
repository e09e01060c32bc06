#include "runtime/grammar/trie.h"

#include <stdlib.h>
#include <string.h>

static int compare_keys(const void *a, const void *b)
{
    const trie_key *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

void trie_sort(trie_key *keys, size_t n)
{
    if (n) qsort(keys, n, sizeof *keys, compare_keys);
}

static uint32_t common_prefix(const trie_key *a, const trie_key *b)
{
    uint32_t n = 0;
    while (n < a->size && n < b->size && a->bytes[n] == b->bytes[n]) n++;
    return n;
}

static size_t count_nodes(const trie_key *keys, size_t n)
{
    size_t nodes = 0;
    for (size_t i = 0; i < n; i++) nodes += keys[i].size - (i ? common_prefix(&keys[i - 1], &keys[i]) : 0);
    return nodes;
}

/* Closes the subtrees of all open nodes at `depth` or deeper: they end at node `end`. */
static void close_subtrees(trie_node *nodes, const uint32_t *open, uint32_t depth, uint32_t n_open, size_t end)
{
    for (uint32_t d = depth; d < n_open; d++) nodes[open[d]].size = (uint32_t)(end - open[d]) & 0xFFFFFF;
}

bool trie_build(const trie_key *keys, size_t n, trie *out)
{
    size_t n_nodes = count_nodes(keys, n);
    if (n_nodes >= TRIE_MAX_NODES) return false;
    trie_node *nodes = malloc((n_nodes ? n_nodes : 1) * sizeof *nodes);
    if (!nodes) return false;

    uint32_t open[TRIE_MAX_TOKEN], n_open = 0; /* the path to the last node */
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t depth = i ? common_prefix(&keys[i - 1], &keys[i]) : 0;
        close_subtrees(nodes, open, depth, n_open, at);
        for (n_open = depth; n_open < keys[i].size; n_open++) {
            open[n_open] = (uint32_t)at;
            nodes[at++] = (trie_node){.byte = keys[i].bytes[n_open], .token = TRIE_NO_TOKEN, .depth = n_open & 0xFF};
        }
        nodes[at - 1].token = keys[i].token & 0xFFFFFF;
    }
    close_subtrees(nodes, open, 0, n_open, at);
    *out = (trie){nodes, at};
    return true;
}

void trie_free(trie *t)
{
    free(t->nodes);
    *t = (trie){0};
}
