/* The tokens that one automaton cannot tell apart.
 *
 * A token takes every state of an automaton to some other state: it stands for a function from states to states, an
 * element of the automaton's transition monoid. Out of 200,000 tokens a pattern or format makes some hundred such
 * functions; so the tokens that may come in a state are found by asking for each function once, and those of large
 * classes are put into a mask many at a time. How long they are matters where lengths are limited, so tokens of one
 * class then have equally many characters, and limits are compared, not walked into.
 *
 * Constant once built; any number of threads may use it.
 */
#ifndef RUNTIME_GRAMMAR_TOKEN_CLASSES_H
#define RUNTIME_GRAMMAR_TOKEN_CLASSES_H

#include "runtime/grammar/dfa.h"
#include "runtime/grammar/vocab_text.h"

typedef struct token_classes token_classes;

/* Of tokens as `t` reads them, `words` the size of a mask; keeps neither `d` nor `t`. NULL: so few tokens can come at
 * all that walking them is as good, or the functions are too many, or memory ends (*no_memory). */
token_classes *token_classes_build(const dfa *d, const vocab_text *t, size_t words, bool *no_memory);
void token_classes_free(token_classes *c); /* NULL is allowed */
size_t token_classes_bytes(const token_classes *c);

/* The states below are those of `d`. */

/* Sets the bits of the tokens that may come in `state` and leave the text unfinished: whole characters, or cut off
 * inside of one. */
void token_classes_set_inside(const token_classes *c, uint32_t state, uint32_t *bits);
/* States with the same key have the same bits there. */
uint64_t token_classes_key(const token_classes *c, uint32_t state);
/* Sets those that end the text where it may end and go on with one of `tails`, a set of vocab_text's tails. */
void token_classes_set_closing(const token_classes *c, uint32_t state, const uint32_t *tails, uint32_t *bits);

#endif
