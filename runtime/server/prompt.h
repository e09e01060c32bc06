/* A conversation as harmony messages, put together from pieces; whose API the pieces come from is not known here. Pure: the result is
 * rendered by harmony_render().
 *
 * The one system message is the server's own. Leading system and developer texts become the developer message, which also carries the tools
 * and the response format; later ones keep their place. A tool's result only names the id of its call, so calls are remembered.
 */
#ifndef RUNTIME_SERVER_PROMPT_H
#define RUNTIME_SERVER_PROMPT_H

#include "runtime/server/chat_request.h"

typedef struct prompt_memory prompt_memory;

typedef struct prompt_messages {
    harmony_message *messages; /* owned; texts borrow from the request or from `memory` */
    size_t n, capacity;
    harmony_system system;
    harmony_namespace functions;
    prompt_memory *memory;     /* strings made here, all freed together */
} prompt_messages;

void prompt_free(prompt_messages *p);

/* A prompt being built. Every function below returns false when memory ends, with *error set; or for the reason it names. */
typedef struct prompt_builder {
    prompt_messages prompt;
    const chat_request *request;
    api_error *error;
    json_t *calls;       /* id of a tool call -> function name */
    buffer instructions; /* of the run of system and developer texts being read */
    bool developer_done; /* the developer message with the tools is there */
} prompt_builder;

/* Begins with the system message. `request` gives tools, response format, effort and date; its messages are not looked at. `today` is
 * YYYY-MM-DD. Keeps all three pointers. Must be followed by prompt_end(), whether it succeeds or not. */
bool prompt_begin(prompt_builder *b, const chat_request *request, const char *today, api_error *error);

/* A system or developer text. "Reasoning: high" in it sets the effort, unless the request does. */
bool prompt_instructions(prompt_builder *b, const char *text, size_t size);
/* The texts of these are kept as pointers. */
bool prompt_user(prompt_builder *b, const char *text, size_t size);
/* `channel`: "analysis", "commentary" (a preamble) or "final"; kept as a pointer. */
bool prompt_assistant(prompt_builder *b, const char *channel, const char *text, size_t size);
/* `id` may be NULL. `name` must be a function's name. */
bool prompt_call(prompt_builder *b, const char *id, const char *name, const char *arguments, size_t size);
/* The function that an earlier call with this id was for, or NULL. */
const char *prompt_called(const prompt_builder *b, const char *id);
/* What function `name` answered. */
bool prompt_result(prompt_builder *b, const char *name, const char *text, size_t size);

/* Ends building. `good`: all went well; then *out is the prompt, unless memory ends. Otherwise *out is empty, and false is returned. */
bool prompt_end(prompt_builder *b, bool good, prompt_messages *out);

/* Memory that lives as long as the prompt; NULL when memory ends. */
void *prompt_take(prompt_builder *b, size_t size);
bool prompt_no_memory(api_error *error);

/* ---- reading JSON into texts ------------------------------------------------------------------------------------- */

/* A type of content part, and the key of its text. A list ends with {NULL, NULL}. */
typedef struct prompt_part {
    const char *type, *key;
} prompt_part;
extern const prompt_part prompt_message_parts[];

/* A text under `key`: a string, or parts put together. *text NULL when absent or null. A part of another type is an error that names it. */
bool prompt_text(prompt_builder *b, const json_fields *object, const char *key, const prompt_part *parts, const char **text, size_t *size);
/* The same; absent or null is an error. */
bool prompt_text_required(prompt_builder *b, const json_fields *object, const char *key, const char **text, size_t *size);
/* Arguments of a call under "arguments": a string of JSON, or, as some clients send it, the object itself. Absent: "". */
bool prompt_arguments(prompt_builder *b, const json_fields *object, const char **text, size_t *size);

#endif
