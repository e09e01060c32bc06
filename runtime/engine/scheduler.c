#include "runtime/engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/engine/sequence_heap.h"

/* ---- life ------------------------------------------------------------------------------------------------------- */

static status open_group(scheduler *s, scheduler_group *g, status_detail *detail)
{
    size_t slots = (size_t)s->shape.slots;
    g->running = calloc(slots, sizeof *g->running);
    g->step = calloc(slots, sizeof *g->step);
    g->free_slots = calloc(slots, sizeof *g->free_slots);
    g->tables = malloc(slots * OPS_KV_KINDS * (size_t)s->max_blocks * sizeof *g->tables);
    if (!g->running || !g->step || !g->free_slots || !g->tables)
        return status_fail(detail, STATUS_MACHINE, "no memory for the block tables of %d sequences: lower engine.max_sequences",
                           s->shape.slots);
    for (int i = s->shape.slots - 1; i >= 0; i--) g->free_slots[g->n_free_slots++] = i;
    return kv_cache_open(&s->shape.kv, &g->kv, detail);
}

status scheduler_open(const scheduler_shape *shape, scheduler **out, status_detail *detail)
{
    scheduler *s = calloc(1, sizeof *s);
    if (!s) return status_fail(detail, STATUS_MACHINE, "no memory for the scheduler");
    s->shape = *shape;
    s->prompt_limit = shape->max_tokens;
    s->max_blocks = (shape->max_model_len + shape->kv.block_tokens - 1) / shape->kv.block_tokens;
    s->groups = calloc((size_t)shape->groups, sizeof *s->groups);
    s->waiting = calloc((size_t)shape->max_sequences, sizeof *s->waiting);
    status result = s->groups && s->waiting ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "no memory for the scheduler");
    for (int i = 0; i < shape->groups && result == STATUS_OK; i++) result = open_group(s, &s->groups[i], detail);
    if (result != STATUS_OK) {
        scheduler_close(s);
        return result;
    }
    *out = s;
    return STATUS_OK;
}

void scheduler_close(scheduler *s)
{
    if (!s) return;
    for (int i = 0; s->groups && i < s->shape.groups; i++) {
        scheduler_group *g = &s->groups[i];
        kv_cache_close(g->kv);
        free(g->tables);
        free(g->free_slots);
        free(g->step);
        free(g->running);
    }
    free(s->waiting);
    free(s->groups);
    free(s);
}

/* ---- slots and places ------------------------------------------------------------------------------------------- */

static void push_waiting(scheduler *s, sequence *seq)
{
    assert(s->n_waiting < s->shape.max_sequences);
    seq->state = SEQUENCE_WAITING;
    sequence_heap_push(s->waiting, &s->n_waiting, seq);
}

static void enter_group(scheduler *s, int group, sequence *seq)
{
    scheduler_group *g = &s->groups[group];
    size_t width = (size_t)s->max_blocks;
    seq->state = SEQUENCE_RUNNING;
    seq->group = group;
    seq->slot = g->free_slots[--g->n_free_slots];
    int32_t *tables = g->tables + (size_t)seq->slot * OPS_KV_KINDS * width;
    seq->kv = (kv_holding){.table = {tables, tables + width}};
    int at = g->n_running++;
    for (; at > 0 && sequence_before(seq, g->running[at - 1]); at--) g->running[at] = g->running[at - 1];
    g->running[at] = seq;
}

static void leave_running(scheduler_group *g, const sequence *seq)
{
    int at = 0;
    while (g->running[at] != seq) at++;
    g->n_running--;
    memmove(&g->running[at], &g->running[at + 1], (size_t)(g->n_running - at) * sizeof(sequence *));
}

static void release(scheduler *s, sequence *seq)
{
    if (seq->slot < 0) return;
    scheduler_group *g = &s->groups[seq->group];
    kv_cache_release(g->kv, &seq->kv);
    g->free_slots[g->n_free_slots++] = seq->slot;
    seq->slot = seq->group = -1;
}

/* Work is ordered as it is launched, so the next step may already write to blocks that a step in flight still reads. */
static void preempt(scheduler *s, scheduler_group *g, sequence *seq)
{
    leave_running(g, seq);
    g->budget += seq->step_tokens;
    g->preempted = true;
    seq->step_tokens = seq->computed = seq->told_blocks = 0;
    seq->begins = false;
    release(s, seq);
    push_waiting(s, seq);
    s->preemptions++;
}

/* ---- running ones ----------------------------------------------------------------------------------------------- */

/* Gives `seq` up to `want` more tokens of room, as far as the free blocks go. Returns how many. */
static int take_room(scheduler_group *g, sequence *seq, int want)
{
    int room = kv_cache_room(g->kv, &seq->kv) - seq->computed;
    int n = want < room ? want : room;
    if (n > 0) kv_cache_extend(g->kv, &seq->kv, seq->computed + n);
    return n;
}

/* take_room(), or the same after preempting from the end of the order until at least one token fits. 0: `seq` is the last itself; it
 * keeps what it has and waits. */
static int claim_room(scheduler *s, scheduler_group *g, sequence *seq, int want)
{
    for (;;) {
        int n = take_room(g, seq, want);
        sequence *last = g->running[g->n_running - 1];
        if (n > 0 || last == seq) return n;
        preempt(s, g, last);
    }
}

static void step_running(scheduler *s, scheduler_group *g, bool decodes)
{
    for (int i = 0; i < g->n_running && g->budget > 0; i++) {
        sequence *seq = g->running[i];
        int remaining = sequence_remaining(seq);
        if (remaining == 0 || seq->step_tokens > 0 || (remaining == 1) != decodes || sequence_waits(seq)) continue;
        int n = claim_room(s, g, seq, remaining < g->budget ? remaining : g->budget);
        seq->step_tokens = n;
        g->budget -= n;
    }
}

/* ---- admission -------------------------------------------------------------------------------------------------- */

static int blocks_for(const scheduler *s, int tokens) { return (tokens + s->shape.kv.block_tokens - 1) / s->shape.kv.block_tokens; }

/* Adds a running sequence to what its group has promised and to its load. */
static void count_in(const scheduler *s, scheduler_group *g, const sequence *seq)
{
    /* A sequence that decodes weighs as much as this many prompt tokens when groups are compared. */
    enum { SEQUENCE_LOAD = 256 };
    int more = blocks_for(s, sequence_total(seq)) - seq->kv.count;
    g->promised += more > 0 ? more : 0;
    g->load += SEQUENCE_LOAD + sequence_remaining(seq);
}

/* Whether `seq` can compute all the tokens it has without taking blocks that the group's running sequences will soon want: theirs for
 * the tokens they have, and one more for each. Into an empty group anything fits. */
static bool fits(const scheduler *s, const scheduler_group *g, const sequence *seq, const kv_match *match)
{
    if (g->n_running == 0) return true;
    int need = blocks_for(s, sequence_total(seq)) - match->tokens / s->shape.kv.block_tokens;
    int window = kv_cache_window_blocks(&s->shape.kv);
    int free_full = kv_cache_free_blocks(g->kv, OPS_FULL) - match->idle[OPS_FULL] - g->promised;
    int free_sliding = kv_cache_free_blocks(g->kv, OPS_SLIDING) - match->idle[OPS_SLIDING];
    return free_full >= need + g->n_running && free_sliding >= (need < window ? need : window) + g->n_running;
}

/* The group where `seq` costs least: tokens it would have to compute there, plus what the group is busy with. A common prefix thus draws
 * requests to one group only until that group is busier by more than the prefix saves. -1: none can take it now. */
static int choose_group(const scheduler *s, const sequence *seq, kv_match *match)
{
    int best = -1;
    int64_t least = 0;
    for (int i = 0; i < s->shape.groups; i++) {
        const scheduler_group *g = &s->groups[i];
        if (g->n_free_slots == 0 || g->budget == 0 || g->preempted) continue;
        kv_match found = kv_cache_find(g->kv, seq->ids, seq->hashes, sequence_reusable(seq));
        if (!fits(s, g, seq, &found)) continue;
        int64_t cost = g->load + sequence_total(seq) - found.tokens;
        if (best >= 0 && cost >= least) continue;
        best = i;
        least = cost;
        *match = found;
    }
    return best;
}

static void admit(scheduler *s, sequence *seq, int group, const kv_match *match)
{
    scheduler_group *g = &s->groups[group];
    sequence_heap_remove(s->waiting, &s->n_waiting, seq);
    enter_group(s, group, seq);
    kv_cache_attach(g->kv, &seq->kv, seq->ids, seq->hashes, match->tokens);
    seq->computed = match->tokens;
    seq->begins = true;
    if (!seq->started) {
        seq->started = true;
        seq->n_cached = match->tokens;
        if (s->shape.kv.prefix_cache) s->prefix_queries += (uint64_t)seq->n_prompt;
        s->prefix_hits += (uint64_t)match->tokens;
    }
    int remaining = sequence_remaining(seq);
    int n = take_room(g, seq, remaining < g->budget ? remaining : g->budget);
    seq->step_tokens = n;
    g->budget -= n;
    count_in(s, g, seq);
}

static void admit_waiting(scheduler *s)
{
    for (int i = 0; i < s->shape.groups; i++) {
        scheduler_group *g = &s->groups[i];
        g->promised = 0;
        g->load = 0;
        for (int k = 0; k < g->n_running; k++) count_in(s, g, g->running[k]);
    }
    while (s->n_waiting > 0) {
        kv_match match = {0};
        sequence *seq = s->waiting[0];
        if (seq->inflight > 0) return; /* preempted just now: its last token is not known yet */
        int group = choose_group(s, seq, &match);
        if (group < 0) return;
        admit(s, seq, group, &match);
    }
}

/* ---- the step --------------------------------------------------------------------------------------------------- */

void scheduler_limit_prompts(scheduler *s, int tokens) { s->prompt_limit = tokens < s->shape.max_tokens ? tokens : s->shape.max_tokens; }

int scheduler_step(scheduler *s)
{
    for (int i = 0; i < s->shape.groups; i++) {
        scheduler_group *g = &s->groups[i];
        g->budget = s->shape.max_tokens;
        g->preempted = false;
        step_running(s, g, true);
        if (g->budget > s->prompt_limit) g->budget = s->prompt_limit;
        step_running(s, g, false);
    }
    admit_waiting(s);
    int tokens = 0;
    for (int i = 0; i < s->shape.groups; i++) {
        scheduler_group *g = &s->groups[i];
        g->n_step = g->step_tokens = 0;
        for (int k = 0; k < g->n_running; k++) {
            if (g->running[k]->step_tokens == 0) continue;
            g->step[g->n_step++] = g->running[k];
            g->step_tokens += g->running[k]->step_tokens;
        }
        tokens += g->step_tokens;
    }
    return tokens;
}

static int known_and_computed(const sequence *seq) { return seq->computed < seq->n_ids ? seq->computed : seq->n_ids; }

static void advance(scheduler *s, scheduler_group *g, sequence *seq)
{
    int first_row, n = seq->step_tokens;
    int again = (seq->high_water < seq->computed + n ? seq->high_water : seq->computed + n) - seq->computed;
    s->recomputed += again > 0 ? (uint64_t)again : 0;
    seq->scored += sequence_scores(seq, n, &first_row);
    if (sequence_draws(seq, n)) seq->ids[seq->n_ids + seq->pending++] = -1;
    seq->computed += n;
    if (seq->computed > seq->high_water) seq->high_water = seq->computed;
    seq->inflight++;
    seq->step_tokens = 0;
    seq->begins = false;
    seq->told_blocks = seq->kv.count;
    /* Blocks can be shared from the next step on: it runs after this one has written them. */
    kv_cache_publish(g->kv, &seq->kv, seq->ids, seq->hashes, known_and_computed(seq));
    kv_cache_drop_behind(g->kv, &seq->kv, seq->computed);
}

void scheduler_launched(scheduler *s)
{
    for (int i = 0; i < s->shape.groups; i++) {
        scheduler_group *g = &s->groups[i];
        for (int k = 0; k < g->n_step; k++) advance(s, g, g->step[k]);
        g->n_step = g->step_tokens = 0;
    }
}

bool scheduler_retire(scheduler *s, sequence *seq)
{
    seq->inflight--;
    if (seq->state != SEQUENCE_FINISHED || seq->inflight > 0) return false;
    release(s, seq);
    return true;
}

void scheduler_add(scheduler *s, sequence *seq) { push_waiting(s, seq); }

bool scheduler_finish(scheduler *s, sequence *seq)
{
    if (seq->state == SEQUENCE_WAITING) {
        sequence_heap_remove(s->waiting, &s->n_waiting, seq);
    } else {
        scheduler_group *g = &s->groups[seq->group];
        leave_running(g, seq);
        kv_cache_publish(g->kv, &seq->kv, seq->ids, seq->hashes, known_and_computed(seq));
    }
    seq->state = SEQUENCE_FINISHED;
    if (seq->inflight > 0) return false;
    release(s, seq);
    return true;
}

/* ---- figures ---------------------------------------------------------------------------------------------------- */

int scheduler_running(const scheduler *s)
{
    int n = 0;
    for (int i = 0; i < s->shape.groups; i++) n += s->groups[i].n_running;
    return n;
}

sequence *scheduler_any(const scheduler *s)
{
    for (int i = 0; i < s->shape.groups; i++)
        if (s->groups[i].n_running > 0) return s->groups[i].running[0];
    return s->n_waiting > 0 ? s->waiting[0] : NULL;
}

double scheduler_kv_usage(const scheduler *s)
{
    int64_t used = 0, all = 0;
    for (int i = 0; i < s->shape.groups; i++) {
        int total = kv_cache_total_blocks(s->groups[i].kv, OPS_FULL);
        used += total - kv_cache_free_blocks(s->groups[i].kv, OPS_FULL);
        all += total;
    }
    return all ? (double)used / (double)all : 0;
}
