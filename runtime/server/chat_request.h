/* The body of POST /v1/chat/completions and of POST /tokenize with messages: bytes -> checked fields. Pure: no server, no engine. */
#ifndef RUNTIME_SERVER_CHAT_REQUEST_H
#define RUNTIME_SERVER_CHAT_REQUEST_H

#include "runtime/server/sampling_params.h"
#include "runtime/text/harmony.h"

/* The client's functions. */
typedef struct chat_tools {
    harmony_tool *items;  /* owned array; its strings borrow from the JSON body */
    const char **names;   /* the same names, for the parser */
    size_t n;
    bool offered;         /* false with tool_choice "none": not shown to the model */
} chat_tools;

typedef struct chat_request {
    json_t *body;               /* owned; everything below that is borrowed points into it */
    const char *model;          /* NULL: not given */
    sampling_params params;
    const json_t *messages;     /* array, not empty */
    chat_tools tools;
    const json_t *schema_format; /* response_format: its json_schema object; NULL: none */
    bool json_object;           /* response_format json_object */
    bool has_effort;
    harmony_effort effort;      /* from reasoning_effort; has_effort false: messages or the default decide */
    const char *date;           /* current_date, YYYY-MM-DD; NULL: today */
    bool include_reasoning;
    bool add_generation_prompt;
    int top_logprobs;           /* -1: no log-probabilities */
} chat_request;

/* Takes the body over: chat_request_free() drops it, and so does a failure. */
bool chat_request_parse(json_t *body, const request_limits *limits, chat_request *out, api_error *error);
void chat_request_free(chat_request *r);

/* Whether `name` can be a function's name: 1 to 128 bytes that cannot be mistaken for a part of a harmony header. */
bool chat_request_function_name(const char *name);

/* tools, tool_choice and response_format; in chat_tools.c. */
bool chat_tools_parse(const json_fields *body, chat_request *out);

#endif
