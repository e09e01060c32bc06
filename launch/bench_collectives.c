/* Collectives by size, as the forward pass of the layout uses them: over buffers of the backend, ordered on its stream, without a model. */
#include <stdlib.h>
#include <string.h>

#include "launch/bench_job.h"

/* A sample is the mean of several operations in a row, for the host must wait at its end. Sums grow by the number of ranks each time, so data is
 * renewed between samples and there are few enough of them that no number overflows: 4096^10 < 1e38. */
enum { MOST_OPERATIONS = 10, LEAST_SAMPLES = 3, MOST_SAMPLES = 50, GROWTH = 4 };

typedef struct collectives {
    bench_job *job;
    const ops *ops;
    ops_context *context;
    comm *everyone, *group; /* group: of ranks that share attention heads; NULL when that is everyone or only ourselves */
    exchange *exchange;     /* NULL unless tokens travel */
    int max_rows;
    dtype type;
    void *data, *gathered;  /* device: [max_rows, hidden]; [ranks, max_rows, hidden] */
    void *host;             /* what data is renewed from */
    int32_t *expert_ids;    /* device [max_rows, top_k], where tokens travel; as the next */
    float *expert_weights;
} collectives;

static status_detail *detail_of(collectives *c) { return &c->job->failure->detail; }

/* ---- the operations ---------------------------------------------------------------------------------------------- */

typedef struct operation {
    const char *name;
    comm *over;
    status (*run)(collectives *c, comm *over, int rows);
    /* What a rank must send at least, as a multiple of the rows' bytes, among n ranks. */
    double (*share)(int n);
} operation;

static size_t elements(const collectives *c, int rows) { return (size_t)rows * (size_t)c->job->config.hidden; }

static status run_all_reduce(collectives *c, comm *over, int rows) { return comm_all_reduce(over, c->data, elements(c, rows), c->type, detail_of(c)); }
static status run_all_gather(collectives *c, comm *over, int rows)
{
    return comm_all_gather(over, c->data, elements(c, rows), c->type, c->gathered, detail_of(c));
}
/* There and back: what was received is returned as it is. */
static status run_exchange(collectives *c, comm *over, int rows)
{
    (void)over;
    exchange_rows received;
    STATUS_TRY(exchange_dispatch(c->exchange, rows, rows, c->data, c->expert_ids, c->expert_weights, &received, detail_of(c)));
    return exchange_combine(c->exchange, c->gathered, c->data, detail_of(c));
}

static double share_of_reduce(int n) { return 2.0 * (n - 1) / n; }
static double share_of_gather(int n) { return n - 1; }
static double share_unknown(int n) { return (void)n, 0; }

/* ---- timing ------------------------------------------------------------------------------------------------------ */

/* Waits for the stream by fetching a number. */
static status synchronise(collectives *c)
{
    char number[4];
    return c->ops->download(c->context, number, c->data, sizeof number, detail_of(c));
}

static status take_sample(collectives *c, const operation *o, int rows, int count, double *each)
{
    STATUS_TRY(c->ops->upload(c->context, c->data, c->host, elements(c, rows) * dtype_size(c->type), detail_of(c)));
    world_barrier(c->job->world);
    double begin = bench_samples_now();
    for (int i = 0; i < count; i++) STATUS_TRY(o->run(c, o->over, rows));
    STATUS_TRY(synchronise(c));
    *each = (bench_samples_now() - begin) / count;
    return STATUS_OK;
}

static status time_operation(collectives *c, const operation *o, int rows)
{
    bench_job *j = c->job;
    double each;
    int samples;
    STATUS_TRY(take_sample(c, o, rows, 2, &each));
    STATUS_TRY(take_sample(c, o, rows, 1, &each));
    /* a whole table is a few dozen rows */
    samples = bench_samples_repeats(j->options.seconds / 8, each * MOST_OPERATIONS, LEAST_SAMPLES, MOST_SAMPLES);
    STATUS_TRY(bench_job_share(j, &samples));
    for (j->samples.count = 0; j->samples.count < samples; j->samples.count++)
        STATUS_TRY(take_sample(c, o, rows, MOST_OPERATIONS, &j->samples.seconds[j->samples.count]));
    return STATUS_OK;
}

static status run_size(collectives *c, const operation *o, int rows)
{
    bench_job *j = c->job;
    STATUS_TRY(bench_job_agree(j, time_operation(c, o, rows)));
    int64_t bytes = (int64_t)(elements(c, rows) * dtype_size(c->type));
    bench_collective row = {.name = o->name, .transport = comm_transport(o->over), .ranks = comm_size(o->over), .rows = rows, .bytes = bytes,
                            .bytes_moved = (int64_t)(o->share(comm_size(o->over)) * (double)bytes), .samples = &j->samples};
    if (j->report) bench_report_collective(j->report, &row);
    return STATUS_OK;
}

static status run_operation(collectives *c, const operation *o)
{
    if (!o->over) return STATUS_OK;
    for (int rows = 1; rows < c->max_rows; rows *= GROWTH) STATUS_TRY(run_size(c, o, rows));
    return run_size(c, o, c->max_rows);
}

static status run_all(collectives *c)
{
    const operation operations[] = {
        {"all-reduce", c->everyone, run_all_reduce, share_of_reduce},
        {"all-reduce", c->group, run_all_reduce, share_of_reduce},
        {"all-gather", c->everyone, run_all_gather, share_of_gather},
        {"all-gather", c->group, run_all_gather, share_of_gather},
        {"exchange", c->exchange ? c->everyone : NULL, run_exchange, share_unknown},
    };
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) STATUS_TRY(run_operation(c, &operations[i]));
    return STATUS_OK;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Numbers within [1, 2) in either type: the upper half of an F32 is the BF16. */
static void fill_rows(collectives *c, size_t count)
{
    uint32_t state = 1 + (uint32_t)c->job->plan.rank;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u; /* Knuth, "The Art of Computer Programming" volume 2, 3.3.4 */
        uint32_t bits = 0x3f800000u | state >> 9;
        uint16_t half = (uint16_t)(bits >> 16);
        if (c->type == DTYPE_F32)
            memcpy((uint32_t *)c->host + i, &bits, sizeof bits);
        else
            memcpy((uint16_t *)c->host + i, &half, sizeof half);
    }
}

/* Every row goes to top_k experts, evenly spread over all. */
static status place_routing(collectives *c)
{
    const model_config *config = &c->job->config;
    size_t count = (size_t)c->max_rows * (size_t)config->experts_per_token;
    int32_t *ids = malloc(count * sizeof *ids);
    float *weights = malloc(count * sizeof *weights);
    status result = ids && weights ? STATUS_OK : status_fail(detail_of(c), STATUS_MACHINE, "out of memory");
    for (size_t i = 0; result == STATUS_OK && i < count; i++) {
        ids[i] = (int32_t)((i + (size_t)c->job->plan.rank) % (size_t)config->experts);
        weights[i] = 1.0F / (float)config->experts_per_token;
    }
    if (result == STATUS_OK) result = c->ops->allocate(c->context, count * sizeof *ids, (void **)&c->expert_ids, detail_of(c));
    if (result == STATUS_OK) result = c->ops->allocate(c->context, count * sizeof *weights, (void **)&c->expert_weights, detail_of(c));
    if (result == STATUS_OK) result = c->ops->upload(c->context, c->expert_ids, ids, count * sizeof *ids, detail_of(c));
    if (result == STATUS_OK) result = c->ops->upload(c->context, c->expert_weights, weights, count * sizeof *weights, detail_of(c));
    free(weights);
    free(ids);
    return result;
}

static status open_device(collectives *c)
{
    bench_job *j = c->job;
    ops_options options = {.backend = bench_job_backend(j),
                           .device = j->settings.parallel.share_gpu ? 0 : world_local_rank(j->world),
                           .threads = j->threads};
    c->ops = ops_find(options.backend);
    if (!c->ops) return status_fail(detail_of(c), STATUS_USAGE, "backend: %s is not in this build, which has %s", options.backend, ops_names());
    STATUS_TRY(c->ops->open(&options, &c->context, detail_of(c)));
    size_t count = elements(c, c->max_rows), bytes = count * dtype_size(c->type);
    STATUS_TRY(c->ops->allocate(c->context, bytes, &c->data, detail_of(c)));
    STATUS_TRY(c->ops->allocate(c->context, bytes * (size_t)j->plan.world, &c->gathered, detail_of(c)));
    c->host = malloc(bytes);
    if (!c->host) return status_fail(detail_of(c), STATUS_MACHINE, "no memory for %zu bytes", bytes);
    fill_rows(c, count);
    /* what an exchange returns must be numbers */
    for (int r = 0; r < j->plan.world; r++)
        STATUS_TRY(c->ops->upload(c->context, (char *)c->gathered + (size_t)r * bytes, c->host, bytes, detail_of(c)));
    return place_routing(c);
}

static status open_groups(collectives *c)
{
    bench_job *j = c->job;
    comm_options options = {.transport = "auto",
                            .host_memory = j->caps.host_memory,
                            .stream = c->ops->stream(c->context),
                            .max_bytes = elements(c, c->max_rows) * dtype_size(c->type)};
    STATUS_TRY(comm_open(j->world, 0, &options, &c->everyone, detail_of(c)));
    if (j->plan.tp > 1 && j->plan.dp > 1) STATUS_TRY(comm_open(j->world, j->plan.dp_rank, &options, &c->group, detail_of(c)));
    if (j->plan.dp == 1 || j->plan.layout.experts != EXPERTS_EP) return STATUS_OK;
    exchange_shape shape = {.max_rows = c->max_rows, .row_size = j->config.hidden, .type = c->type, .top_k = j->config.experts_per_token,
                            .n_experts = j->config.experts};
    return exchange_open(c->everyone, &shape, &c->exchange, detail_of(c));
}

status bench_collectives_run(bench_job *j)
{
    collectives c = {.job = j, .max_rows = j->max_tokens, .type = j->caps.activation};
    if (j->plan.world == 1) {
        if (j->report) bench_report_note(j->report, "collectives: none, one rank has nobody to exchange with");
        return STATUS_OK;
    }
    status result = bench_job_agree(j, open_device(&c));
    if (result == STATUS_OK) result = bench_job_agree(j, open_groups(&c));
    if (result == STATUS_OK) result = run_all(&c);
    exchange_close(c.exchange);
    comm_close(c.group);
    comm_close(c.everyone);
    if (c.context) c.ops->close(c.context);
    free(c.host);
    return result;
}
