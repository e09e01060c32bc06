/* What the engine's own files share; nobody else includes it. */
#ifndef RUNTIME_ENGINE_ENGINE_INTERNAL_H
#define RUNTIME_ENGINE_ENGINE_INTERNAL_H

#include "runtime/engine/engine.h"
#include "runtime/engine/engine_memory.h"
#include "runtime/engine/engine_queue.h"
#include "runtime/engine/scheduler.h"
#include "runtime/engine/step_plan.h"
#include "runtime/engine/step_runner.h"

enum { ENGINE_MAX_IN_FLIGHT = 2, ENGINE_STAGED_EVENTS = 128 };

/* A sequence in a launched step, and where its results are. */
typedef struct engine_entry {
    sequence *seq;
    int group;
    int first_result;  /* of its group's results: first what it scores, then what it draws */
    int n_scores;
    bool draws;
    bool ends_prompt;  /* nothing is to be drawn after the prompt (max_tokens 0), and this step ends it */
} engine_entry;

/* A launched step. */
typedef struct engine_step {
    engine_entry *entries; /* [groups * slots] */
    int n_entries;
    int tokens;            /* over all groups */
} engine_step;

struct engine {
    world *world;
    model *model;
    bool leads;        /* world rank 0 */
    int max_model_len;
    int blocks[OPS_KV_KINDS]; /* of each pool of each group */
    int group;         /* ours */
    step_plan_limits limits;
    step_runner *runner;
    step_plan_message message;
    engine_memory_watch *memory;

    /* Rank 0 only. */
    sequence_limits request_limits;
    engine_queue *queue;
    scheduler *scheduler;
    engine_step steps[ENGINE_MAX_IN_FLIGHT]; /* in flight, oldest first */
    int n_steps;
    uint32_t *mask_bits;  /* [ops_mask_words(vocab)] what a constraint says */
    int32_t *mask_words;  /* likewise, packed for the message */
    engine_event *staged; /* [ENGINE_STAGED_EVENTS] on their way to the queue */
    int n_staged;
    engine_stats stats;
    void (*on_step)(void *user, int tokens);
    void *on_step_user;
    int shutdowns_seen;
    double drain_deadline; /* CLOCK_MONOTONIC seconds, once draining */
    bool parked;           /* the other ranks sleep */
};

/* CLOCK_MONOTONIC seconds. */
double engine_now(void);

/* ---- engine_message.c: plans between the ranks ------------------------------------------------------------------- */

/* Rank 0: completes e->message and broadcasts it, waking the ranks first if they are parked. */
status engine_message_send(engine *e, status_detail *detail);
/* Rank 0: a message of a kind without body. */
status engine_message_send_kind(engine *e, step_plan_kind kind, status_detail *detail);
/* Other ranks: the next message, read for our group; it points into e->message. */
status engine_message_receive(engine *e, step_plan *out, status_detail *detail);
/* Rank 0: tells the other ranks to leave because of `code`. As far as that is still possible. */
void engine_message_send_error(engine *e, status code, const char *text);

/* ---- engine_step.c: from decisions to a plan, from results to events ----------------------------------------------- */

/* Writes what the scheduler decided into e->message and the next of e->steps. */
void engine_step_write(engine *e, int tokens);
/* Applies the results of the oldest step, just retired by the runner: events, ends, freed sequences. */
status engine_step_commit(engine *e, status_detail *detail);
/* Ends a request that did not finish by itself. */
status engine_step_end(engine *e, sequence *seq, engine_finish reason, status_detail *detail);
/* Hands staged events to the queue. */
status engine_step_flush(engine *e, status_detail *detail);
/* After a failure: gives up the steps in flight and ends every request with `reason`, as far as memory goes. */
void engine_step_abandon(engine *e, engine_finish reason);

/* ---- engine_loop.c ------------------------------------------------------------------------------------------------ */

/* The loops that engine_run() is made of. */
status engine_loop_lead(engine *e, status_detail *detail);
status engine_loop_follow(engine *e, status_detail *detail);

#endif
