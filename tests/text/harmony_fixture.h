/* What the harmony tests share: the o200k vocabulary, test data, and a sink that writes down what a parser says. */
#ifndef TESTS_TEXT_HARMONY_FIXTURE_H
#define TESTS_TEXT_HARMONY_FIXTURE_H

#include <jansson.h>

#include "runtime/text/harmony.h"

typedef struct harmony_fixture {
    tokenizer *tokens;
    harmony *h;
} harmony_fixture;

/* cmocka group set-up and tear-down; *state is the harmony_fixture. */
int harmony_fixture_open(void **state);
int harmony_fixture_close(void **state);

/* "{tests}/{path}"; free(). */
char *harmony_fixture_path(const char *path);
/* A JSON file below the tests folder; json_decref(). */
json_t *harmony_fixture_json(const char *path);
/* Calls `visit` with every line, a JSON value each, of a gzip file below the tests folder; returns how many. */
size_t harmony_fixture_lines(const char *path, void (*visit)(harmony_fixture *f, const json_t *line, size_t number),
                             harmony_fixture *f);

/* Ids of text in which the text of a special token stands for it. */
void harmony_fixture_encode(const harmony_fixture *f, const char *marked, id_list *out);
/* The tokens' bytes, special tokens as their text. */
void harmony_fixture_decode(const harmony_fixture *f, const id_list *ids, buffer *out);

/* ---- what a parser says ---- */

typedef struct harmony_recording {
    buffer text; /* a line per message: "final[role=assistant channel=final] content" */
    bool open;
    size_t begins, ends, deltas;
} harmony_recording;

/* A sink that asserts the order of calls and the validity of texts. */
harmony_sink harmony_recording_sink(harmony_recording *r);
void harmony_recording_free(harmony_recording *r);

/* Parses all ids with a fresh parser, finishes, and adds to `r`. */
void harmony_fixture_parse(const harmony_fixture *f, bool after_assistant, const int32_t *ids, size_t count,
                           harmony_recording *r);
/* The functions that harmony_fixture_parse() declares. */
extern const char *const harmony_fixture_functions[3];

#endif
