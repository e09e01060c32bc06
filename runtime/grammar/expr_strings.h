/* One of many strings, sharing their beginnings. */
#ifndef RUNTIME_GRAMMAR_EXPR_STRINGS_H
#define RUNTIME_GRAMMAR_EXPR_STRINGS_H

#include "runtime/grammar/expr.h"

typedef struct expr_strings_item {
    const char *bytes;
    size_t size;
    expr then; /* what follows this string; for the same bytes twice, either */
} expr_strings_item;

/* Exactly one of the strings and what follows it, deterministic in the strings: a trie. Reorders `items`. */
expr expr_strings(expr_pool *p, expr_strings_item *items, size_t n);
/* The same without rules, as automata want it. */
expr expr_strings_flat(expr_pool *p, expr_strings_item *items, size_t n);

#endif
