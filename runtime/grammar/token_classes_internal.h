/* What token_classes.c asks and token_classes_build.c builds. */
#ifndef RUNTIME_GRAMMAR_TOKEN_CLASSES_INTERNAL_H
#define RUNTIME_GRAMMAR_TOKEN_CLASSES_INTERNAL_H

#include "runtime/grammar/token_classes.h"

enum { TOKEN_CLASSES_DEAD = 0xFFFF, TOKEN_CLASSES_NO_MASK = UINT16_MAX };

typedef struct token_class {
    uint32_t element;  /* row of `to` */
    uint32_t chars;    /* of each of its tokens, those cut off not counted; 0 for all where lengths say nothing */
    uint32_t first, n; /* in `tokens` */
    uint16_t set;      /* CUT: what the character that is cut off can become */
    uint16_t mask;     /* number in `masks`, or TOKEN_CLASSES_NO_MASK */
    uint8_t kind;      /* vocab_text_kind */
} token_class;

/* Lengths first..last lead on to the same. */
typedef struct token_classes_steady {
    uint32_t first, last;
} token_classes_steady;

struct token_classes {
    /* The automaton; without its limit, if it has one. */
    uint32_t n_states, n_letters;
    uint16_t *next; /* [n_states][n_letters] or TOKEN_CLASSES_DEAD; letters are the automaton's classes of characters */
    bool *accepts;  /* [n_states] */
    uint16_t *to;   /* [elements][n_states] where each element takes each state, or TOKEN_CLASSES_DEAD */

    /* The limit; `pairs` NULL: none. */
    uint64_t *pairs;  /* as in struct dfa */
    uint32_t longest; /* likewise */
    bool unlimited;   /* likewise */
    size_t row_words;
    uint64_t *alive, *ends; /* [longest + 1][row_words] bit s: from state s behind so many characters an end can be
                               reached; the text may end */
    token_classes_steady *steady; /* [longest + 1] */
    uint32_t reach;               /* characters that a token can have */

    uint32_t *set_starts, *sets; /* the letters of set s: sets[set_starts[s]] .. sets[set_starts[s + 1]] */

    token_class *classes; /* [n_classes] those of kind CLOSING behind the others */
    size_t n_classes, n_inside;
    uint32_t *tokens; /* by class */
    size_t first_closing;
    uint16_t *tails; /* [n_tokens - first_closing] of the closing tokens */
    uint32_t *masks; /* [n_masks][words] of the large classes */
    size_t words;
    size_t bytes;
};

#endif
