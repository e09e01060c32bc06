/* Reasoning effort written into a system message, as the model's own guide does it: "Reasoning: high". Pure. */
#ifndef RUNTIME_SERVER_CHAT_EFFORT_H
#define RUNTIME_SERVER_CHAT_EFFORT_H

#include <stdbool.h>

#include "runtime/base/buffer.h"
#include "runtime/text/harmony.h"

/* Looks for "Reasoning: low|medium|high" (any case) and, when found, sets *found and *effort (the last one wins). Appends the text to
 * `out` without the lines that say nothing else, and without the blank line such a line leaves behind. False when memory ends. */
bool chat_effort_extract(const char *text, size_t size, bool *found, harmony_effort *effort, buffer *out);

#endif
