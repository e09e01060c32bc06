/* One call of a generating endpoint: its sequences in the engine, and the way back of their tokens.
 *
 * An endpoint embeds `generation` and `sequence` as first members of its own structs and gives a table of entries. A generation lives until
 * the engine has said FINISH for each sequence it took, even when the client is long gone. Everything runs on the server's thread.
 */
#ifndef RUNTIME_SERVER_GENERATION_H
#define RUNTIME_SERVER_GENERATION_H

#include "runtime/server/server_internal.h"

typedef struct generation generation;

typedef struct sequence {
    generation *owner;
    int index;           /* of the choice */
    uint64_t id;         /* the engine's */
    bool live;           /* submitted, no FINISH yet */
    bool finished;
    bool ended;          /* nothing more is wanted of it: a stop string was found */
    int stop_string;     /* index into the request's stops, or -1 */
    int32_t stop_id;     /* or -1 */
    engine_finish finish;
    int n_generated, n_reasoning, n_cached;
    double last_token;   /* monotonic seconds */
    json_writer prompt_logprobs; /* of prompt tokens so far, from the second on; empty unless the request wants them */
} sequence;

typedef struct generation_entries {
    const char *id_prefix;  /* "chatcmpl-" */
    bool own_id;            /* the id does not carry the client's X-Request-Id */
    size_t sequence_size;   /* of the endpoint's struct that begins with `sequence` */
    bool (*open_sequence)(sequence *q);                          /* false: no memory; may be NULL */
    void (*begun)(generation *g);                                /* all is submitted, a stream has begun; may be NULL */
    void (*prompt_token)(sequence *q, const ops_token *token);   /* a scored prompt token */
    /* A generated token; `stop`: generation ends after it. May call generation_end_sequence(). */
    void (*token)(sequence *q, const ops_token *token, bool stop);
    void (*finish)(sequence *q);                                 /* after the last token */
    void (*done)(generation *g);                                 /* all have finished: ends the reply */
    /* Instead of done(), where HTTP cannot say it any more: ends a stream, remembers the failure of one without a client. NULL: a stream
     * ends with an event that holds the error. */
    void (*failed)(generation *g, const api_error *error);
    void (*close_sequence)(sequence *q);
    void (*close)(generation *g);                                /* frees what the endpoint added to g, not g itself */
} generation_entries;

struct generation {
    server *server;
    http_exchange *exchange; /* NULL: the client is gone, or has its answer */
    bool keep;               /* goes on without a client, until it is done */
    const generation_entries *entries;
    sampling_params params;  /* owned */
    struct constraint *constraint; /* owned reference; NULL: nothing limits what is drawn */
    id_list *prompts;        /* owned */
    int n_prompts;
    int top_logprobs, prompt_logprobs; /* as engine_request has them; the engine is asked for as many of the prompt as params want, too */
    char id[160];            /* prefix and request id */
    int64_t created;         /* Unix time */
    double arrived;          /* monotonic seconds */
    sequence **sequences;    /* [n_prompts * n], prompt after prompt */
    int n_sequences, n_submitted, n_live, n_finished;
    uint64_t seed;           /* of the first choice */
    json_writer out;         /* scratch: the event or the response being written */
    bool waits;              /* in the server's list of those that wait for room in the queue */
    generation *next_waiting;
};

/* For route_work: `prepared` is a generation, allocated by the endpoint and zero but for entries, params, prompts and the log-probability
 * fields. Submits, and begins the reply when it streams. On failure replies with the error. */
void generation_begin(const route_call *call, void *prepared);
/* Frees one that was not begun. */
void generation_drop(void *prepared);

/* Whether a prompt fits, and min_tokens behind it; otherwise error 400 with the numbers. `field`: "messages" or "prompt". */
bool generation_check_prompt(const server *s, size_t n_prompt, const sampling_params *params, const char *field, api_error *error);

/* An event of the engine whose `user` is a sequence. May free the generation. */
void generation_event(const engine_event *event, double now);

/* Submits for calls that wait for room in the queue. To be called when room may have come, and now and then while any waits. */
void generation_retry(server *s);

/* The sequence's text is complete: a stop string was found. Cancels it in the engine. */
void generation_end_sequence(sequence *q, int stop_string);

/* The head of a stream of events. */
void generation_begin_events(http_exchange *x);
/* Sends `out` and empties it; when memory failed, breaks the reply. */
void generation_send(generation *g);
/* Sends `out` as the whole reply. */
void generation_reply(generation *g);
/* Sends `out` and ends the stream; the first with "data: [DONE]" behind it. */
void generation_end_stream(generation *g);
void generation_close_stream(generation *g);
/* Gives up: cancels all, tells the client. */
void generation_fail(generation *g, const api_error *error);
/* Gives up because somebody asked for it: cancels all, and ends a stream behind `out`. What the engine still says of it is not read. */
void generation_cancel(generation *g);

/* "stop", "length", ... of a finished sequence. */
const char *generation_finish_reason(const sequence *q);
/* ,"stop_reason":... */
void generation_write_stop_reason(const sequence *q, json_writer *w);
/* Tokens of the whole call, or of one sequence so far. A prompt counts once, however many choices it has. */
typedef struct generation_usage {
    long long prompt, completion, reasoning, cached;
} generation_usage;
generation_usage generation_count(const generation *g, const sequence *q);
/* ,"usage":{...} of the whole call, or of one sequence so far. */
void generation_write_usage(const generation *g, const sequence *q, json_writer *w);
/* ,"prompt_logprobs":[null,...] of a sequence; null when they are not wanted. */
void generation_write_prompt_logprobs(const sequence *q, json_writer *w);
/* "id":...,"object":...,"created":...,"model":... */
void generation_write_head(const generation *g, const char *object, json_writer *w);
/* Hex digits from the system's randomness. */
void generation_random_hex(char *out, int digits);

#endif
