/* A client of the engine for tests: random requests, what a straight sequential run would answer, and the comparison. */
#ifndef TESTS_ENGINE_ENGINE_CLIENT_H
#define TESTS_ENGINE_ENGINE_CLIENT_H

#include <pthread.h>

#include <stdatomic.h>

#include "runtime/engine/engine.h"
#include "tests/engine/fake_draw.h"
#include "tests/engine/test_random.h"

enum { CLIENT_MAX_IDS = 1024, CLIENT_MAX_VOCAB = 8192 };

typedef struct client_case {
    engine_request request;
    int32_t ids[CLIENT_MAX_IDS];     /* prompt, then what the reference generates */
    uint64_t values[CLIENT_MAX_IDS]; /* of each position */
    int n_expected;                  /* generated tokens */
    engine_finish finish;
    int32_t stop_id;
    int cancel_after;                /* cancel once this many tokens were seen; -1: never */
    struct client_constraint *constraint; /* what request.constraint.user points to, owned by the case; NULL: none */

    uint64_t id;                     /* once submitted */
    int n_scored, n_seen, n_finished;
    engine_event end;                /* its FINISH */
} client_case;

/* A constraint whose masks follow from all ids accepted so far, so that one that is missed, doubled or out of order changes what is drawn. */
typedef struct client_constraint {
    int vocab;
    uint64_t accepted; /* a hash of the ids in their order */
    atomic_int freed;
} client_constraint;

/* The mask after `accepted`: all, one id, a few, all but a few, or half. false: all. */
bool client_constraint_bits(uint64_t accepted, int vocab, uint32_t *bits);
uint64_t client_constraint_next(uint64_t accepted, int32_t id);

typedef struct client_profile {
    int vocab, window, max_model_len;
    int most_prompt, most_tokens;
    int shared_percent; /* prompts that begin like an earlier case */
    int score_percent;  /* prompts whose log-probabilities are wanted */
    int cancel_percent;
    int constrain_percent; /* requests with a constraint */
    int levels;         /* priorities */
} client_profile;

/* Makes case `i` of `cases`, and its answer. */
void client_case_make(client_case *cases, int i, test_random *random, const client_profile *profile);

void client_case_free(client_case *c);

/* ---- running cases in a thread ------------------------------------------------------------------------------------- */

typedef struct client {
    engine *engine;
    client_case *cases;
    int n_cases;
    int most_open;        /* requests open at once */
    int pause_us;         /* at most, between submissions */
    bool same_finish;     /* cancelled cases apart, every FINISH is as the reference says; false: the engine is being stopped */
    uint64_t seed;
    int submitted;
    char problem[512];    /* the first thing that was wrong; empty: nothing */
    pthread_t thread;
} client;

/* Submits the first most_open cases, before it returns, and then the others; checks every event; then shuts the engine down. Call it before
 * engine_run(), and the first step surely has a full batch. */
void client_start(client *c);
/* Waits for the thread; the problem then says what was wrong. */
void client_join(client *c);

/* Checks one event against its case; false and a problem when it is not what must come next. */
bool client_check(client *c, const engine_event *event);
/* Waits up to `seconds` for events and takes some; 0: none came. */
int client_poll(engine *e, engine_event *out, int max, double seconds);

#endif
