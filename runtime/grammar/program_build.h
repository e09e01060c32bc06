/* The parts of program_compile(). A builder that failed says so in the pool (expr_pool_check()) and makes nothing more.
 */
#ifndef RUNTIME_GRAMMAR_PROGRAM_BUILD_H
#define RUNTIME_GRAMMAR_PROGRAM_BUILD_H

#include "runtime/grammar/dfa.h"
#include "runtime/grammar/expr_nullable.h"
#include "runtime/grammar/program.h"

typedef struct program_build {
    expr_pool *p;
    program *g;
    const grammar_vocab *vocab;
    expr_nullable_memo stripped;
    uint32_t *entries; /* [n_rules] first node, UINT32_MAX: not compiled yet */
    uint32_t *ends;    /* [n_rules] one past a rule's last node; it begins where the one compiled before ends */
    size_t n_entries, entries_capacity, ends_capacity;
    expr_list queue; /* rules in the order in which they are compiled */
    size_t region_bytes;
} program_build;

bool program_build_broken(const program_build *b);
uint32_t program_build_node(program_build *b, program_node node);
/* A node that goes to all of `targets`; `need_of` as in program_node.next. */
uint32_t program_build_split(program_build *b, const uint32_t *targets, size_t n, uint32_t need_of);
/* Gives a split that was made without targets its targets. */
void program_build_fill_split(program_build *b, uint32_t split, const uint32_t *targets, size_t n);

/* Edges that are gathered for one node. Starts as {0}. */
typedef struct program_edges {
    program_edge *items;
    size_t n, capacity;
} program_edges;

void program_build_edge(program_build *b, program_edges *edges, unsigned low, unsigned high, uint32_t next);
/* A node that goes all these ways; where two edges are the same bytes, both ways. Edges overlap wholly or not at all.
 * Reorders them. */
uint32_t program_build_switch(program_build *b, program_edges *edges);

/* Adds the ways to read one character of `set` and go on at `next`. (program_chars.c) */
void program_chars(program_build *b, const charset *set, expr_encoding encoding, uint32_t next, program_edges *out);
/* The nodes of an automaton. (program_dfa.c) */
uint32_t program_dfa(program_build *b, const dfa *d, expr_encoding encoding, uint32_t next);

/* For an automaton that is about to be written: the classes of tokens in it, NULL where they do not help. */
token_classes *program_region_classify(program_build *b, const dfa *d, expr_encoding encoding, uint32_t next);
/* Takes `classes` over, and makes the nodes first..the end of the program a region. entries[state] is the node at which
 * the characters of a state begin, UINT32_MAX: there are none. (program_region.c) */
void program_region_add(program_build *b, const dfa *d, token_classes *classes, expr_encoding encoding, uint32_t next,
                        uint32_t first, const uint32_t *entries);
void program_region_free(program_region *r);

/* Marks node `at`, which with the nodes first..the end of the program is a run: least[class] characters of each class
 * may follow, 0 for none. The class with the most tokens gets it. (program_mark.c) */
typedef struct program_runs {
    uint8_t least[SLICE_CLASSES], most[SLICE_CLASSES]; /* as in program_marker */
} program_runs;
void program_mark(program_build *b, uint32_t at, uint32_t first, const program_runs *runs);
/* No character of the class may come at `node`. Says false when it would have to look far. */
bool program_mark_excludes(const program *g, uint32_t node, slice_class class);

/* Fills program_node.need. (program_need.c) */
void program_need(program_build *b);

#endif
