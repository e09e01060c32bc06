#include "runtime/engine/engine_internal.h"

/* ---- rank 0 ----------------------------------------------------------------------------------------------------- */

static status end_all(engine *e, engine_finish reason, status_detail *detail)
{
    sequence *seq;
    while ((seq = scheduler_any(e->scheduler))) STATUS_TRY(engine_step_end(e, seq, reason, detail));
    return STATUS_OK;
}

/* A step cannot be cut, so from the first shutdown on it has to be short, or the drain time is overrun by it: a full prefill on a processor
 * takes many seconds. Prompts then come in chunks of a size that follows the time of the steps. */
enum { DRAIN_FIRST_CHUNK = 64, DRAIN_LEAST_CHUNK = 16 }; /* tokens per group */
static const double DRAIN_STEP_SECONDS = 1;

static void fit_chunk(engine *e, int group_tokens, double seconds)
{
    int limit = e->scheduler->prompt_limit;
    if (e->shutdowns_seen == 0) return;
    if (seconds > DRAIN_STEP_SECONDS) limit = (int)(limit * DRAIN_STEP_SECONDS / seconds);
    else if (seconds < DRAIN_STEP_SECONDS / 4 && group_tokens >= limit) limit *= 2;
    scheduler_limit_prompts(e->scheduler, limit > DRAIN_LEAST_CHUNK ? limit : DRAIN_LEAST_CHUNK);
}

/* Takes what the other threads want: requests, cancellations, an end. */
static status take_in(engine *e, status_detail *detail)
{
    sequence *fresh, *cancelled, *next;
    engine_queue_take(e->queue, &fresh, &cancelled);
    for (; fresh; fresh = next) {
        next = fresh->next_inbox;
        scheduler_add(e->scheduler, fresh);
    }
    for (; cancelled; cancelled = next) {
        next = cancelled->next_cancel;
        STATUS_TRY(engine_step_end(e, cancelled, ENGINE_FINISH_CANCELLED, detail));
    }
    double drain_seconds;
    int shutdowns = engine_queue_shutdowns(e->queue, &drain_seconds);
    if (shutdowns == 0) return STATUS_OK;
    double now = engine_now();
    if (e->shutdowns_seen == 0) {
        e->drain_deadline = now + drain_seconds;
        scheduler_limit_prompts(e->scheduler, DRAIN_FIRST_CHUNK);
    }
    if (shutdowns > 1) e->drain_deadline = now;
    e->shutdowns_seen = shutdowns;
    e->stats.draining = true;
    return now >= e->drain_deadline ? end_all(e, ENGINE_FINISH_CANCELLED, detail) : STATUS_OK;
}

static void put_stats(engine *e)
{
    const scheduler *s = e->scheduler;
    e->stats.running = scheduler_running(s);
    e->stats.waiting = s->n_waiting;
    e->stats.kv_usage = scheduler_kv_usage(s);
    e->stats.preemptions = s->preemptions;
    e->stats.prefix_queries = s->prefix_queries;
    e->stats.prefix_hits = s->prefix_hits;
    e->stats.prompt_tokens_recomputed = s->recomputed;
    engine_queue_put_stats(e->queue, &e->stats);
}

static status sleep_until_asked(engine *e, status_detail *detail)
{
    if (world_size(e->world) > 1 && !e->parked) {
        STATUS_TRY(engine_message_send_kind(e, STEP_PLAN_PARK, detail));
        e->parked = true;
    }
    put_stats(e);
    engine_queue_wait(e->queue, e->shutdowns_seen);
    return STATUS_OK;
}

/* Hands the step that the scheduler decided to all ranks, ours included. Without tokens it makes the ranks read what is in flight. */
static status launch(engine *e, int tokens, step_plan *plan, status_detail *detail)
{
    engine_step_write(e, tokens);
    scheduler_launched(e->scheduler);
    if (tokens > 0) e->n_steps++;
    STATUS_TRY(engine_message_send(e, detail));
    STATUS_TRY(step_plan_read(e->message.words, e->message.capacity * sizeof *e->message.words, &e->limits, e->group, plan, detail));
    STATUS_TRY(step_runner_launch(e->runner, plan, detail));
    if (tokens > 0) e->stats.steps++;
    return STATUS_OK;
}

/* One turn: take in, decide, launch, read what is due. *done: shut down, nothing is left. */
static status turn(engine *e, bool *done, status_detail *detail)
{
    STATUS_TRY(take_in(e, detail));
    bool idle = !scheduler_any(e->scheduler) && e->n_steps == 0;
    *done = idle && e->shutdowns_seen > 0;
    if (*done) return STATUS_OK;
    if (idle) return sleep_until_asked(e, detail);

    step_plan plan;
    int tokens = scheduler_step(e->scheduler);
    if (tokens == 0 && e->n_steps == 0)
        return status_fail(detail, STATUS_INTERNAL, "%d requests wait and %d run, but none can get on", e->scheduler->n_waiting,
                           scheduler_running(e->scheduler));
    double began = engine_now();
    STATUS_TRY(launch(e, tokens, &plan, detail));
    while (step_runner_in_flight(e->runner) > step_runner_keeps(e->runner, plan.max_group_tokens)) {
        STATUS_TRY(step_runner_retire(e->runner, detail));
        STATUS_TRY(engine_step_commit(e, detail));
    }
    if (tokens > 0) fit_chunk(e, plan.max_group_tokens, engine_now() - began);
    put_stats(e);
    return STATUS_OK;
}

status engine_loop_lead(engine *e, status_detail *detail)
{
    status_detail own = {""}, *why = detail ? detail : &own;
    bool done = false;
    status result = STATUS_OK;
    while (result == STATUS_OK && !done) result = turn(e, &done, why);
    e->stats.alive = result == STATUS_OK;
    put_stats(e);
    /* Requests that came after the last look are ended too. */
    engine_step_abandon(e, result == STATUS_OK ? ENGINE_FINISH_CANCELLED : ENGINE_FINISH_ERROR);
    put_stats(e);
    if (result == STATUS_OK) return engine_message_send_kind(e, STEP_PLAN_SHUTDOWN, why);
    world_say_failed(e->world); /* first: the others leave when they get the message, while our caller has yet to print it */
    engine_message_send_error(e, result, why->text);
    return result;
}

/* ---- the other ranks -------------------------------------------------------------------------------------------- */

static status follow_step(engine *e, const step_plan *plan, status_detail *detail)
{
    STATUS_TRY(step_runner_launch(e->runner, plan, detail));
    while (step_runner_in_flight(e->runner) > step_runner_keeps(e->runner, plan->max_group_tokens))
        STATUS_TRY(step_runner_retire(e->runner, detail));
    return STATUS_OK;
}

static status follow(engine *e, status_detail *detail)
{
    for (;;) {
        step_plan plan;
        STATUS_TRY(engine_message_receive(e, &plan, detail));
        switch (plan.kind) {
        case STEP_PLAN_STEP: STATUS_TRY(follow_step(e, &plan, detail)); break;
        case STEP_PLAN_PARK: world_park(e->world); break;
        case STEP_PLAN_SHUTDOWN: return STATUS_OK;
        case STEP_PLAN_ERROR:
            world_say_failed(e->world); /* rank 0 tells it */
            return status_fail(detail, STATUS_PEER, "rank 0: %s", plan.text);
        }
    }
}

status engine_loop_follow(engine *e, status_detail *detail)
{
    status result = follow(e, detail);
    /* Our caller prints a failure of this rank. STATUS_PEER is another's, of which the watch knows more. */
    if (result != STATUS_OK && result != STATUS_PEER) world_say_failed(e->world);
    return result;
}
