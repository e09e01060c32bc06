/* The one broadcast message of a step: what every data-parallel group does, or that the ranks shall park or leave.
 *
 * Flat words of 32 bits in the machine's own order (all ranks run the same program). A head of fixed size comes first, then one part per
 * group: its slots to set up (begins), then its sequences (runs). Block tables travel as what is new in them; each rank keeps
 * the rest (step_runner.h). The first STEP_PLAN_HEAD_BYTES go in one broadcast, which holds a whole step of decodes in most cases; a
 * longer message's rest goes in a second one.
 *
 * Reading trusts nothing: every count, id and offset is checked against the limits, so any bytes give a plan or STATUS_INTERNAL.
 */
#ifndef RUNTIME_ENGINE_STEP_PLAN_H
#define RUNTIME_ENGINE_STEP_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/ops.h"
#include "runtime/base/status.h"

enum { STEP_PLAN_HEAD_BYTES = 2048, STEP_PLAN_TEXT = 512, STEP_PLAN_MAX_GROUPS = 4096 };

typedef enum step_plan_kind {
    STEP_PLAN_STEP = 1, /* without tokens anywhere: only read what is in flight */
    STEP_PLAN_PARK,
    STEP_PLAN_SHUTDOWN,
    STEP_PLAN_ERROR, /* rank 0 has failed: leave with its status */
} step_plan_kind;

/* A slot starts a sequence; see ops.h slot_begin. */
typedef struct step_plan_begin {
    int slot;
    ops_sampling sampling; /* entries past its counts are undefined */
    const int32_t *ids;    /* [n_ids] */
    int n_ids, n_generated; /* n_ids 0: no penalty is on, the ids were not sent */
} step_plan_begin;

/* Which ids may be drawn, in the form that takes least room. */
typedef enum step_plan_mask_kind {
    STEP_PLAN_MASK_NONE,  /* all */
    STEP_PLAN_MASK_ALLOW, /* ids */
    STEP_PLAN_MASK_DENY,  /* all but ids */
    STEP_PLAN_MASK_BITS,  /* as ops_batch.masks has it */
} step_plan_mask_kind;

typedef struct step_plan_mask {
    step_plan_mask_kind kind;
    int n;                /* ids, or words of bits */
    const int32_t *words; /* [n] */
} step_plan_mask;

/* A sequence's part of the step. */
typedef struct step_plan_run {
    int slot;
    int position;          /* of the first token */
    int n_tokens;
    const int32_t *tokens; /* [n_tokens]; -1: the id last drawn in the slot */
    int first_block, n_blocks; /* logical blocks that are new since the slot's last run: first_block is what it had then */
    const int32_t *blocks[OPS_KV_KINDS]; /* [n_blocks] physical; -1 only before sliding_first, in the sliding table */
    int sliding_first;     /* logical blocks before this are given back in the sliding table */
    int score_first, n_scores; /* rows of the run that score a given id ... */
    const int32_t *targets;    /* [n_scores] ... namely these */
    int score_top;
    bool draws;            /* the last row draws a token */
    int draw_top;
    int generated;         /* tokens generated before the one drawn */
    step_plan_mask mask;   /* of the one drawn */
} step_plan_run;

/* Bounds that the engine was opened with. */
typedef struct step_plan_limits {
    int groups;
    int slots, max_tokens;    /* per group */
    int vocab, max_model_len;
    int block_tokens;
    int blocks[OPS_KV_KINDS]; /* of each pool */
} step_plan_limits;

/* ---- masks ------------------------------------------------------------------------------------------------------ */

/* The mask of bits [ops_mask_words(vocab)], in `words`, which has as much room; bits past the vocabulary are ignored. In step_plan_mask.c. */
step_plan_mask step_plan_mask_pack(const uint32_t *bits, int vocab, int32_t *words);
/* bits [ops_mask_words(vocab)] of a mask whose ids are of the vocabulary; not for NONE. */
void step_plan_mask_unpack(const step_plan_mask *mask, int vocab, uint32_t *bits);

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* A growable message; zeroed it is empty. */
typedef struct step_plan_message {
    int32_t *words;
    size_t count, capacity; /* words; capacity is at least STEP_PLAN_HEAD_BYTES worth, zeroed past count there */
    bool failed;            /* memory ran out while writing */
    int group;              /* being written */
} step_plan_message;

void step_plan_message_free(step_plan_message *m);
/* Room for `bytes`, so that a message can be received into it. */
status step_plan_reserve(step_plan_message *m, size_t bytes, status_detail *detail);

/* Starts a message of `kind`; parts for `groups` groups may follow. */
void step_plan_start(step_plan_message *m, step_plan_kind kind, uint64_t step, int groups);
/* Starts the next group's part: all its begins, then all its runs. */
void step_plan_add_group(step_plan_message *m);
void step_plan_add_begin(step_plan_message *m, const step_plan_begin *begin);
void step_plan_add_run(step_plan_message *m, const step_plan_run *run);
/* For ERROR: why. */
void step_plan_add_error(step_plan_message *m, status code, const char *text);
/* Completes the head. STATUS_MACHINE when memory ran out on the way. */
status step_plan_finish(step_plan_message *m, status_detail *detail);

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* One group's part of a message, checked. */
typedef struct step_plan_part {
    const int32_t *at, *end; /* what is left to read */
    int begins_left, runs_left;
    int n_tokens, n_runs, n_logit_rows; /* of the whole part */
} step_plan_part;

typedef struct step_plan {
    step_plan_kind kind;
    uint64_t step;
    int max_group_tokens;     /* the largest n_tokens of any part */
    int max_group_logit_rows; /* likewise */
    bool wants_logprobs;      /* whether any row of any part does */
    step_plan_part mine;      /* the part of the group asked for */
    status error;             /* ERROR */
    char text[STEP_PLAN_TEXT];
} step_plan;

/* Bytes of the whole message, from its first STEP_PLAN_HEAD_BYTES. */
status step_plan_size(const void *head, size_t size, size_t *bytes, status_detail *detail);
/* Checks the head and the part of `group`, all of it. The plan points into `data`, which is aligned for int32_t and outlives it. */
status step_plan_read(const void *data, size_t size, const step_plan_limits *limits, int group, step_plan *out, status_detail *detail);
/* The next begin of a checked part; false: there is none left. */
bool step_plan_next_begin(step_plan_part *part, const step_plan_limits *limits, step_plan_begin *out);
/* The next run, after all begins; false: there is none left. */
bool step_plan_next_run(step_plan_part *part, const step_plan_limits *limits, step_plan_run *out);

#endif
