/* A compiled grammar: a graph of nodes over bytes that machine.c runs as a pushdown automaton.
 *
 * A thread stands at a node with a stack of frames. RANGE and SWITCH take a byte; all other nodes are passed without
 * one. Counted repetitions keep their count in a frame instead of in copies of their body, so {0,100000} is as small as
 * *.
 */
#ifndef RUNTIME_GRAMMAR_PROGRAM_H
#define RUNTIME_GRAMMAR_PROGRAM_H

#include "runtime/grammar/expr.h"
#include "runtime/grammar/grammar_vocab.h"
#include "runtime/grammar/token_classes.h"

enum {
    PROGRAM_RETURN = 0, /* the node where every rule and every repeated body ends */
    PROGRAM_MAX_NODES = 1 << 21,
    /* Frames of a stack. A JSON value takes two or three per level, so output nests about 300 deep at most: inside what
     * JSON parsers bear (jansson 2048, Python 1000), and a bound on what one sequence can hold. */
    PROGRAM_MAX_DEPTH = 1000,
    PROGRAM_NEED_NEVER = 0xFFFF,
};

typedef enum program_kind {
    PROGRAM_KIND_RETURN, /* pops a frame; with none left the text is whole */
    PROGRAM_KIND_RANGE,  /* a byte of low..high */
    PROGRAM_KIND_SWITCH, /* a byte of one of switches[a], which do not overlap, and on to its node: one thread for a
                            whole character set */
    PROGRAM_KIND_SPLIT,  /* all of splits[a] */
    PROGRAM_KIND_CALL,   /* the rule that begins at node a */
    PROGRAM_KIND_REPEAT, /* repeats[a] */
} program_kind;

typedef struct program_node {
    uint8_t kind; /* program_kind */
    uint8_t low, high;
    uint16_t marker; /* 0, or markers[marker - 1] says what may follow a thread that is here */
    uint16_t
        need; /* frames that must be pushed on the way to the end of this rule; PROGRAM_NEED_NEVER: it has no end */
    uint32_t a;
    uint32_t next; /* SPLIT: the node whose need is that of this one, or UINT32_MAX: its targets decide */
} program_node;

/* targets[start .. start + n] of a split, edges[start .. start + n] of a switch. */
typedef struct program_list {
    uint32_t start, n;
} program_list;

typedef struct program_edge {
    uint8_t low, high; /* both belong to it */
    uint32_t next;
} program_edge;

typedef struct program_repeat {
    uint32_t body;
    uint32_t least, most; /* most may be EXPR_NO_LIMIT: then counts stop at `least` */
} program_repeat;

enum { PROGRAM_LIMIT_FRAME = 0xFF }; /* what the repetition in the top frame has left */

/* A thread at the marked node is inside a run: `least` characters of the class may follow, whatever they are, and no
 * more than `most`. Both are up to SLICE_CHARS, which for `most` stands for any number, or PROGRAM_LIMIT_FRAME. */
typedef struct program_marker {
    uint8_t class; /* slice_class */
    uint8_t least, most;
    uint32_t first, last; /* nodes first..last-1 with the same stack are this run too */
} program_marker;

/* The nodes of an automaton whose tokens are classified. */
typedef struct program_region {
    uint32_t first, last; /* nodes first..last-1 */
    uint32_t *states;     /* [last - first] the state whose characters begin at a node, or UINT32_MAX */
    uint32_t next;        /* the node behind it: a quote, or PROGRAM_RETURN of a rule that nothing follows */
    expr_encoding encoding;
    token_classes *classes;
} program_region;

typedef struct program {
    program_node *nodes;
    size_t n_nodes, nodes_capacity;
    uint32_t *targets;
    size_t n_targets, targets_capacity;
    program_list *splits;
    size_t n_splits, splits_capacity;
    program_edge *edges;
    size_t n_edges, edges_capacity;
    program_list *switches; /* edges in order */
    size_t n_switches, switches_capacity;
    program_repeat *repeats;
    size_t n_repeats, repeats_capacity;
    program_marker *markers;
    size_t n_markers, markers_capacity;
    program_region *regions; /* in order */
    size_t n_regions, regions_capacity;
    uint32_t start;

    /* Bytes that no node tells apart. */
    uint8_t class_of[256];
    uint32_t n_classes;
} program;

/* Compiles rule `root` of the pool, which may get more rules by it. On failure `out` is untouched. STATUS_INVALID when
 * there is no text at all, or too much of it. */
status program_compile(expr_pool *p, uint32_t root, const grammar_vocab *v, program *out, status_detail *detail);
void program_free(program *g);

/* The region where a character begins at `node`, and *state there. NULL: there is none. */
const program_region *program_region_of(const program *g, uint32_t node, uint32_t *state);

/* The node behind `byte` at a RANGE or SWITCH, UINT32_MAX: it is not taken. *low..*high, which have `byte`, are
 * narrowed to bytes of which the node says the same. */
static inline uint32_t program_step(const program *g, const program_node *node, unsigned byte, unsigned *low,
                                    unsigned *high)
{
    program_edge one = {node->low, node->high, node->next};
    const program_edge *edges = node->kind == PROGRAM_KIND_SWITCH ? g->edges + g->switches[node->a].start : &one;
    uint32_t n = node->kind == PROGRAM_KIND_SWITCH ? g->switches[node->a].n : 1, below = 0;
    for (uint32_t after = n; below < after;) { /* the first edge that does not end before `byte` */
        uint32_t middle = below + (after - below) / 2;
        if (edges[middle].high < byte) {
            below = middle + 1;
        } else {
            after = middle;
        }
    }
    if (below > 0 && *low <= edges[below - 1].high) *low = edges[below - 1].high + 1u;
    if (below == n) return UINT32_MAX;
    const program_edge *edge = &edges[below];
    if (byte < edge->low) {
        if (*high >= edge->low) *high = edge->low - 1u;
        return UINT32_MAX;
    }
    if (*low < edge->low) *low = edge->low;
    if (*high > edge->high) *high = edge->high;
    return edge->next;
}

static inline bool program_takes(const program *g, const program_node *node, unsigned byte)
{
    unsigned low = 0, high = 255;
    return program_step(g, node, byte, &low, &high) != UINT32_MAX;
}

#endif
