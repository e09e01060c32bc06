/* A running call of /v1/chat/completions. Internal to chat*.c: chat_endpoint.c starts it, chat_choice.c turns messages into reasoning,
 * content and calls, chat_stream.c and chat_response.c write them out. */
#ifndef RUNTIME_SERVER_CHAT_H
#define RUNTIME_SERVER_CHAT_H

#include "runtime/server/logprobs.h"
#include "runtime/server/message_choice.h"

typedef enum chat_field { CHAT_REASONING, CHAT_CONTENT, CHAT_FIELDS } chat_field;

typedef struct chat_call {
    char id[MESSAGE_CHOICE_CALL_ID];
    char *name;       /* owned */
    buffer arguments; /* not streaming only */
} chat_call;

/* One choice. */
typedef struct chat_choice {
    message_choice base; /* first */
    /* the message being received */
    chat_field field;
    bool separator;      /* before its first text: an earlier message filled the same field */
    /* what came so far */
    bool seen[CHAT_FIELDS];    /* a message for it has begun */
    bool filled[CHAT_FIELDS];  /* and has had text */
    buffer texts[CHAT_FIELDS]; /* not streaming only */
    chat_call *calls;
    int n_calls;
    json_writer logprobs;      /* entries that are not sent yet */
    bool role_sent;
} chat_choice;

typedef struct chat_generation {
    message_generation base; /* first */
    bool include_reasoning;
    bool named; /* the request names the function: its call is no "tool_calls" */
} chat_generation;

extern const generation_entries chat_entries;

/* chat_choice.c */
extern const message_sink chat_choice_sink;
void chat_choice_close(sequence *q);
void chat_choice_token(sequence *q, const ops_token *token, bool stop);
const char *chat_choice_finish_reason(const chat_choice *c);

/* chat_stream.c: one event each. */
void chat_stream_text(chat_choice *c, chat_field field, const char *text, size_t size);
void chat_stream_call(chat_choice *c);
void chat_stream_arguments(chat_choice *c, const char *text, size_t size);
void chat_stream_finish(chat_choice *c);
void chat_stream_done(generation *g);

/* chat_response.c: the whole answer. */
void chat_response_done(generation *g);

#endif
