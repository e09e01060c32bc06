/* A choice whose tokens are harmony: tokens -> the messages of one assistant's turn. Chat completions and responses share it; what becomes
 * of the messages is their own sink's.
 *
 * Stop strings are looked for in what the client shows its user, so in answers and preambles, not in reasoning nor in arguments. A match
 * spans tokens, not messages.
 */
#ifndef RUNTIME_SERVER_MESSAGE_CHOICE_H
#define RUNTIME_SERVER_MESSAGE_CHOICE_H

#include "runtime/server/chat_request.h"
#include "runtime/server/generation.h"
#include "runtime/text/harmony.h"

typedef struct message_choice message_choice;

/* begin, any number of texts, end; then the next message. Nothing is called once the client is gone. */
typedef struct message_sink {
    /* The header's strings live until the call returns. */
    void (*begin)(message_choice *c, const harmony_header *header);
    /* Whole characters, size > 0; without stop strings and what follows them. */
    void (*text)(message_choice *c, const char *text, size_t size);
    void (*end)(message_choice *c);
} message_sink;

/* Embedded as the first member of an endpoint's own choice. */
struct message_choice {
    sequence base; /* first */
    harmony_parser *parser;
    bool parsed;       /* the assistant's turn is over: what an ignore_eos request generates beyond is not read */
    bool open;         /* between begin and end */
    harmony_kind kind; /* of the message that is open, or was last */
    int n_calls;       /* calls that have begun */
    stop_match stop;   /* over the text of an answer */
    bool failed;       /* memory ended */
};

/* Embedded as the first member of an endpoint's own generation. */
typedef struct message_generation {
    generation base; /* first */
    const message_sink *sink;
    json_t *tools;      /* what `names` borrow from; NULL: none */
    const char **names; /* owned array */
    size_t n_names;
    bool one_call;      /* the turn ends with its first call */
} message_generation;

/* A generation of `size` bytes, zeroed behind its message_generation, for one prompt. Moves what generating needs out of the request, and
 * takes the prompt over; the messages can go. NULL when memory ends. */
message_generation *message_generation_make(size_t size, const generation_entries *entries, const message_sink *sink, chat_request *request,
                                            id_list *prompt);
/* Frees what message_generation_make() added; for generation_entries.close. */
void message_generation_close(message_generation *g);

/* For generation_entries; the endpoint may do something of its own before or after. */
bool message_choice_open(sequence *q);
void message_choice_close(sequence *q);
void message_choice_token(sequence *q, const ops_token *token, bool stop);
/* The end of generation: the last texts, and the end of a message that is open. */
void message_choice_finish(message_choice *c);

/* Whether `id` ends the assistant's turn. */
bool message_choice_ends_turn(const server *s, int32_t id);

/* "call_" and random digits. */
enum { MESSAGE_CHOICE_CALL_ID = 5 + 24 + 1 };
void message_choice_call_id(char out[MESSAGE_CHOICE_CALL_ID]);

#endif
