#include "runtime/engine/step_runner.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/engine/slot_tables.h"

enum { MAX_IN_FLIGHT = 2, REPORT_TEXT = 252 };

/* What every rank tells rank 0 about a step where there are several groups, followed by its results. */
typedef struct report {
    int32_t state; /* a status */
    char text[REPORT_TEXT];
} report;

typedef struct flight {
    int n_rows;          /* results of our group */
    int max_rows;        /* of any group */
    bool wants_logprobs; /* in any group */
} flight;

struct step_runner {
    world *world;
    model *model;
    step_plan_limits limits;
    int depth, groups, tp;
    slot_tables *tables;
    int32_t *token_ids, *positions;        /* [max_tokens] */
    int32_t *sequence_start, *slots;       /* [slots + 1], [slots] */
    ops_logit_row *rows;                   /* [max_tokens] */
    uint32_t *masks;                       /* [slots][ops_mask_words(vocab)] */
    flight flights[MAX_IN_FLIGHT];         /* oldest first */
    int in_flight;
    flight last;                           /* retired */
    ops_token *results;                    /* [max_tokens] of our group */
    size_t each;                           /* bytes of one rank's message in the last gather */
    char *mine, *all;                      /* messages, where there are several groups; `all` on rank 0: [world][each] */
};

/* ---- life ------------------------------------------------------------------------------------------------------- */

status step_runner_open(world *w, model *m, const step_plan_limits *limits, int depth, step_runner **out, status_detail *detail)
{
    step_runner *r = calloc(1, sizeof *r);
    if (!r) return status_fail(detail, STATUS_MACHINE, "no memory for the engine's step buffers");
    const shard_plan *plan = model_get_plan(m);
    *r = (step_runner){.world = w, .model = m, .limits = *limits, .depth = depth, .groups = plan->dp, .tp = plan->tp};
    size_t tokens = (size_t)limits->max_tokens, slots = (size_t)limits->slots;
    size_t message = sizeof(report) + tokens * sizeof(ops_token);
    status result = slot_tables_open(limits, &r->tables, detail);
    r->token_ids = malloc(tokens * sizeof *r->token_ids);
    r->positions = malloc(tokens * sizeof *r->positions);
    r->sequence_start = malloc((slots + 1) * sizeof *r->sequence_start);
    r->slots = malloc(slots * sizeof *r->slots);
    r->rows = malloc(tokens * sizeof *r->rows);
    r->masks = malloc(slots * ops_mask_words(limits->vocab) * sizeof *r->masks); /* touched only as far as steps need it */
    r->results = malloc(tokens * sizeof *r->results);
    bool gathers = r->groups > 1, collects = gathers && world_rank(w) == 0;
    if (gathers) r->mine = malloc(message);
    if (collects) r->all = malloc(message * (size_t)world_size(w)); /* touched only as far as steps need it */
    if (result == STATUS_OK && (!r->token_ids || !r->positions || !r->sequence_start || !r->slots || !r->rows || !r->masks || !r->results ||
                                (gathers && !r->mine) || (collects && !r->all)))
        result = status_fail(detail, STATUS_MACHINE, "no memory for steps of %d tokens: lower engine.max_tokens_per_step",
                             limits->max_tokens);
    if (result != STATUS_OK) {
        step_runner_close(r);
        return result;
    }
    *out = r;
    return STATUS_OK;
}

void step_runner_close(step_runner *r)
{
    if (!r) return;
    free(r->all);
    free(r->mine);
    free(r->results);
    free(r->masks);
    free(r->rows);
    free(r->slots);
    free(r->sequence_start);
    free(r->positions);
    free(r->token_ids);
    slot_tables_close(r->tables);
    free(r);
}

/* ---- launching -------------------------------------------------------------------------------------------------- */

static status begin_slots(step_runner *r, step_plan_part *part, status_detail *detail)
{
    step_plan_begin begin;
    while (step_plan_next_begin(part, &r->limits, &begin)) {
        slot_tables_begin(r->tables, begin.slot);
        STATUS_TRY(model_slot_begin(r->model, begin.slot, &begin.sampling, begin.n_ids ? begin.ids : NULL, begin.n_ids,
                                    begin.n_generated, detail));
    }
    return STATUS_OK;
}

/* Adds the mask to the step; its number, 0 without one. */
static int32_t add_mask(step_runner *r, const step_plan_mask *mask, ops_batch *batch)
{
    if (mask->kind == STEP_PLAN_MASK_NONE) return 0;
    int vocab = r->limits.vocab;
    step_plan_mask_unpack(mask, vocab, r->masks + (size_t)batch->n_masks * ops_mask_words(vocab));
    return ++batch->n_masks;
}

/* Adds the run's tokens and logit rows to the step. */
static void add_rows(step_runner *r, const step_plan_run *run, model_step *step)
{
    ops_batch *batch = &step->batch;
    int first = batch->n_tokens;
    memcpy(r->token_ids + first, run->tokens, (size_t)run->n_tokens * sizeof *run->tokens);
    for (int i = 0; i < run->n_tokens; i++) r->positions[first + i] = run->position + i;
    for (int i = 0; i < run->n_scores; i++) {
        int row = run->score_first + i;
        r->rows[step->n_logit_rows++] = (ops_logit_row){.row = first + row, .slot = run->slot, .position = run->position + row + 1,
                                                        .target = run->targets[i], .top = run->score_top};
    }
    if (run->draws)
        r->rows[step->n_logit_rows++] = (ops_logit_row){.row = first + run->n_tokens - 1, .slot = run->slot,
                                                        .position = run->position + run->n_tokens, .target = -1,
                                                        .top = run->draw_top, .generated = run->generated,
                                                        .mask = add_mask(r, &run->mask, batch)};
    r->slots[batch->n_sequences] = run->slot;
    batch->n_tokens += run->n_tokens;
    r->sequence_start[++batch->n_sequences] = batch->n_tokens;
}

static status build_step(step_runner *r, const step_plan *plan, model_step *step, status_detail *detail)
{
    step_plan_part part = plan->mine;
    STATUS_TRY(begin_slots(r, &part, detail));
    step_plan_part ahead = part; /* a first look at the runs: the tables' stride must be known before any row is filled */
    step_plan_run run;
    int most = 0;
    while (step_plan_next_run(&ahead, &r->limits, &run))
        if (run.first_block + run.n_blocks > most) most = run.first_block + run.n_blocks;
    slot_tables_start(r->tables, most);
    r->sequence_start[0] = 0;
    while (step_plan_next_run(&part, &r->limits, &run)) {
        STATUS_TRY(slot_tables_add(r->tables, &run, detail));
        add_rows(r, &run, step);
    }
    slot_tables_rows(r->tables, &step->batch);
    return STATUS_OK;
}

status step_runner_launch(step_runner *r, const step_plan *plan, status_detail *detail)
{
    if (plan->max_group_tokens == 0) return STATUS_OK;
    if (r->in_flight > r->depth)
        return status_fail(detail, STATUS_INTERNAL, "step %llu was launched while %d are in flight", (unsigned long long)plan->step,
                           r->in_flight);
    model_step step = {
        .batch = {.token_ids = r->token_ids, .positions = r->positions, .sequence_start = r->sequence_start, .slots = r->slots,
                  .masks = r->masks},
        .logit_rows = r->rows,
        .max_group_tokens = plan->max_group_tokens,
    };
    STATUS_TRY(build_step(r, plan, &step, detail));
    STATUS_TRY(model_forward(r->model, &step, detail));
    r->flights[r->in_flight++] =
        (flight){.n_rows = step.n_logit_rows, .max_rows = plan->max_group_logit_rows, .wants_logprobs = plan->wants_logprobs};
    return STATUS_OK;
}

int step_runner_in_flight(const step_runner *r) { return r->in_flight; }

int step_runner_keeps(const step_runner *r, int max_group_tokens) { return max_group_tokens > 0 ? r->depth : 0; }

/* ---- retiring --------------------------------------------------------------------------------------------------- */

static report report_of(const char *message)
{
    report head;
    memcpy(&head, message, sizeof head);
    return head;
}

/* Sends our results, or why there are none, to rank 0. */
static status gather(step_runner *r, status mine, const status_detail *why, status_detail *detail)
{
    const flight *f = &r->last;
    report head = {.state = (int32_t)mine};
    if (mine != STATUS_OK) memcpy(head.text, why->text, strnlen(why->text, sizeof head.text - 1));
    memcpy(r->mine, &head, sizeof head);
    size_t one = f->wants_logprobs ? sizeof(ops_token) : sizeof(int32_t);
    r->each = sizeof head + (size_t)f->max_rows * one;
    memset(r->mine + sizeof head, 0, r->each - sizeof head);
    for (int i = 0; i < f->n_rows && mine == STATUS_OK; i++) {
        if (f->wants_logprobs) memcpy(r->mine + sizeof head + (size_t)i * one, &r->results[i], one);
        else memcpy(r->mine + sizeof head + (size_t)i * one, &r->results[i].id, one);
    }
    STATUS_TRY(world_gather(r->world, r->mine, r->each, r->all, detail));
    for (int rank = 0; r->all && rank < world_size(r->world); rank++) {
        report theirs = report_of(r->all + (size_t)rank * r->each);
        theirs.text[sizeof theirs.text - 1] = '\0';
        if (theirs.state != STATUS_OK) return status_fail(detail, (status)theirs.state, "rank %d: %s", rank, theirs.text);
    }
    return STATUS_OK;
}

status step_runner_retire(step_runner *r, status_detail *detail)
{
    status_detail why = {""};
    r->last = r->flights[0];
    r->in_flight--;
    memmove(&r->flights[0], &r->flights[1], (size_t)r->in_flight * sizeof r->flights[0]);
    status mine = model_results(r->model, r->in_flight, r->last.n_rows, r->results, &why);
    if (r->groups > 1) return gather(r, mine, &why, detail);
    if (mine != STATUS_OK) return status_fail(detail, mine, "%s", why.text);
    return STATUS_OK;
}

void step_runner_token(const step_runner *r, int group, int i, ops_token *out)
{
    if (group == 0) { /* rank 0's own group */
        *out = r->results[i];
        return;
    }
    const char *message = r->all + (size_t)(group * r->tp) * r->each + sizeof(report);
    if (r->last.wants_logprobs) {
        memcpy(out, message + (size_t)i * sizeof *out, sizeof *out);
    } else {
        memset(out, 0, sizeof *out);
        memcpy(&out->id, message + (size_t)i * sizeof out->id, sizeof out->id);
    }
}
