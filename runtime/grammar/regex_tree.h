/* A regular expression as it was written, before its anchors are resolved. */
#ifndef RUNTIME_GRAMMAR_REGEX_TREE_H
#define RUNTIME_GRAMMAR_REGEX_TREE_H

#include "runtime/grammar/regex.h"

typedef enum regex_tree_kind {
    REGEX_TREE_LEAF,  /* an expression of its own */
    REGEX_TREE_BEGIN, /* ^ */
    REGEX_TREE_END,   /* $ */
    REGEX_TREE_CAT,
    REGEX_TREE_ALT,
    REGEX_TREE_REPEAT,
} regex_tree_kind;

typedef struct regex_tree_node {
    regex_tree_kind kind;
    uint32_t position;    /* in the text */
    uint32_t child, next; /* first child; next sibling; 0: none */
    expr leaf;
    uint32_t least, most;
} regex_tree_node;

typedef struct regex_tree_condition {
    uint32_t root;
    bool negated;
} regex_tree_condition;

typedef struct regex_tree {
    regex_tree_node *nodes; /* 0 is unused */
    size_t n, capacity;
    uint32_t root;
    regex_tree_condition conditions[REGEX_MAX_CONDITIONS];
    int n_conditions;
} regex_tree;

/* `text` is valid UTF-8. The tree starts as {0} and is freed by the caller in any case. */
status regex_tree_read(expr_pool *p, const char *text, size_t size, regex_match match, expr_encoding encoding,
                       regex_tree *out, status_detail *detail);
void regex_tree_free(regex_tree *t);

#endif
