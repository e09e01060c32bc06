#include "runtime/server/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const double ttft_bounds[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560, 0};
static const double token_bounds[] = {.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 0};
static const double request_bounds[] = {.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680, 0};
static const double n_bounds[] = {1, 2, 5, 10, 20, 0};
static const double step_bounds[] = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 0};

/* bounds NULL: 1, 2, 5, 10, ... up to the model's length. */
static const struct {
    const char *name, *help;
    const double *bounds;
} rows[METRICS_HISTOGRAMS] = {
    [METRICS_TTFT] = {"time_to_first_token_seconds", "Time from the request to its first token.", ttft_bounds},
    [METRICS_ITL] = {"inter_token_latency_seconds", "Time between two tokens of a sequence.", token_bounds},
    [METRICS_TIME_PER_TOKEN] = {"request_time_per_output_token_seconds", "Mean time per token after the first, per sequence.", token_bounds},
    [METRICS_E2E] = {"e2e_request_latency_seconds", "Time from submission to the last token.", request_bounds},
    [METRICS_QUEUE] = {"request_queue_time_seconds", "Time spent waiting.", request_bounds},
    [METRICS_INFERENCE] = {"request_inference_time_seconds", "Time spent running.", request_bounds},
    [METRICS_PREFILL] = {"request_prefill_time_seconds", "Time from being scheduled to the first token.", request_bounds},
    [METRICS_DECODE] = {"request_decode_time_seconds", "Time from the first token to the last.", request_bounds},
    [METRICS_PROMPT_TOKENS] = {"request_prompt_tokens", "Prompt tokens per sequence.", NULL},
    [METRICS_GENERATION_TOKENS] = {"request_generation_tokens", "Generated tokens per sequence.", NULL},
    [METRICS_PARAM_MAX_TOKENS] = {"request_params_max_tokens", "The max_tokens asked for.", NULL},
    [METRICS_MAX_GENERATION_TOKENS] = {"request_max_num_generation_tokens", "The most tokens a sequence of the request may have.", NULL},
    [METRICS_PREFILL_COMPUTED] = {"request_prefill_kv_computed_tokens", "Prompt tokens that the prefix cache did not give.", NULL},
    [METRICS_PARAM_N] = {"request_params_n", "The n asked for.", n_bounds},
    [METRICS_ITERATION_TOKENS] = {"iteration_tokens_total", "Tokens per engine step.", step_bounds},
};

static void decade_bounds(metrics_histogram *h, int max)
{
    static const double steps[] = {1, 2, 5};
    double decade = 1;
    for (int i = 0; i < METRICS_MAX_BUCKETS; i++) {
        double bound = steps[i % 3] * decade;
        if (i && bound > max) break;
        h->bounds[h->n_bounds++] = bound;
        if (i % 3 == 2) decade *= 10;
    }
}

void metrics_init(metrics *m, int max_model_len)
{
    memset(m, 0, sizeof *m);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    m->created = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    for (int i = 0; i < METRICS_HISTOGRAMS; i++) {
        metrics_histogram *h = &m->histograms[i];
        if (!rows[i].bounds) decade_bounds(h, max_model_len);
        else
            while (rows[i].bounds[h->n_bounds] > 0) h->bounds[h->n_bounds] = rows[i].bounds[h->n_bounds], h->n_bounds++;
    }
}

void metrics_observe(metrics *m, metrics_id id, double value)
{
    metrics_histogram *h = &m->histograms[id];
    if (!(value >= 0)) value = 0;
    int bucket = 0;
    while (bucket < h->n_bounds && value > h->bounds[bucket]) bucket++;
    atomic_fetch_add_explicit(&h->counts[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, (uint64_t)(value * 1e6 + 0.5), memory_order_relaxed);
}

void metrics_step(void *user, int tokens) { metrics_observe(user, METRICS_ITERATION_TOKENS, tokens); }

void metrics_finish(metrics *m, const engine_event *e, engine_finish reason, int max_tokens, int n)
{
    m->finished[reason]++;
    m->cached_tokens += (uint64_t)e->n_cached;
    metrics_observe(m, METRICS_PROMPT_TOKENS, e->n_prompt);
    metrics_observe(m, METRICS_GENERATION_TOKENS, e->n_generated);
    metrics_observe(m, METRICS_MAX_GENERATION_TOKENS, max_tokens);
    metrics_observe(m, METRICS_PARAM_MAX_TOKENS, max_tokens);
    metrics_observe(m, METRICS_PREFILL_COMPUTED, e->n_prompt - e->n_cached);
    metrics_observe(m, METRICS_PARAM_N, n);
    metrics_observe(m, METRICS_E2E, e->finished - e->submitted);
    if (e->scheduled <= 0) return;
    metrics_observe(m, METRICS_QUEUE, e->scheduled - e->submitted);
    metrics_observe(m, METRICS_INFERENCE, e->finished - e->scheduled);
    if (e->first_token <= 0) return;
    metrics_observe(m, METRICS_PREFILL, e->first_token - e->scheduled);
    metrics_observe(m, METRICS_DECODE, e->finished - e->first_token);
    if (e->n_generated > 1) metrics_observe(m, METRICS_TIME_PER_TOKEN, (e->finished - e->first_token) / (e->n_generated - 1));
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

/* A label's value: backslash, quote and line feed are escaped, other control characters dropped. */
static void label_text(const char *model_name, char *out, size_t size)
{
    size_t n = 0;
    for (; *model_name && n + 3 < size; model_name++) {
        if (*model_name == '"' || *model_name == '\\') out[n++] = '\\';
        if ((unsigned char)*model_name >= 0x20) out[n++] = *model_name;
    }
    out[n] = '\0';
}

static void write_value(json_writer *out, const char *type, const char *name, const char *suffix, const char *help, const char *labels,
                        double value)
{
    json_write_format(out, "# HELP vllm:%s%s %s\n# TYPE vllm:%s%s %s\nvllm:%s%s{", name, suffix, help, name, suffix, type, name, suffix);
    json_write_raw(out, labels);
    json_write_format(out, "} %.17g\n", value);
}

static void write_histogram(const metrics *m, int id, const char *labels, json_writer *out)
{
    const metrics_histogram *h = &m->histograms[id];
    const char *name = rows[id].name;
    json_write_format(out, "# HELP vllm:%s %s\n# TYPE vllm:%s histogram\n", name, rows[id].help, name);
    uint64_t total = 0;
    for (int i = 0; i <= h->n_bounds; i++) {
        total += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        json_write_format(out, "vllm:%s_bucket{", name);
        json_write_raw(out, labels);
        if (i < h->n_bounds) json_write_format(out, ",le=\"%.10g%s\"} %" PRIu64 "\n", h->bounds[i],
                                                 h->bounds[i] == (int64_t)h->bounds[i] ? ".0" : "", total);
        else json_write_format(out, ",le=\"+Inf\"} %" PRIu64 "\n", total);
    }
    json_write_format(out, "vllm:%s_count{", name);
    json_write_raw(out, labels);
    json_write_format(out, "} %" PRIu64 "\nvllm:%s_sum{", total, name);
    json_write_raw(out, labels);
    json_write_format(out, "} %.9g\n", (double)atomic_load_explicit(&h->sum, memory_order_relaxed) * 1e-6);
}

static void write_finished(const metrics *m, const char *labels, json_writer *out)
{
    static const char *const reasons[4] = {[ENGINE_FINISH_STOP] = "stop", [ENGINE_FINISH_LENGTH] = "length",
                                            [ENGINE_FINISH_CANCELLED] = "abort", [ENGINE_FINISH_ERROR] = "error"};
    json_write_raw(out, "# HELP vllm:request_success_total Finished sequences by reason.\n# TYPE vllm:request_success_total counter\n");
    for (int i = 0; i < 4; i++) {
        json_write_raw(out, "vllm:request_success_total{");
        json_write_raw(out, labels);
        json_write_format(out, ",finished_reason=\"%s\"} %" PRIu64 "\n", reasons[i], m->finished[i]);
    }
}

void metrics_labels(const char *model_name, char out[METRICS_LABELS])
{
    char name[METRICS_LABELS - 32];
    label_text(model_name, name, sizeof name);
    snprintf(out, METRICS_LABELS, "model_name=\"%s\",engine=\"0\"", name);
}

void metrics_write(const metrics *m, const engine_stats *s, int64_t kv_tokens, const char *labels, json_writer *out)
{
    write_value(out, "gauge", "num_requests_running", "", "Sequences in the batch.", labels, s->running);
    write_value(out, "gauge", "num_requests_waiting", "", "Sequences in the queue.", labels, s->waiting);
    write_value(out, "gauge", "kv_cache_usage_perc", "", "Share of the KV cache in use, 0 to 1.", labels, s->kv_usage);
    write_value(out, "gauge", "kv_cache_tokens", "", "Tokens the KV cache holds.", labels, (double)kv_tokens);
    const struct {
        const char *name, *help;
        uint64_t value;
    } counters[] = {
        {"prompt_tokens", "Prompt tokens processed.", s->prompt_tokens},
        {"generation_tokens", "Tokens generated.", s->generated_tokens},
        {"num_preemptions", "Sequences put back into the queue for lack of KV cache.", s->preemptions},
        {"prefix_cache_queries", "Prompt tokens looked up in the prefix cache.", s->prefix_queries},
        {"prefix_cache_hits", "Prompt tokens found in the prefix cache.", s->prefix_hits},
        {"prompt_tokens_cached", "Prompt tokens of finished sequences that the prefix cache gave.", m->cached_tokens},
        {"prompt_tokens_recomputed", "Tokens computed again after a preemption.", s->prompt_tokens_recomputed},
    };
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        write_value(out, "counter", counters[i].name, "_total", counters[i].help, labels, (double)counters[i].value);
        write_value(out, "gauge", counters[i].name, "_created", "Unix time at which the counter began.", labels, m->created);
    }
    write_finished(m, labels, out);
    for (int i = 0; i < METRICS_HISTOGRAMS; i++) write_histogram(m, i, labels, out);
}
