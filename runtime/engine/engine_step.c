#include "runtime/engine/engine_internal.h"

#include <string.h>

/* ---- from decisions to a plan ----------------------------------------------------------------------------------- */

static void write_begin(engine *e, const sequence *seq)
{
    bool penalised = sequence_penalised(seq);
    step_plan_begin begin = {.slot = seq->slot, .sampling = seq->sampling};
    if (penalised) {
        begin.ids = seq->ids;
        begin.n_ids = seq->n_ids;
        begin.n_generated = seq->n_ids - seq->n_prompt;
    }
    step_plan_add_begin(&e->message, &begin);
}

/* What the next token may be; valid until the next call. */
static step_plan_mask ask_constraint(engine *e, const sequence *seq)
{
    const engine_constraint *c = &seq->constraint;
    size_t words = ops_mask_words(e->limits.vocab);
    if (c->mask) memset(e->mask_bits, 0, words * sizeof *e->mask_bits);
    if (!c->mask || !c->mask(c->user, e->mask_bits, words)) return (step_plan_mask){.kind = STEP_PLAN_MASK_NONE};
    return step_plan_mask_pack(e->mask_bits, e->limits.vocab, e->mask_words);
}

/* Writes the run and returns the number of its results. */
static int write_run(engine *e, const sequence *seq, int first_result, engine_entry *entry)
{
    step_plan_run run = {
        .slot = seq->slot,
        .position = seq->computed,
        .n_tokens = seq->step_tokens,
        .tokens = seq->ids + seq->computed,
        .first_block = seq->told_blocks,
        .n_blocks = seq->kv.count - seq->told_blocks,
        .sliding_first = seq->kv.sliding_first,
        .score_top = seq->prompt_logprobs,
        .draws = sequence_draws(seq, seq->step_tokens),
        .draw_top = seq->top_logprobs,
        .generated = sequence_drawn(seq),
    };
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) run.blocks[kind] = seq->kv.table[kind] + seq->told_blocks;
    run.n_scores = sequence_scores(seq, seq->step_tokens, &run.score_first);
    run.targets = seq->ids + seq->computed + run.score_first + 1;
    if (run.draws) run.mask = ask_constraint(e, seq);
    step_plan_add_run(&e->message, &run);
    entry->first_result = first_result;
    entry->n_scores = run.n_scores;
    entry->draws = run.draws;
    entry->ends_prompt = seq->max_tokens == 0 && seq->computed + seq->step_tokens == seq->n_prompt;
    return run.n_scores + run.draws;
}

/* The sequence runs for the first time. */
static void note_start(engine *e, sequence *seq)
{
    if (seq->scheduled != 0) return;
    seq->scheduled = engine_now();
    e->stats.prompt_tokens += (uint64_t)seq->n_prompt;
}

void engine_step_write(engine *e, int tokens)
{
    const scheduler *s = e->scheduler;
    engine_step *step = &e->steps[e->n_steps];
    step->n_entries = 0;
    step->tokens = tokens;
    step_plan_start(&e->message, STEP_PLAN_STEP, e->stats.steps, s->shape.groups);
    for (int g = 0; g < s->shape.groups; g++) {
        const scheduler_group *group = &s->groups[g];
        step_plan_add_group(&e->message);
        for (int i = 0; i < group->n_step; i++)
            if (group->step[i]->begins) write_begin(e, group->step[i]);
        int results = 0;
        for (int i = 0; i < group->n_step; i++) {
            engine_entry *entry = &step->entries[step->n_entries++];
            entry->seq = group->step[i];
            entry->group = g;
            note_start(e, entry->seq);
            results += write_run(e, group->step[i], results, entry);
        }
    }
}

/* ---- from results to events ------------------------------------------------------------------------------------- */

status engine_step_flush(engine *e, status_detail *detail)
{
    int n = e->n_staged;
    e->n_staged = 0;
    return engine_queue_emit(e->queue, e->staged, n, detail);
}

/* A staged event of `seq`, to be filled in. Flushes when the stage is full. */
static status stage(engine *e, const sequence *seq, engine_event_kind kind, engine_event **out, status_detail *detail)
{
    if (e->n_staged == ENGINE_STAGED_EVENTS) STATUS_TRY(engine_step_flush(e, detail));
    engine_event *event = &e->staged[e->n_staged++];
    memset(event, 0, sizeof *event);
    event->kind = kind;
    event->request = seq->id;
    event->user = seq->user;
    event->stop_id = -1;
    *out = event;
    return STATUS_OK;
}

static status stage_token(engine *e, const sequence *seq, engine_event_kind kind, const ops_token *token, int top, status_detail *detail)
{
    engine_event *event;
    STATUS_TRY(stage(e, seq, kind, &event, detail));
    if (top >= 0) event->token = *token;
    else event->token.id = token->id;
    return STATUS_OK;
}

static void fill_finish(engine_event *event, const sequence *seq, engine_finish reason, int32_t stop_id)
{
    event->finish = reason;
    event->stop_id = stop_id;
    event->n_prompt = seq->n_prompt;
    event->n_cached = seq->n_cached;
    event->n_generated = seq->n_ids - seq->n_prompt;
    event->submitted = seq->submitted;
    event->scheduled = seq->scheduled;
    event->first_token = seq->first_token;
    event->finished = engine_now();
}

static status finish(engine *e, sequence *seq, engine_finish reason, int32_t stop_id, status_detail *detail)
{
    engine_event *event;
    STATUS_TRY(stage(e, seq, ENGINE_EVENT_FINISH, &event, detail));
    fill_finish(event, seq, reason, stop_id);
    /* The queue must forget the request before its sequence can be freed. */
    STATUS_TRY(engine_step_flush(e, detail));
    if (scheduler_finish(e->scheduler, seq)) sequence_free(seq);
    return STATUS_OK;
}

status engine_step_end(engine *e, sequence *seq, engine_finish reason, status_detail *detail)
{
    return finish(e, seq, reason, -1, detail);
}

/* Takes a token that a step drew. */
static status take_drawn(engine *e, sequence *seq, const ops_token *token, status_detail *detail)
{
    engine_finish reason;
    int32_t stop_id;
    sequence_append(seq, token->id);
    if (seq->constraint.mask) seq->constraint.accept(seq->constraint.user, token->id);
    e->stats.generated_tokens++;
    if (seq->first_token == 0) seq->first_token = engine_now();
    STATUS_TRY(stage_token(e, seq, ENGINE_EVENT_TOKEN, token, seq->top_logprobs, detail));
    if (!sequence_ends(seq, token->id, &reason, &stop_id)) return STATUS_OK;
    return finish(e, seq, reason, stop_id, detail);
}

static status commit_entry(engine *e, const engine_entry *entry, status_detail *detail)
{
    sequence *seq = entry->seq;
    ops_token token;
    for (int i = 0; i < entry->n_scores; i++) {
        step_runner_token(e->runner, entry->group, entry->first_result + i, &token);
        STATUS_TRY(stage_token(e, seq, ENGINE_EVENT_PROMPT, &token, seq->prompt_logprobs, detail));
    }
    if (entry->ends_prompt) return finish(e, seq, ENGINE_FINISH_LENGTH, -1, detail);
    if (!entry->draws) return STATUS_OK;
    step_runner_token(e->runner, entry->group, entry->first_result + entry->n_scores, &token);
    return take_drawn(e, seq, &token, detail);
}

/* Takes the oldest step out of flight; its entries stay readable until the next engine_step_write(). */
static engine_step pop_step(engine *e)
{
    engine_step oldest = e->steps[0];
    e->n_steps--;
    for (int i = 0; i + 1 < ENGINE_MAX_IN_FLIGHT; i++) e->steps[i] = e->steps[i + 1];
    e->steps[ENGINE_MAX_IN_FLIGHT - 1] = oldest;
    return oldest;
}

status engine_step_commit(engine *e, status_detail *detail)
{
    engine_step step = pop_step(e);
    status result = STATUS_OK;
    for (int i = 0; i < step.n_entries; i++) {
        sequence *seq = step.entries[i].seq;
        /* What a finished sequence still drew, a step late, is dropped. */
        bool wanted = result == STATUS_OK && seq->state != SEQUENCE_FINISHED;
        /* Retired after its results are applied: until then the sequence must not be freed. */
        if (wanted) result = commit_entry(e, &step.entries[i], detail);
        if (scheduler_retire(e->scheduler, seq)) sequence_free(seq);
    }
    if (result == STATUS_OK) result = engine_step_flush(e, detail);
    if (e->on_step) e->on_step(e->on_step_user, step.tokens);
    return result;
}

void engine_step_abandon(engine *e, engine_finish reason)
{
    status_detail ignored;
    sequence *seq, *fresh, *cancelled;
    e->n_staged = 0;
    engine_queue_end(e->queue, &fresh, &cancelled);
    for (; fresh; fresh = seq) {
        seq = fresh->next_inbox;
        scheduler_add(e->scheduler, fresh);
    }
    while (e->n_steps > 0) {
        engine_step step = pop_step(e);
        for (int i = 0; i < step.n_entries; i++)
            if (scheduler_retire(e->scheduler, step.entries[i].seq)) sequence_free(step.entries[i].seq);
    }
    /* A FINISH alone always finds room in the queue. */
    while ((seq = scheduler_any(e->scheduler)) && engine_step_end(e, seq, reason, &ignored) == STATUS_OK) {
    }
}
