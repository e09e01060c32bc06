/* Constrained output: which tokens may come next, so that what a model says is a sentence of a grammar.
 *
 * Three objects, from long-lived to short-lived:
 *
 * - grammar_vocab: the bytes of every token, laid out for walking. One per tokenizer, constant, shared by all threads.
 * - grammar: a JSON schema, regular expression, EBNF grammar or choice, compiled. Reference counted. It remembers what
 *   its matchers find out, behind a lock of its own: any number of threads may use it, one thread per matcher.
 * - grammar_matcher: where one sequence stands in a grammar.
 *
 * A mask never allows a special token. A sequence that follows the masks never gets stuck: as long as
 * grammar_matcher_is_done() is false, the mask has at least one token (every byte is a token, and every byte that is
 * allowed can be continued to a whole sentence). What each front end accepts is listed in README.md; all else is
 * refused by name with STATUS_INVALID.
 */
#ifndef RUNTIME_GRAMMAR_GRAMMAR_H
#define RUNTIME_GRAMMAR_GRAMMAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/text/tokenizer.h"

/* ---- the vocabulary ---------------------------------------------------------------------------------------------- */

typedef struct grammar_vocab grammar_vocab;

/* Takes the bytes of all ordinary tokens of `t`, which is not needed afterwards. 0.2 s and 45 MB for 200,000 tokens.
 * STATUS_MODEL when one of the 256 bytes is no token of its own. */
status grammar_vocab_open(const tokenizer *t, grammar_vocab **out, status_detail *detail);
/* After every grammar and matcher that was made with it. NULL is allowed. */
void grammar_vocab_close(grammar_vocab *v);

/* tokenizer_size(): the number of bits of a mask that mean something. */
int32_t grammar_vocab_size(const grammar_vocab *v);
/* (grammar_vocab_size() + 31) / 32: the 32-bit words of a mask. Bit (id & 31) of word (id >> 5) is token `id`. */
size_t grammar_vocab_words(const grammar_vocab *v);

/* ---- grammars ---------------------------------------------------------------------------------------------------- */

typedef struct grammar grammar;

typedef struct grammar_options {
    bool compact; /* JSON: no white space between the parts at all; otherwise as README.md says: bounded, at most
                     pretty-printed */
} grammar_options;

/* All five: `out` has one reference. `options` NULL: all zero. STATUS_INVALID: the text is malformed, uses what is not
 * supported, would make a grammar that is too large, or no text can satisfy it; the detail names the place and begins
 * with "schema: ", "json_object: ", "regex: ", "grammar: " or "choice: ". Time and memory are bounded for any input.
 * STATUS_INTERNAL: memory. */

/* A whole JSON text that is valid against `schema` (an object or a boolean), which is only read, and only during the
 * call. */
status grammar_from_schema(const grammar_vocab *v, const json_t *schema, const grammar_options *options, grammar **out,
                           status_detail *detail);
/* Any JSON object. */
status grammar_from_json_object(const grammar_vocab *v, const grammar_options *options, grammar **out,
                                status_detail *detail);
/* The whole text matches the expression: anchors at its ends change nothing. */
status grammar_from_regex(const grammar_vocab *v, const char *text, size_t size, grammar **out, status_detail *detail);
/* The form of llama.cpp's GBNF and xgrammar's EBNF: `root ::= "a" [0-9]{1,3} other*`. */
status grammar_from_ebnf(const grammar_vocab *v, const char *text, size_t size, grammar **out, status_detail *detail);
/* Exactly one of `n` strings. */
status grammar_from_choice(const grammar_vocab *v, const char *const *texts, const size_t *sizes, size_t n,
                           grammar **out, status_detail *detail);

/* One more reference; returns `g`. */
grammar *grammar_retain(grammar *g);
/* The last one frees. NULL is allowed. A matcher holds a reference of its own. */
void grammar_release(grammar *g);

/* ---- matchers ---------------------------------------------------------------------------------------------------- */

typedef struct grammar_matcher grammar_matcher;

/* At the beginning of a sentence. */
status grammar_matcher_open(grammar *g, grammar_matcher **out, status_detail *detail);
void grammar_matcher_close(grammar_matcher *m); /* NULL is allowed */

/* Writes all grammar_vocab_words() words of `bits`: 1 for each token that may come next. All zero when nothing may
 * follow. STATUS_INTERNAL when memory ends; `bits` is then undefined. */
status grammar_matcher_mask(grammar_matcher *m, uint32_t *bits, status_detail *detail);

/* Takes a token. False, and nothing changes, when it is not allowed here (special tokens and ids without a token never
 * are) or memory ends. */
bool grammar_matcher_accept(grammar_matcher *m, int32_t id);

/* What was taken so far is a whole sentence: the text may end here. */
bool grammar_matcher_is_done(const grammar_matcher *m);
/* Something may still follow; false means that the text must end here. At least one of the two is true at any time. */
bool grammar_matcher_may_continue(const grammar_matcher *m);

#endif
