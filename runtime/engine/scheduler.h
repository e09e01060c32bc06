/* What each sequence does in the next step: a pure policy over the waiting and running requests and the KV caches of all data-parallel
 * groups. Touches no device, no clock, no thread.
 *
 * Within a group sequences are ordered by priority, then age. A step takes decodes first, then prompt chunks, each in that order, up to
 * max_tokens; then the head of the waiting queue while slots, tokens and blocks suffice. Who finds no block preempts the last in order,
 * never one before itself: so the first always gets on, and every request finishes. A preempted sequence waits at its old place and
 * is computed anew. Waiting ones never preempt running ones, and nobody overtakes the head of the queue.
 *
 * A step goes: scheduler_step(); read groups[].step; launch; scheduler_launched(). Once its results are read: scheduler_retire() for each
 * sequence in it. At most `depth` + 1 steps are under way.
 */
#ifndef RUNTIME_ENGINE_SCHEDULER_H
#define RUNTIME_ENGINE_SCHEDULER_H

#include "runtime/engine/kv_cache.h"
#include "runtime/engine/sequence.h"

typedef struct scheduler_shape {
    int groups;
    int slots;           /* sequences that one group runs at once; at most max_tokens, so that every decode fits in a step */
    int max_tokens;      /* of one group's step */
    int max_model_len;   /* a sequence of this length must fit in a group's empty cache */
    int max_sequences;   /* waiting and running together, over all groups */
    kv_shape kv;         /* of each group */
} scheduler_shape;

typedef struct scheduler_group {
    kv_cache *kv;
    sequence **running;  /* [slots] first in order first */
    int n_running;
    int32_t *free_slots; /* [slots] a stack */
    int n_free_slots;
    int32_t *tables;     /* [slots][OPS_KV_KINDS][blocks of the longest sequence] */
    sequence **step;     /* [slots] who takes part in the step, with step_tokens > 0 */
    int n_step;
    int step_tokens;     /* sum over `step` */
    /* While a step is made: */
    int budget;          /* tokens left */
    bool preempted;      /* somebody lost its blocks: no admissions */
    int promised;        /* full blocks that running sequences still need for the tokens they have */
    int64_t load;        /* in tokens; see choose_group() */
} scheduler_group;

typedef struct scheduler {
    scheduler_shape shape;
    int max_blocks;      /* of the longest sequence */
    scheduler_group *groups; /* [shape.groups] */
    sequence **waiting;  /* [shape.max_sequences] binary heap, the first in order on top */
    int n_waiting;
    int prompt_limit;    /* tokens of prompts that one group's step may hold at present */
    uint64_t preemptions, prefix_queries, prefix_hits, recomputed; /* the last three in tokens */
} scheduler;

status scheduler_open(const scheduler_shape *shape, scheduler **out, status_detail *detail);
void scheduler_close(scheduler *s); /* frees no sequences; NULL is allowed */

/* A new request waits. There is room for shape.max_sequences. */
void scheduler_add(scheduler *s, sequence *seq);

/* From the next step on no group computes more than `tokens` (at least 1) tokens of prompts in a step; decodes are as many as ever. At first
 * shape.max_tokens, which is also the most. */
void scheduler_limit_prompts(scheduler *s, int tokens);

/* Decides a step. Returns its tokens over all groups; 0: nothing can be done before a step in flight is retired, or at all. */
int scheduler_step(scheduler *s);
/* The step was handed to the ranks: what it computes counts as computed. Call even when scheduler_step() gave 0. */
void scheduler_launched(scheduler *s);
/* A step in flight that held `seq` is over. True when the caller shall free it. */
bool scheduler_retire(scheduler *s, sequence *seq);

/* `seq`, not yet finished, does nothing any more. Its blocks are free at once, or once no step in flight uses them. True when the caller
 * shall free it now; otherwise a later scheduler_retire() says so. */
bool scheduler_finish(scheduler *s, sequence *seq);

int scheduler_running(const scheduler *s); /* over all groups */
/* Some unfinished sequence, running or waiting; NULL: there is none. */
sequence *scheduler_any(const scheduler *s);
/* Share of the full-attention blocks of all groups that sequences hold. */
double scheduler_kv_usage(const scheduler *s);

#endif
