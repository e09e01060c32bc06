/* What the tests of constrained output share: the real vocabulary, and texts fed byte by byte. */
#ifndef TESTS_GRAMMAR_GRAMMAR_FIXTURE_H
#define TESTS_GRAMMAR_GRAMMAR_FIXTURE_H

#include "runtime/grammar/grammar.h"

/* o200k with its special tokens; opened once, closed by grammar_fixture_close(). Fail the test when they cannot. */
const tokenizer *grammar_fixture_tokenizer(void);
const grammar_vocab *grammar_fixture_vocab(void);
int grammar_fixture_close(void **state);

/* Compiles, and fails the test when that fails. */
grammar *grammar_fixture_regex(const char *text);
grammar *grammar_fixture_ebnf(const char *text);
grammar *grammar_fixture_schema(const char *text);

/* Is `text` a whole sentence? Fed one byte at a time; then once more in tokens as the tokenizer cuts it, which must
 * give the same. */
bool grammar_fixture_accepts(grammar *g, const char *text);
/* May `text` be continued or ended? */
bool grammar_fixture_is_prefix(grammar *g, const char *text);

/* Asserts that every text is a sentence, or that none is. NULL ends the list. */
void grammar_fixture_all(grammar *g, const char *const *texts, bool accepted);
/* Asserts that the front end refuses `text` and that its line has all of `words`. */
typedef status grammar_fixture_front(const grammar_vocab *v, const char *text, grammar **out, status_detail *detail);
void grammar_fixture_refused(grammar_fixture_front *front, const char *text, const char *words);
status grammar_fixture_from_regex(const grammar_vocab *v, const char *text, grammar **out, status_detail *detail);
status grammar_fixture_from_ebnf(const grammar_vocab *v, const char *text, grammar **out, status_detail *detail);
status grammar_fixture_from_schema(const grammar_vocab *v, const char *text, grammar **out, status_detail *detail);

/* Asserts that the mask after `text` is exactly the tokens that are accepted, which goes byte by byte. */
void grammar_fixture_mask_is_exact(grammar *g, const char *text);

#endif
