/* Walks of tries: which keys survive behind a configuration. */
#ifndef RUNTIME_GRAMMAR_MASK_WALK_H
#define RUNTIME_GRAMMAR_MASK_WALK_H

#include "runtime/grammar/machine.h"
#include "runtime/grammar/trie.h"

enum { MASK_WALK_MAX_ESCAPES = 1024 };

/* A node of a trie where a walk from a local configuration got to the hole. */
typedef struct mask_walk_escape {
    const trie *t;
    uint32_t node;
} mask_walk_escape;

typedef struct mask_walk {
    machine *m;
    uint32_t *bits;   /* [words + 1] by token; nodes without one set theirs in the word behind */
    uint32_t *tokens; /* [words + 1] found so far; more than `words` are not worth it */
    uint32_t words, n;
    mask_walk_escape *escapes; /* [MASK_WALK_MAX_ESCAPES] */
    uint32_t n_escapes;
    bool useless;                      /* there were more */
    uint64_t most_work;                /* machine.work from which only first bytes are looked at */
    size_t walked;                     /* nodes of tries */
    uint32_t path[TRIE_MAX_TOKEN + 1]; /* configurations, by depth */
} mask_walk;

/* With the machine's scratch, which is made if need be. `words` is that of a mask, and of `bits`. */
bool mask_walk_begin(mask_walk *w, machine *m, size_t words);
/* Nodes first..end-1 of `t`, whose parents' configurations are in the path. False: no memory. */
bool mask_walk_nodes(mask_walk *w, const trie *t, size_t first, size_t end);
/* All of it; path[0] is where it begins. */
static inline bool mask_walk_all(mask_walk *w, const trie *t) { return mask_walk_nodes(w, t, 0, t->n); }

#endif
