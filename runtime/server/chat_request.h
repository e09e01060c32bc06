/* The body of POST /v1/chat/completions and of POST /tokenize with messages: bytes -> checked fields. Pure: no server, no engine. */
#ifndef RUNTIME_SERVER_CHAT_REQUEST_H
#define RUNTIME_SERVER_CHAT_REQUEST_H

#include "runtime/server/sampling_params.h"
#include "runtime/text/harmony.h"

/* How the two APIs write a function, and what else has a type and a description of its own. */
typedef enum chat_tools_form {
    CHAT_TOOLS_NESTED, /* chat: {"type": "function", "function": {"name": ...}} */
    CHAT_TOOLS_FLAT,   /* responses: {"type": "function", "name": ...} */
} chat_tools_form;

/* tool_choice, where tools are offered. */
typedef enum chat_tools_choice {
    CHAT_CHOICE_AUTO,     /* the model may call */
    CHAT_CHOICE_REQUIRED, /* the turn ends with a call */
    CHAT_CHOICE_NAMED,    /* of this function */
} chat_tools_choice;

/* The client's functions. */
typedef struct chat_tools {
    chat_tools_form form; /* as the body had them */
    harmony_tool *items;  /* owned array; its strings borrow from the JSON body */
    const char **names;   /* the same names, for the parser */
    bool *strict;         /* [n] owned: the arguments must be valid by the function's parameters */
    size_t n;
    bool offered;         /* false with tool_choice "none": not shown to the model */
    chat_tools_choice choice;
    size_t named;         /* CHAT_CHOICE_NAMED: which of them */
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
    bool parallel_calls;        /* a turn may hold more than one call */
    bool add_generation_prompt;
    int top_logprobs;           /* -1: no log-probabilities */
    struct constraint *constraint; /* owned reference, set by constraint_of_chat(); NULL: none */
} chat_request;

/* Takes the body over: chat_request_free() drops it, and so does a failure. */
bool chat_request_parse(json_t *body, const request_limits *limits, chat_request *out, api_error *error);
void chat_request_free(chat_request *r);

/* Whether `name` can be a function's name: 1 to 128 bytes that cannot be mistaken for a part of a harmony header. */
bool chat_request_function_name(const char *name);

/* The effort under `key`, the date under "current_date"; absent: *out stays as it is. */
bool chat_request_effort(const json_fields *f, const char *key, chat_request *out);
bool chat_request_date(const json_fields *f, chat_request *out);

/* ---- in chat_tools.c ---------------------------------------------------------------------------------------------- */

/* tools and tool_choice. */
bool chat_tools_parse(const json_fields *body, chat_tools_form form, chat_request *out);
/* The response format: "response_format" of a chat's body, or "format" of a response's "text". */
bool chat_tools_format(const json_fields *owner, chat_tools_form form, chat_request *out);

#endif
