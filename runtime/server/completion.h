/* A running call of /v1/completions. Internal to completion*.c. */
#ifndef RUNTIME_SERVER_COMPLETION_H
#define RUNTIME_SERVER_COMPLETION_H

#include "runtime/server/generation.h"
#include "runtime/server/logprobs.h"
#include "runtime/text/utf8.h"

typedef struct completion_choice {
    sequence base; /* first */
    utf8_stream utf8;
    stop_match stop;
    buffer text;             /* not sent yet; not streaming: the whole answer */
    logprobs_lists logprobs; /* not sent yet */
    bool begun;              /* the echo has been put into text */
    double likelihood;       /* sum of the tokens' log-probabilities, where they are known */
    size_t characters;       /* of text so far, held back ones included */
    int n_scored;            /* prompt tokens in logprobs */
    bool failed;             /* memory ended */
} completion_choice;

typedef struct completion_generation {
    generation base; /* first */
    bool echo;
    int logprobs; /* top log-probabilities in the answer; -1: none */
    int shown;    /* choices of each prompt in the answer: the likeliest */
} completion_generation;

/* completion_choice.c */
void completion_choice_prompt_token(sequence *q, const ops_token *token);
void completion_choice_token(sequence *q, const ops_token *token, bool stop);
void completion_choice_finish(completion_choice *c);
void completion_choice_close(sequence *q);

/* completion_response.c */
void completion_stream_text(completion_choice *c); /* an event with what is not sent yet, if there is any */
void completion_stream_finish(completion_choice *c);
void completion_stream_done(generation *g);
void completion_response_done(generation *g);

#endif
