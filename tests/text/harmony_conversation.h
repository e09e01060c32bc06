/* Conversations of the test data as the structures that harmony_render() takes. */
#ifndef TESTS_TEXT_HARMONY_CONVERSATION_H
#define TESTS_TEXT_HARMONY_CONVERSATION_H

#include <jansson.h>

#include "runtime/text/harmony.h"

typedef struct harmony_conversation {
    harmony_message *messages;
    size_t count;
    void **owned; /* every block behind the messages */
    size_t n_owned;
} harmony_conversation;

/* `messages`: a JSON array in the shape of tests/data/harmony/cases.json; strings and schemas stay its own. */
void harmony_conversation_read(const json_t *messages, harmony_conversation *out);
void harmony_conversation_free(harmony_conversation *c);

#endif
