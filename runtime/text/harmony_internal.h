/* What the files of harmony share and nobody else sees. */
#ifndef RUNTIME_TEXT_HARMONY_INTERNAL_H
#define RUNTIME_TEXT_HARMONY_INTERNAL_H

#include "runtime/text/harmony.h"

/* The special tokens, looked up by their text when opened. */
struct harmony {
    const tokenizer *tokens; /* borrowed */
    int32_t start, end, message, channel, constrain, final_return, call;
    int32_t end_of_text; /* -1 where the vocabulary has none */
};

/* The special tokens that a header shows as text, both when rendered and when parsed. */
#define HARMONY_CHANNEL_MARKER "<|channel|>"
#define HARMONY_CONSTRAIN_MARKER "<|constrain|>"

#endif
