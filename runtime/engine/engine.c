#include "runtime/engine/engine_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "runtime/base/log.h"
#include "runtime/engine/kv_sizing.h"

/* Device memory hardly changes once all is taken, and dashboards ask every 15 s or so. */
static const double MEMORY_SECONDS = 5, MEMORY_STALE_SECONDS = 60;

double engine_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static status check_options(const engine_options *o, int model_limit, status_detail *detail)
{
    if (o->max_sequences < 1 || o->max_tokens_per_step < 1 || o->max_queue < 0 || o->kv_cache_bytes < 0 || o->max_model_len < 0)
        return status_fail(detail, STATUS_USAGE,
                           "engine.max_sequences (%d) and engine.max_tokens_per_step (%d) must be at least 1, the other sizes not negative",
                           o->max_sequences, o->max_tokens_per_step);
    if (o->max_model_len > model_limit)
        return status_fail(detail, STATUS_USAGE, "engine.max_model_len is %d: the model's limit is %d", o->max_model_len, model_limit);
    return STATUS_OK;
}

/* Decides the pools' sizes, the same on all ranks. Collective; takes nothing, so that no rank can fail alone before the last exchange. */
static status agree_on_blocks(engine *e, const kv_sizing *sizing, status_detail *detail)
{
    kv_sizing_blocks(sizing, e->blocks);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        int64_t least = e->blocks[kind];
        STATUS_TRY(world_min_i64(e->world, &least, detail));
        e->blocks[kind] = (int)least;
    }
    return kv_sizing_check(sizing, e->blocks, detail);
}

static status choose_length(engine *e, const engine_options *o, int model_limit, int block_tokens, status_detail *detail)
{
    int64_t held = (int64_t)e->blocks[OPS_FULL] * block_tokens;
    if (o->max_model_len > held)
        return status_fail(detail, STATUS_USAGE,
                           "engine.max_model_len is %d, but the KV cache holds %" PRId64
                           " tokens: lower engine.max_model_len, or raise engine.kv_cache",
                           o->max_model_len, held);
    e->max_model_len = o->max_model_len ? o->max_model_len : model_limit < held ? model_limit : (int)held;
    return STATUS_OK;
}

static int64_t kv_bytes(const engine *e)
{
    int64_t bytes = 0;
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) bytes += e->blocks[kind] * model_kv_block_bytes(e->model, kind);
    return bytes;
}

static status size_cache(engine *e, const engine_options *o, status_detail *detail)
{
    const model_config *config = model_get_config(e->model);
    STATUS_TRY(check_options(o, config->max_positions, detail));
    ops_caps caps;
    model_get_caps(e->model, &caps);
    kv_sizing sizing = {
        .bytes = o->kv_cache_bytes,
        .block_bytes = {model_kv_block_bytes(e->model, OPS_FULL), model_kv_block_bytes(e->model, OPS_SLIDING)},
        .block_tokens = model_block_tokens(e->model),
        .window = config->sliding_window,
        .max_sequences = o->max_sequences,
        .max_tokens = o->max_tokens_per_step,
        .max_model_len = o->max_model_len ? o->max_model_len : config->max_positions,
        .only_useful = caps.host_memory && o->kv_cache_bytes == 0,
    };
    if (o->kv_cache_bytes == 0) sizing.bytes = kv_sizing_budget(caps.memory_free, caps.host_memory, world_local_size(e->world));
    STATUS_TRY(agree_on_blocks(e, &sizing, detail));
    STATUS_TRY(choose_length(e, o, config->max_positions, sizing.block_tokens, detail));
    if (e->leads)
        log_info("KV cache: %d blocks of %d tokens for full attention, %d for sliding windows, %" PRId64
                 " MiB per rank; max_model_len %d",
                 e->blocks[OPS_FULL], sizing.block_tokens, e->blocks[OPS_SLIDING],
                 kv_bytes(e) >> 20,
                 e->max_model_len);
    return model_kv_reserve(e->model, e->blocks, detail);
}

/* Sets what is derived from options, model and cache. */
static void set_limits(engine *e, const engine_options *o)
{
    const shard_plan *plan = model_get_plan(e->model);
    /* Every decode must fit in a step. */
    int slots = o->max_sequences < o->max_tokens_per_step ? o->max_sequences : o->max_tokens_per_step;
    e->group = plan->dp_rank;
    e->limits = (step_plan_limits){
        .groups = plan->dp,
        .slots = slots,
        .max_tokens = o->max_tokens_per_step,
        .vocab = model_get_config(e->model)->vocab,
        .max_model_len = e->max_model_len,
        .block_tokens = model_block_tokens(e->model),
        .blocks = {e->blocks[OPS_FULL], e->blocks[OPS_SLIDING]},
    };
}

/* What rank 0 alone has. */
static status open_lead(engine *e, const engine_options *o, status_detail *detail)
{
    const step_plan_limits *l = &e->limits;
    int max_running = l->groups * l->slots;
    if (o->max_queue > INT32_MAX / 2 - max_running)
        return status_fail(detail, STATUS_USAGE, "server.max_queue is %d: that is too many", o->max_queue);
    e->request_limits = (sequence_limits){.vocab = l->vocab, .max_model_len = l->max_model_len, .block_tokens = l->block_tokens,
                                          .prefix_cache = o->prefix_cache};
    if (getrandom(&e->request_limits.hash_key, sizeof e->request_limits.hash_key, 0) != (ssize_t)sizeof e->request_limits.hash_key)
        return status_fail(detail, STATUS_MACHINE, "the system gives no random bytes (getrandom)");
    scheduler_shape shape = {
        .groups = l->groups,
        .slots = l->slots,
        .max_tokens = l->max_tokens,
        .max_model_len = l->max_model_len,
        .max_sequences = o->max_queue + max_running,
        .kv = {.block_tokens = l->block_tokens, .window = model_get_config(e->model)->sliding_window,
               .blocks = {l->blocks[OPS_FULL], l->blocks[OPS_SLIDING]}, .prefix_cache = o->prefix_cache},
    };
    STATUS_TRY(scheduler_open(&shape, &e->scheduler, detail));
    STATUS_TRY(engine_queue_open(shape.max_sequences, &e->queue, detail));
    e->staged = malloc(ENGINE_STAGED_EVENTS * sizeof *e->staged);
    e->mask_bits = malloc(ops_mask_words(l->vocab) * sizeof *e->mask_bits);
    e->mask_words = malloc(ops_mask_words(l->vocab) * sizeof *e->mask_words);
    bool all = e->staged && e->mask_bits && e->mask_words;
    for (int i = 0; i < ENGINE_MAX_IN_FLIGHT; i++) {
        e->steps[i].entries = malloc((size_t)max_running * sizeof(engine_entry));
        all = all && e->steps[i].entries;
    }
    return all ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "no memory for steps of %d sequences", max_running);
}

status engine_open(world *w, model *m, const engine_options *options, engine **out, status_detail *detail)
{
    engine *e = calloc(1, sizeof *e);
    if (!e) return status_fail(detail, STATUS_MACHINE, "no memory for the engine");
    e->world = w;
    e->model = m;
    e->leads = world_rank(w) == 0;
    e->stats.alive = true;
    status result = size_cache(e, options, detail);
    if (result == STATUS_OK) {
        ops_caps caps;
        model_get_caps(m, &caps);
        set_limits(e, options);
        result = step_runner_open(w, m, &e->limits, caps.asynchronous ? 1 : 0, &e->runner, detail);
    }
    if (result == STATUS_OK && e->leads) result = open_lead(e, options, detail);
    if (result == STATUS_OK) result = engine_memory_open(w, m, kv_bytes(e), MEMORY_SECONDS, &e->memory, detail);
    if (result != STATUS_OK) {
        engine_close(e);
        return result;
    }
    *out = e;
    return STATUS_OK;
}

void engine_close(engine *e)
{
    if (!e) return;
    engine_memory_close(e->memory);
    for (int i = 0; i < ENGINE_MAX_IN_FLIGHT; i++) free(e->steps[i].entries);
    free(e->mask_words);
    free(e->mask_bits);
    free(e->staged);
    engine_queue_close(e->queue);
    scheduler_close(e->scheduler);
    step_runner_close(e->runner);
    step_plan_message_free(&e->message);
    free(e);
}

int engine_max_model_len(const engine *e) { return e->max_model_len; }

int64_t engine_kv_tokens(const engine *e) { return (int64_t)e->limits.groups * e->blocks[OPS_FULL] * e->limits.block_tokens; }

status engine_run(engine *e, status_detail *detail) { return e->leads ? engine_loop_lead(e, detail) : engine_loop_follow(e, detail); }

/* ---- other threads ---------------------------------------------------------------------------------------------- */

void engine_shutdown(engine *e, double drain_seconds)
{
    if (e->queue) engine_queue_shutdown(e->queue, drain_seconds);
}

status engine_submit(engine *e, const engine_request *request, uint64_t *id, status_detail *detail)
{
    sequence *seq;
    if (!e->queue) return status_fail(detail, STATUS_INTERNAL, "requests go to rank 0");
    STATUS_TRY(sequence_create(request, &e->request_limits, &seq, detail));
    seq->submitted = engine_now();
    status result = engine_queue_submit(e->queue, seq, id, detail);
    if (result != STATUS_OK) {
        seq->constraint = (engine_constraint){0}; /* still the caller's */
        sequence_free(seq);
    }
    return result;
}

void engine_cancel(engine *e, uint64_t id) { engine_queue_cancel(e->queue, id); }

int engine_event_fd(const engine *e) { return engine_queue_event_fd(e->queue); }

int engine_poll(engine *e, engine_event *out, int max) { return engine_queue_poll(e->queue, out, max); }

void engine_get_stats(const engine *e, engine_stats *out)
{
    if (e->queue) engine_queue_get_stats(e->queue, out);
    else *out = e->stats;
}

int engine_ranks(const engine *e) { return world_size(e->world); }

bool engine_get_memory(const engine *e, int rank, engine_memory *out)
{
    return engine_memory_read(e->world, rank, MEMORY_STALE_SECONDS, out);
}

void engine_on_step(engine *e, void (*fn)(void *user, int tokens), void *user)
{
    e->on_step = fn;
    e->on_step_user = user;
}
