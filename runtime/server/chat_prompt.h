/* API messages -> harmony messages. Pure: the result is rendered by harmony_render().
 *
 * The one system message is the server's own. The API's leading system and developer messages become the developer message, which also
 * carries the tools; later ones keep their place. An assistant message becomes up to three kinds: its reasoning (analysis), its content
 * (final, or commentary when calls follow), its calls. A tool's result only names the id of its call, so earlier calls are remembered.
 */
#ifndef RUNTIME_SERVER_CHAT_PROMPT_H
#define RUNTIME_SERVER_CHAT_PROMPT_H

#include "runtime/server/chat_request.h"

typedef struct chat_prompt_memory chat_prompt_memory;

typedef struct chat_prompt {
    harmony_message *messages; /* owned; texts borrow from the request or from `memory` */
    size_t n, capacity;
    harmony_system system;
    harmony_namespace functions;
    chat_prompt_memory *memory; /* strings made here, all freed together */
} chat_prompt;

/* `today` is YYYY-MM-DD. Keeps pointers into `request` and `today`. On failure *out is empty. */
bool chat_prompt_build(const chat_request *request, const char *today, chat_prompt *out, api_error *error);
void chat_prompt_free(chat_prompt *p);

/* ---- internal to chat_prompt*.c ---------------------------------------------------------------------------------- */

/* Memory that lives as long as the prompt; NULL when memory ends. */
void *chat_prompt_take(chat_prompt *p, size_t size);
/* A new message at the end, zeroed; NULL when memory ends. */
harmony_message *chat_prompt_add(chat_prompt *p, harmony_role role);
/* The text of a message's content: a string, or text parts put together. *text NULL when absent or null. */
bool chat_prompt_content(chat_prompt *p, const json_fields *message, const char **text, size_t *size);
bool chat_prompt_no_memory(api_error *error);
/* An assistant's message; `calls` maps call ids to function names. In chat_prompt_assistant.c. */
bool chat_prompt_assistant(chat_prompt *p, const json_fields *message, json_t *calls);

#endif
