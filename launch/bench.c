/* gptoss-tp bench: how fast the model itself is, without HTTP and without a scheduler.
 *
 * Read from bench_run() at the end: limits of the device, collectives, loading, decode, prefill, in this order; bench_cases.c is where the
 * model is timed. Ranks can fail apart from each other, so after every step that may fail they agree (world_agree).
 */
#include <stdlib.h>

#include "launch/bench_job.h"
#include "launch/job.h"
#include "launch/main.h"
#include "runtime/base/log.h"
#include "runtime/engine/kv_sizing.h"

/* ---- what the parts share ---------------------------------------------------------------------------------------- */

status bench_job_agree(bench_job *j, status mine) { return world_agree(j->world, mine, &j->failure->detail, &j->failure->speaks); }

status bench_job_share(bench_job *j, int *value) { return world_broadcast(j->world, value, sizeof *value, &j->failure->detail); }

const char *bench_job_backend(const bench_job *j)
{
    static const char *const names[] = {"auto", "cuda", "cpu"};
    return names[j->settings.backend];
}

static void lost(void *user, int lost_rank, bool speaks)
{
    (void)user;
    if (speaks) log_error("rank %d was lost, so the benchmark ends: look for its last words above", lost_rank);
    main_leave(status_exit_code(STATUS_PEER));
}

/* ---- the steps, in order ----------------------------------------------------------------------------------------- */

static status configure(bench_job *j, int argc, char **argv)
{
    status_detail *detail = &j->failure->detail;
    STATUS_TRY(bench_options_read(argc, argv, &j->options, &j->settings, detail));
    const settings *s = &j->settings;
    log_configure((log_level)s->log.level, s->log.format == LOG_FORMAT_JSON, world_rank(j->world), world_size(j->world));
    j->threads = s->engine.threads == SETTINGS_AUTO ? job_threads(world_local_size(j->world)) : (int)s->engine.threads;
    STATUS_TRY(configuration_locate(s, s->model.weights == WEIGHTS_DUMMY, j->dir, &j->config, detail));
    shard_layout layout = {s->parallel.attention, s->parallel.experts};
    STATUS_TRY(shard_plan_make(&j->config, layout, world_rank(j->world), world_size(j->world), &j->plan, detail));
    int64_t limit = s->engine.max_model_len;
    int positions = limit == SETTINGS_AUTO || limit > j->config.max_positions ? j->config.max_positions : (int)limit;
    STATUS_TRY(bench_options_complete(&j->options, s->engine.max_sequences, j->plan.dp, positions, detail));
    if (world_rank(j->world) != 0) return STATUS_OK;
    return bench_report_open(j->options.json, &j->report, detail);
}

/* Slots of one group for the largest batch. */
static int group_slots(const bench_job *j)
{
    return roofline_group_sequences(j->options.batches.values[j->options.batches.count - 1], j->plan.dp, 0);
}

/* What the backend is like, before there is a model: opens it for a moment. */
static status ask_backend(bench_job *j)
{
    ops_options options = {.backend = bench_job_backend(j), .device = j->settings.parallel.share_gpu ? 0 : world_local_rank(j->world),
                           .threads = j->threads};
    ops_context *context;
    const ops *backend = ops_find(options.backend);
    if (!backend)
        return status_fail(&j->failure->detail, STATUS_USAGE, "backend: %s is not in this build, which has %s", options.backend, ops_names());
    STATUS_TRY(backend->open(&options, &context, &j->failure->detail));
    backend->caps(context, &j->caps);
    backend->close(context);
    return STATUS_OK;
}

static void find_limits(bench_job *j)
{
    world_barrier(j->world); /* ranks of a host measure at the same time, as they will work */
    bool shares = j->settings.parallel.share_gpu;
    bench_limits_find(&j->caps, shares ? 0 : world_local_rank(j->world), shares ? world_local_size(j->world) : 1, j->threads, &j->options.limits,
                      &j->limits);
    world_barrier(j->world);
    j->max_tokens = (int)j->settings.engine.max_tokens_per_step;
    if (j->options.cases & BENCH_DECODE && group_slots(j) > j->max_tokens) j->max_tokens = group_slots(j);
    bench_setting setting = {.settings = &j->settings, .dir = j->dir, .config = &j->config, .plan = &j->plan, .caps = &j->caps,
                             .limits = &j->limits, .options = &j->options, .threads = j->threads, .max_tokens = j->max_tokens};
    if (j->report) bench_report_setting(j->report, &setting);
}

static status load(bench_job *j)
{
    bool decodes = j->options.cases & BENCH_DECODE, prefills = j->options.cases & BENCH_PREFILL;
    const settings *s = &j->settings;
    int longest = decodes ? j->options.context : 1;
    int prompt = prefills ? j->options.prompts.values[j->options.prompts.count - 1] : 0;
    if (prompt > longest) longest = prompt;
    model_options options = {.dir = *j->dir ? j->dir : NULL,
                             .config = &j->config,
                             .weights = s->model.weights,
                             .layout = j->plan.layout,
                             .backend = bench_job_backend(j),
                             .share_gpu = s->parallel.share_gpu,
                             .threads = j->threads,
                             .max_tokens = j->max_tokens,
                             .max_sequences = decodes ? group_slots(j) : 1,
                             .max_model_len = longest};
    return model_open(j->world, &options, &j->model, &j->failure->detail);
}

/* Keeps the entries of `list` whose cache fits: an entry's value becomes *field (divided over the groups), and stays there if it fits. */
static void keep_what_fits(bench_job *j, const char *what, bench_list *list, bench_shape *shape, int *field, int groups, int64_t budget)
{
    int kept = 0;
    for (int i = 0; i < list->count; i++) {
        int before = *field;
        *field = roofline_group_sequences(list->values[i], groups, 0);
        int64_t bytes = bench_sequences_bytes(j->model, shape);
        if (bytes <= budget) {
            list->values[kept++] = list->values[i];
            continue;
        }
        *field = before;
        if (j->report)
            bench_report_note(j->report, "left out: %s %d, whose KV cache of %.3f GB a rank does not fit into the %.3f GB that are free", what,
                              list->values[i], (double)bytes / 1e9, (double)budget / 1e9);
    }
    list->count = kept;
}

/* Which batches and prompts fit, and their KV cache. */
static status open_sequences(bench_job *j)
{
    ops_caps caps;
    model_get_caps(j->model, &caps);
    int64_t budget = kv_sizing_budget(caps.memory_free, caps.host_memory, world_local_size(j->world));
    STATUS_TRY(world_min_i64(j->world, &budget, &j->failure->detail));
    bench_shape shape = {.context = j->options.context, .max_tokens = j->max_tokens};
    if (j->options.cases & BENCH_PREFILL) keep_what_fits(j, "a prompt of", &j->options.prompts, &shape, &shape.prompt, 1, budget);
    if (j->options.cases & BENCH_DECODE) keep_what_fits(j, "batch", &j->options.batches, &shape, &shape.slots, j->plan.dp, budget);
    if (!shape.slots && !shape.prompt)
        return status_fail(&j->failure->detail, STATUS_MACHINE,
                           "nothing that was asked for fits into the %.3f GB free for the KV cache: take fewer sequences (--batch), a shorter "
                           "--context or --prompt, or more ranks",
                           (double)budget / 1e9);
    return bench_sequences_open(j->model, &shape, &j->sequences, &j->failure->detail);
}

static status report_load(bench_job *j, double seconds)
{
    ops_caps caps;
    model_get_caps(j->model, &caps);
    bench_load row = {.seconds = seconds, .memory_free = caps.memory_free};
    STATUS_TRY(world_min_i64(j->world, &row.memory_free, &j->failure->detail));
    row.kv_bytes = j->sequences ? bench_sequences_kv_bytes(j->sequences) : 0;
    for (int rank = 0; rank < j->plan.world; rank++) {
        shard_plan plan;
        STATUS_TRY(shard_plan_make(&j->config, j->plan.layout, rank, j->plan.world, &plan, &j->failure->detail));
        row.bytes_all += shard_plan_bytes(&plan);
        if (shard_plan_bytes(&plan) > row.bytes_most) row.bytes_most = shard_plan_bytes(&plan);
    }
    if (!j->report) return STATUS_OK;
    bench_report_load(j->report, &row);
    if (j->caps.host_memory && j->settings.model.weights == WEIGHTS_CHECKPOINT)
        bench_report_note(j->report, "load: backend %s maps the files and reads them as steps need them", j->caps.name);
    if (j->settings.model.weights == WEIGHTS_DUMMY) bench_report_note(j->report, "load: dummy weights are made, not read");
    return STATUS_OK;
}

static status measure(bench_job *j)
{
    unsigned cases = j->options.cases;
    if (cases & BENCH_COLLECTIVES) STATUS_TRY(bench_collectives_run(j));
    if (!(cases & (BENCH_LOAD | BENCH_DECODE | BENCH_PREFILL))) return STATUS_OK;
    world_barrier(j->world);
    double begin = bench_samples_now();
    STATUS_TRY(bench_job_agree(j, load(j)));
    double seconds = bench_samples_now() - begin;
    if (cases & (BENCH_DECODE | BENCH_PREFILL)) STATUS_TRY(bench_job_agree(j, open_sequences(j)));
    STATUS_TRY(bench_job_agree(j, report_load(j, seconds)));
    if (cases & BENCH_DECODE) STATUS_TRY(bench_cases_decode(j));
    if (cases & BENCH_PREFILL) STATUS_TRY(bench_cases_prefill(j));
    return STATUS_OK;
}

static status run(bench_job *j, int argc, char **argv)
{
    STATUS_TRY(bench_job_agree(j, configure(j, argc, argv)));
    STATUS_TRY(bench_job_agree(j, ask_backend(j)));
    find_limits(j);
    STATUS_TRY(measure(j));
    return bench_job_agree(j, j->report ? bench_report_write(j->report, &j->failure->detail) : STATUS_OK);
}

static status bench_run(int argc, char **argv, verb_failure *failure)
{
    bench_job *j = calloc(1, sizeof *j);
    if (!j) return status_fail(&failure->detail, STATUS_MACHINE, "out of memory");
    j->failure = failure;
    status result = world_open(lost, NULL, &j->world, &failure->detail);
    if (result != STATUS_OK) goto free_job;
    result = run(j, argc, argv);

    bench_report_close(j->report);
    bench_sequences_close(j->sequences);
    model_close(j->model);
    settings_free(&j->settings);
    world_close(j->world);
free_job:
    free(j);
    return result;
}

const verb verb_bench = {
    .name = "bench",
    .synopsis = "CONFIG [--case C] [--batch LIST] [--context N] [--prompt LIST] [--json FILE]",
    .summary = "offline speed: tokens/s by batch size and prompt length, share of the roofline; start it by mpirun like serve",
    .flags = "  --case C          decode, prefill, collectives, load or all; default all\n"
             "  --batch LIST      sequences decoded together, over all groups: 1,2,64; default 1, 2, 4, ... to engine.max_sequences in each group,\n"
             "                    1024 at most\n"
             "  --context N       tokens that a decode step looks at; default 1024\n"
             "  --prompt LIST     tokens of prompts; default 512, 1024, ... 32768 as far as the model goes\n"
             "  --seconds S       how long each row is measured; default 2\n"
             "  --json FILE       everything measured, and on what, as JSON\n"
             "  --bandwidth RATE  what the device of a rank reads at most, such as 4.55TB/s; default: known or measured\n"
             "  --flops RATE      what it computes at most, such as 790TFLOP/s; default: known\n",
    .configured = true,
    .run = bench_run,
};
