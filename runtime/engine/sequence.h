/* One request and how far it has come. Made on the submitting thread, then owned by rank 0's engine loop.
 *
 * Token counts: `n_ids` are known (prompt and generated ones that were read back), `pending` more were drawn by steps still in flight
 * and are known to the device alone; their places in `ids` hold -1. `computed` counts the positions whose keys and values are in the
 * cache, or will be once the launched steps are done.
 */
#ifndef RUNTIME_ENGINE_SEQUENCE_H
#define RUNTIME_ENGINE_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/engine/engine.h"
#include "runtime/engine/kv_cache.h"

typedef enum sequence_state {
    SEQUENCE_WAITING,  /* new or preempted: no slot, no blocks */
    SEQUENCE_RUNNING,  /* has a slot of its group */
    SEQUENCE_FINISHED, /* its FINISH event is out; slot and blocks stay until no step in flight uses them */
} sequence_state;

typedef struct sequence sequence;
struct sequence {
    /* What was asked; fixed. */
    uint64_t id;
    void *user;
    int priority;
    int n_prompt, max_tokens; /* max_tokens already cut to max_model_len */
    ops_sampling sampling;    /* suppressed filled in */
    int32_t stop_ids[ENGINE_MAX_STOP_IDS];
    int n_stop_ids;
    bool ignore_stop;
    int top_logprobs, prompt_logprobs;
    engine_constraint constraint; /* owned */

    /* Tokens. */
    int32_t *ids;    /* [n_prompt + max_tokens] owned */
    kv_hash *hashes; /* [(n_prompt + max_tokens) / block_tokens] owned; NULL without a prefix cache */
    kv_hash hash_key;
    int block_tokens;
    int n_ids, pending, n_hashes;

    /* The scheduler's. */
    sequence_state state;
    int group, slot;   /* while it holds a slot, else -1 */
    kv_holding kv;
    int computed;
    int scored;        /* prompt tokens whose log-probability was launched, counted from the second token */
    int inflight;      /* steps launched and not yet retired that hold it */
    int high_water;    /* the most `computed` ever was: below it, computing again is the price of a preemption */
    int step_tokens;   /* tokens of it in the step being made */
    bool begins;       /* its slot is set up in the step being made */
    int told_blocks;   /* leading logical blocks that the ranks know of */
    int n_cached;      /* prompt tokens that the prefix cache gave when it first ran */
    bool started;      /* it ran once */
    int queue_index;   /* in the scheduler's heap of waiting ones, else -1 */

    /* engine_queue's; under its lock. */
    sequence *next_by_id;                  /* same bucket of the id table */
    sequence *next_inbox;
    sequence *next_cancel, *prev_cancel;
    bool cancelled, in_cancel_list;

    double submitted, scheduled, first_token; /* CLOCK_MONOTONIC seconds; 0: not yet */
};

typedef struct sequence_limits {
    int vocab;
    int max_model_len;
    int block_tokens;
    bool prefix_cache;
    kv_hash hash_key;
} sequence_limits;

/* Checks a request and copies it. STATUS_INVALID as engine_submit() says; STATUS_BUSY when there is no memory for it. */
status sequence_create(const engine_request *request, const sequence_limits *limits, sequence **out, status_detail *detail);
void sequence_free(sequence *s); /* NULL is allowed */

/* Tokens, known or pending. */
static inline int sequence_total(const sequence *s) { return s->n_ids + s->pending; }
/* Generated tokens, known or pending. */
static inline int sequence_drawn(const sequence *s) { return s->n_ids - s->n_prompt + s->pending; }

/* Tokens that are there and still to compute; the last token a sequence may draw is never computed. */
int sequence_remaining(const sequence *s);
/* Whether computing `n` more tokens lets it draw one. */
bool sequence_draws(const sequence *s, int n);
/* Prompt tokens that can be scored when the next `n` tokens are computed; *first_row is the first of these n that scores. */
int sequence_scores(const sequence *s, int n, int *first_row);
/* The longest prefix that may come from the cache: the last token is always computed, and so is all that has to be scored. */
int sequence_reusable(const sequence *s);
/* Whether `a` runs before `b`: priority, then the order of submission. */
bool sequence_before(const sequence *a, const sequence *b);

/* A drawn id was read back: it takes the place of the first pending one. */
void sequence_append(sequence *s, int32_t id);
/* Whether `id`, just appended, ends the sequence; *reason and *stop_id then say how. */
bool sequence_ends(const sequence *s, int32_t id, engine_finish *reason, int32_t *stop_id);
/* Whether its draws depend on the ids before. */
bool sequence_penalised(const sequence *s);
/* Whether it sits out steps until what it drew is read: its constraint must know each token before the next is drawn. */
bool sequence_waits(const sequence *s);

#endif
