/* Regular expressions: the part of ECMA 262 that is regular. */
#ifndef RUNTIME_GRAMMAR_REGEX_H
#define RUNTIME_GRAMMAR_REGEX_H

#include "runtime/grammar/dfa.h"

enum { REGEX_MAX_DEPTH = 200 };

/* What must hold of the whole text besides: lookaheads at the very beginning. */
typedef struct regex_condition {
    expr whole; /* of the whole text */
    bool negated;
} regex_condition;

enum { REGEX_MAX_CONDITIONS = 8 };

typedef struct regex {
    expr whole;
    regex_condition conditions[REGEX_MAX_CONDITIONS];
    int n_conditions;
} regex;

typedef enum regex_match {
    REGEX_WHOLE,  /* the text matches from its first to its last character */
    REGEX_SEARCH, /* some part of it does, unless anchored (JSON Schema's `pattern`) */
} regex_match;

/* Expressions without rules and automata; all texts that match are those of `whole` for which the conditions hold.
 * STATUS_INVALID names the position and what is not supported there. The pool may break, see expr_pool_check(). */
status regex_parse(expr_pool *p, const char *text, size_t size, regex_match match, expr_encoding encoding, regex *out,
                   status_detail *detail);

/* The same as one expression: an automaton if there are conditions, or if that is small. */
status regex_expr(expr_pool *p, const char *text, size_t size, regex_match match, expr_encoding encoding, expr *out,
                  status_detail *detail);

/* For automata: adds the characters that it tells apart; the automaton over a sealed alphabet (NULL: the pool broke).
 */
void regex_alphabet(expr_pool *p, dfa_alphabet *a, const regex *r);
dfa *regex_dfa(expr_pool *p, const dfa_alphabet *a, const regex *r);
/* The automaton of one without conditions, to be classified, where it is small; else NULL, and `whole` says the same.
 */
dfa *regex_dfa_if_small(expr_pool *p, const regex *r);

#endif
