/* A running call of /v1/responses. Internal to responses*.c: responses_endpoint.c starts and ends it, responses_choice.c turns messages into
 * items, responses_stream.c and responses_object.c write them out, responses_routes.c and responses_follow.c answer for what is stored. */
#ifndef RUNTIME_SERVER_RESPONSES_H
#define RUNTIME_SERVER_RESPONSES_H

#include "runtime/server/logprobs.h"
#include "runtime/server/message_choice.h"
#include "runtime/server/responses_items.h"
#include "runtime/server/responses_store.h"

typedef enum responses_kind { RESPONSES_REASONING, RESPONSES_MESSAGE, RESPONSES_CALL } responses_kind;

/* How far an item or a response is. */
typedef enum responses_status {
    RESPONSES_QUEUED,
    RESPONSES_IN_PROGRESS,
    RESPONSES_COMPLETED,
    RESPONSES_INCOMPLETE,
    RESPONSES_FAILED,
    RESPONSES_CANCELLED,
} responses_status;

typedef struct responses_item {
    responses_kind kind;
    responses_status status;
    bool preamble;         /* a message that is not the answer: phase "commentary" */
    char id[RESPONSES_ITEMS_ID];
    char call_id[MESSAGE_CHOICE_CALL_ID];
    char *name;            /* of a call; owned */
    buffer text;           /* or arguments */
    json_writer logprobs;  /* of all its tokens: entries separated by commas */
} responses_item;

/* The one choice. */
typedef struct responses_choice {
    message_choice base;   /* first */
    responses_item *items; /* owned */
    int n_items, room;
    bool open;             /* the last item is being received. Reasoning and preambles begin with their first text: an empty one is nothing */
    bool preamble;         /* the message being received is one */
    bool cut;              /* generation has ended inside it */
    json_writer logprobs;  /* entries of the open item that no delta carried yet */
} responses_choice;

typedef struct responses_generation {
    message_generation base; /* first */
    responses_store *responses; /* the server's, for what may run before the generation knows its server */
    responses_turn *before;  /* a reference; NULL: no previous response */
    buffer input;            /* own items as they are kept; empty when nothing is stored */
    json_writer echo;        /* the fields of the response object that the request decided: ,"key":value... */
    bool store, background, logprobs;
    int32_t end_of_message;  /* the id of <|end|> */
    responses_status status;
    int64_t completed;       /* Unix time; 0: not yet */
    api_error error;         /* with status failed */
    long long sequence_number; /* of the next event */
    bool keeps_events;       /* its stream can be taken up again */
    struct {
        const char *type;
        size_t fields, rest; /* where these begin in the text of the event being written; rest 0: there is none */
        bool last;
    } event;
} responses_generation;

/* Its choice; there is one as soon as it has begun. */
responses_choice *responses_choice_of(const responses_generation *g);

/* ---- responses_choice.c */
extern const message_sink responses_choice_sink;
void responses_choice_token(sequence *q, const ops_token *token, bool stop);
void responses_choice_finish(responses_choice *c);
void responses_choice_close(sequence *q);

/* ---- responses_stream.c: one event each; nothing when nobody listens and none is kept. */
void responses_stream_state(responses_generation *g, const char *type);    /* "response.created" and the like, with the whole response */
void responses_stream_end(responses_generation *g, const char *type);      /* the last of these */
void responses_stream_item(responses_choice *c);                           /* the last item begins */
void responses_stream_delta(responses_choice *c, const char *text, size_t size);
void responses_stream_item_done(responses_choice *c);

/* ---- responses_object.c */
const char *responses_object_status(responses_status state);
/* The fields that the request decides, for `echo`. `effort`: that of the prompt. */
void responses_object_echo(const server *s, const responses_request *request, harmony_effort effort, json_writer *w);
void responses_object_item(const responses_item *item, json_writer *w);
/* {"type":"output_text",...} of a message, {"type":"reasoning_text",...} of reasoning; empty, as it begins, or with what came so far. */
void responses_object_part(const responses_item *item, bool begins, json_writer *w);
/* The items made so far, separated by commas. */
void responses_object_output(const responses_generation *g, json_writer *w);
/* The whole response as it stands. */
void responses_object_write(const responses_generation *g, json_writer *w);

/* ---- responses_follow.c */
/* Answers with the events that are kept from number `first` on, and with those that come. */
void responses_follow(const route_call *call, responses_log *events, long long first);

/* ---- responses_endpoint.c */
/* Ends a background response because somebody asked for it. */
void responses_cancel(responses_generation *g);

#endif
