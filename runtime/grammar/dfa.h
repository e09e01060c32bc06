/* Deterministic automata over characters, for what expressions cannot say: "this pattern and at most 20 characters",
 * "any name but these". Automata that meet must share an alphabet, so collect the cuts of all of them first.
 *
 * Every function that makes one returns NULL when memory or the budget ends and leaves that with the pool
 * (expr_pool_check()); a NULL argument gives NULL. States: 0 is the start. A dead automaton has no states at all.
 */
#ifndef RUNTIME_GRAMMAR_DFA_H
#define RUNTIME_GRAMMAR_DFA_H

#include "runtime/grammar/expr.h"
#include "runtime/grammar/slice.h"

#define DFA_DEAD UINT32_MAX
enum {
    DFA_MAX_STATES = 60000,
    DFA_SMALL_CELLS = 1 << 18, /* dfa_cells() of one that is had for speed, where another way would do */
};

/* The characters, cut into classes that no automaton over this alphabet tells apart. Starts as {0}. */
typedef struct dfa_alphabet {
    uint32_t *cuts; /* [n_cuts] first characters of classes, until sealed in any order */
    size_t n_cuts, capacity;
    charset_range *classes; /* [n_classes], once sealed */
    size_t n_classes;
} dfa_alphabet;

void dfa_alphabet_free(dfa_alphabet *a);
void dfa_alphabet_add(expr_pool *p, dfa_alphabet *a, expr e);
/* The characters of valid UTF-8 that stand for themselves. */
void dfa_alphabet_add_text(expr_pool *p, dfa_alphabet *a, const char *text, size_t size);
void dfa_alphabet_seal(expr_pool *p, dfa_alphabet *a);

struct dfa {
    uint32_t n_states;
    uint32_t n_classes;
    charset_range *classes; /* [n_classes] */
    uint32_t *next;         /* [n_states][n_classes], DFA_DEAD: no way to an accepted text */
    bool *accepts;          /* [n_states] */

    /* Of dfa_limit(), for whoever must know lengths apart from all else. */
    dfa *base;        /* what was limited; NULL: nothing was */
    uint64_t *pairs;  /* [n_states] the state of `base` << 32 | the characters before, at most `longest` */
    uint32_t longest; /* the limit; without one, the least length: more characters are not counted */
    bool unlimited;

    bool classify; /* for program_dfa(): tokens are worth being classified, see token_classes.h */
};

void dfa_free(dfa *d); /* NULL is allowed */
static inline bool dfa_is_empty(const dfa *d) { return d->n_states == 0; }
static inline size_t dfa_cells(const dfa *d) { return (size_t)d->n_states * (d->n_classes + 1); }

/* The texts of an expression without rules and automata; the encoding of its characters does not matter. (dfa_subset.c)
 */
dfa *dfa_subset(expr_pool *p, const dfa_alphabet *a, expr e);
/* The same where that is little work, also of an expression with rules, unless they are recursive; NULL otherwise, and
 * nothing is left with the pool but lack of memory. */
dfa *dfa_subset_if_small(expr_pool *p, const dfa_alphabet *a, expr e);
/* The texts of both. Takes both over. (dfa_product.c) */
dfa *dfa_product(expr_pool *p, dfa *a, dfa *b);
/* All texts of least..most characters; most may be EXPR_NO_LIMIT. */
dfa *dfa_of_length(expr_pool *p, const dfa_alphabet *a, uint32_t least, uint32_t most);
/* The texts of least..most characters, of which not all may be needed to tell. Takes it over. */
dfa *dfa_limit(expr_pool *p, const dfa_alphabet *a, dfa *d, uint32_t least, uint32_t most);
/* All other texts. Takes it over. */
dfa *dfa_complement(expr_pool *p, dfa *d);
dfa *dfa_copy(expr_pool *p, const dfa *d);
bool dfa_accepts(const dfa *d, const char *text, size_t size);

/* The number of characters of the shortest and the longest text (EXPR_NO_LIMIT: there is none). False: no memory, noted
 * in the pool. */
bool dfa_lengths(expr_pool *p, const dfa *d, uint32_t *shortest, uint32_t *longest);

/* For each state: how many characters of a slice's class may follow whatever they are (`least`), and at most (`most`),
 * both up to SLICE_CHARS. least == most: after so many no other of the class may follow. Work is proportional to the
 * table. */
void dfa_runs(const dfa *d, slice_class class, uint8_t *least, uint8_t *most);

/* For those who fill a table: a raw table with reachable states; drops what cannot reach an accepted text. Takes it
 * over. */
dfa *dfa_trim(expr_pool *p, dfa *d);
dfa *dfa_new(expr_pool *p, const charset_range *classes, size_t n_classes, size_t n_states);

#endif
