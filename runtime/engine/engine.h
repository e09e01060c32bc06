/* The engine: requests in, tokens out. Continuous batching over a paged KV cache, one broadcast step plan per step.
 *
 * Knows no HTTP and no harmony: token ids only. Every rank runs engine_run() on the thread that opened the world; on rank 0 another
 * thread (the server's) submits, cancels and polls. Functions marked [any thread] may be called from any thread of rank 0.
 */
#ifndef RUNTIME_ENGINE_ENGINE_H
#define RUNTIME_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/comm.h"
#include "kernels/ops.h"
#include "runtime/base/settings.h"
#include "runtime/base/status.h"
#include "runtime/model/model.h"

typedef struct engine engine;

enum { ENGINE_MAX_STOP_IDS = OPS_MAX_SUPPRESSED };

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* What a request's next token may be, decided by its owner token by token; the engine knows no grammars. All calls come from rank 0's engine
 * loop, one at a time, but for free(), which may come from any thread. A token is drawn only when the one before was accepted, so a request
 * with a constraint does not run a step ahead; others are not held up by it. */
typedef struct engine_constraint {
    void *user;
    /* The ids that may be drawn next, into bits [words] as ops_batch has them, all 0 before; words is ops_mask_words() of the model's vocabulary.
     * false: all may, and `bits` is not read. With no bit set id 0 is drawn. NULL: there is no constraint. */
    bool (*mask)(void *user, uint32_t *bits, size_t words);
    /* `id` was drawn: once for every generated token, in order, preemptions or not. */
    void (*accept)(void *user, int32_t id);
    /* The last call, once a submitted request is forgotten: at or some steps after its FINISH. */
    void (*free)(void *user);
} engine_constraint;

typedef struct engine_request {
    const int32_t *prompt;      /* at least one id; copied */
    int n_prompt;
    int max_tokens;             /* tokens to generate at most; 0: only run (and score) the prompt. prompt + max_tokens is cut to max_model_len */
    ops_sampling sampling;      /* seed, min_tokens included; suppressed ids are filled in by the engine */
    int32_t stop_ids[ENGINE_MAX_STOP_IDS]; /* generation ends after one of these */
    int n_stop_ids;
    bool ignore_stop;           /* generate on past stop ids (ignore_eos) */
    int top_logprobs;           /* per generated token; -1: no log-probabilities */
    int prompt_logprobs;        /* per prompt token; -1: none. Such a request does not use the prefix cache for reading. */
    int priority;               /* lower runs first; equal: first come first served */
    engine_constraint constraint; /* zeroed: none. The engine's once engine_submit() has said STATUS_OK, otherwise still the caller's. */
    void *user;                 /* comes back in every event */
} engine_request;

/* What a number of ops_sampling may be, both ends included. This table alone says so: a server checks by it what clients send. */
typedef struct engine_range {
    const char *name; /* of the field, here and in the API */
    size_t offset;    /* of the float in ops_sampling */
    float min, max;
} engine_range;

/* [any thread] Rows of static life; *n is how many. */
const engine_range *engine_sampling_ranges(int *n);

typedef enum engine_finish {
    ENGINE_FINISH_STOP,      /* a stop id */
    ENGINE_FINISH_LENGTH,    /* max_tokens or max_model_len */
    ENGINE_FINISH_CANCELLED, /* engine_cancel, or shutdown past its drain time */
    ENGINE_FINISH_ERROR,     /* the engine failed; detail in the log */
} engine_finish;

typedef enum engine_event_kind {
    ENGINE_EVENT_PROMPT, /* one per prompt token that was scored, from the second on, before the first token; only with prompt_logprobs >= 0 */
    ENGINE_EVENT_TOKEN,  /* a generated token (the stop id included) */
    ENGINE_EVENT_FINISH, /* always the last event of a request, exactly one */
} engine_event_kind;

typedef struct engine_event {
    engine_event_kind kind;
    uint64_t request;
    void *user;
    ops_token token;        /* PROMPT, TOKEN; without log-probabilities only id is set */
    engine_finish finish;   /* FINISH */
    int32_t stop_id;        /* FINISH with STOP: which; else -1 */
    int n_prompt;           /* FINISH: prompt tokens */
    int n_cached;           /* FINISH: prompt tokens that the prefix cache gave */
    int n_generated;        /* FINISH */
    double submitted, scheduled, first_token, finished; /* FINISH: CLOCK_MONOTONIC seconds; 0 where it never came to that */
} engine_event;

/* ---- life ------------------------------------------------------------------------------------------------------- */

typedef struct engine_options {
    int max_model_len;       /* 0: the model's limit, or what the KV cache holds if less */
    int max_sequences;       /* per data-parallel group; as given to model_open */
    int max_tokens_per_step; /* per group; as given to model_open */
    int64_t kv_cache_bytes;  /* per rank; 0: chosen from free memory */
    bool prefix_cache;
    int max_queue;           /* waiting requests */
} engine_options;

/* Collective. Sizes and takes the KV cache. Keeps `w` and `m`, which must outlive it. */
status engine_open(world *w, model *m, const engine_options *options, engine **out, status_detail *detail);
void engine_close(engine *e);

int engine_max_model_len(const engine *e);
int64_t engine_kv_tokens(const engine *e); /* tokens of full-attention KV cache over all groups */

/* The loop of this rank; returns when the job is shut down or failed. Collective. After a failure rank 0, or the rank whose step failed, has its status;
 * a rank that only heard of it has STATUS_PEER. Others may still wait inside a collective of the step: end the job, do not agree first. */
status engine_run(engine *e, status_detail *detail);

/* [any thread, rank 0; async-signal-safe] Ends engine_run: no new requests; what runs may go on for `drain_seconds`, then it is cancelled. A second call
 * cuts at once. Both take effect between two steps; after the first call steps are kept short. */
void engine_shutdown(engine *e, double drain_seconds);

/* ---- rank 0's other thread --------------------------------------------------------------------------------------- */

/* [any thread] Queues a request. STATUS_INVALID: empty prompt, ids outside the vocabulary, prompt not shorter than max_model_len (equal is allowed
 * for max_tokens 0), bad sampling values; STATUS_BUSY: the queue is full, or the engine is shutting down. */
status engine_submit(engine *e, const engine_request *request, uint64_t *id, status_detail *detail);

/* [any thread] Frees its sequence within a step. The FINISH event still comes, unless it came already. Unknown ids are ignored. */
void engine_cancel(engine *e, uint64_t id);

/* A file descriptor that is readable while events wait (an eventfd). */
int engine_event_fd(const engine *e);
/* [one thread] Takes up to `max` events, in the order of each request's life; never blocks. Returns how many. */
int engine_poll(engine *e, engine_event *out, int max);

/* ---- figures ---------------------------------------------------------------------------------------------------- */

typedef struct engine_stats {
    int running, waiting;
    double kv_usage;                 /* 0..1, blocks in use by sequences, full-attention pool */
    uint64_t prompt_tokens, generated_tokens, preemptions, steps;
    uint64_t prefix_queries, prefix_hits; /* tokens */
    uint64_t prompt_tokens_recomputed;
    bool alive;                      /* false once engine_run has failed */
    bool draining;
} engine_stats;

/* [any thread] */
void engine_get_stats(const engine *e, engine_stats *out);

/* A rank's device and its memory. Flat: it travels between ranks. */
enum { ENGINE_DEVICE_NAME = 32 };
typedef struct engine_memory {
    char device[ENGINE_DEVICE_NAME]; /* "cuda:0", with the number that it has on its host; "cpu" */
    int64_t used, total;             /* bytes, as ops_memory */
    int64_t weights, kv_cache;       /* bytes that this rank takes for them. On the CPU what was never touched is not among those used */
} engine_memory;

int engine_ranks(const engine *e);
/* [any thread] How the memory of a rank is, as it was a few seconds ago. Never waits. false: it is not known: the backend does not tell, the rank has not said it
 * yet, or not for a minute. On rank 0; elsewhere false. */
bool engine_get_memory(const engine *e, int rank, engine_memory *out);

/* Observer of step sizes for the iteration_tokens histogram: called on the engine's thread after each step with the tokens it held. NULL: none. */
void engine_on_step(engine *e, void (*fn)(void *user, int tokens), void *user);

#endif
