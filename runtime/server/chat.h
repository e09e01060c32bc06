/* A running call of /v1/chat/completions. Internal to chat*.c: chat_endpoint.c starts it, chat_choice.c turns tokens into pieces of text,
 * chat_stream.c and chat_response.c write them out. */
#ifndef RUNTIME_SERVER_CHAT_H
#define RUNTIME_SERVER_CHAT_H

#include "runtime/server/generation.h"
#include "runtime/server/logprobs.h"
#include "runtime/text/harmony.h"

typedef enum chat_field { CHAT_REASONING, CHAT_CONTENT, CHAT_FIELDS } chat_field;

typedef struct chat_call {
    char id[32];      /* "call_..." */
    char *name;       /* owned */
    buffer arguments; /* not streaming only */
} chat_call;

/* One choice. */
typedef struct chat_choice {
    sequence base; /* first */
    harmony_parser *parser;
    bool parsed;              /* the assistant's turn is over: what an ignore_eos request generates beyond is not read */
    /* the message being received */
    bool open, is_call;
    chat_field field;
    bool separator;           /* before its first text: an earlier message filled the same field */
    stop_match stop;          /* over the text of a content message */
    /* what came so far */
    bool seen[CHAT_FIELDS];
    buffer texts[CHAT_FIELDS]; /* not streaming only */
    chat_call *calls;
    int n_calls;
    json_writer logprobs;     /* entries that are not sent yet */
    bool role_sent;
    bool failed;              /* memory ended */
} chat_choice;

typedef struct chat_generation {
    generation base; /* first */
    json_t *tools;       /* what `names` borrow from; NULL: none */
    const char **names;  /* owned array */
    size_t n_names;
    bool include_reasoning;
} chat_generation;

extern const generation_entries chat_entries;

/* chat_choice.c */
bool chat_choice_open(sequence *q);
void chat_choice_close(sequence *q);
void chat_choice_token(sequence *q, const ops_token *token, bool stop);
/* The last texts; after it nothing more comes. */
void chat_choice_finish(chat_choice *c);
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
