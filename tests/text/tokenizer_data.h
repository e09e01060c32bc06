/* What the tokenizer's tests share: where the data is, and a seeded source of numbers. */
#ifndef TESTS_TEXT_TOKENIZER_DATA_H
#define TESTS_TEXT_TOKENIZER_DATA_H

#include <jansson.h>
#include <stdint.h>

#include "runtime/text/tokenizer.h"

/* A path below tests/, in a buffer that the next call overwrites. */
const char *tokenizer_data_path(const char *name);

/* The committed vocabulary; fails the test when it does not open. */
tokenizer *tokenizer_data_open(void);
const char *tokenizer_data_vocabulary(void);

/* A JSON file below tests/; fails the test when it does not parse. The caller owns the reference. */
json_t *tokenizer_data_json(const char *name);

/* Encodes `text` and holds the ids against a JSON array of integers. Returns whether they are equal, and prints both
 * when not. */
int tokenizer_data_agrees(const tokenizer *t, const char *text, size_t size, const json_t *expected);

/* Calls `check` for every line of the generated cases, [text, ids, reduced ids or null]; returns how many there were.
 */
size_t tokenizer_data_cases(void (*check)(const json_t *line, void *user), void *user);

uint32_t tokenizer_data_random(uint64_t *state);

#endif
