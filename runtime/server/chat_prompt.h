/* API messages of a chat -> harmony messages. Pure.
 *
 * An assistant message becomes up to three kinds: its reasoning (analysis), its content (final, or commentary when calls follow), its calls.
 */
#ifndef RUNTIME_SERVER_CHAT_PROMPT_H
#define RUNTIME_SERVER_CHAT_PROMPT_H

#include "runtime/server/prompt.h"

/* `today` is YYYY-MM-DD. Keeps pointers into `request` and `today`. On failure *out is empty. */
bool chat_prompt_build(const chat_request *request, const char *today, prompt_messages *out, api_error *error);

/* An assistant's message. In chat_prompt_assistant.c, for chat_prompt.c. */
bool chat_prompt_assistant(prompt_builder *b, const json_fields *message);

#endif
