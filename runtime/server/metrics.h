/* Prometheus figures under vLLM's names, so that dashboards made for it work. Counters and histograms live here; gauges are asked of the
 * engine when somebody scrapes. All functions run on the server's thread, but metrics_step(), which may run on any. */
#ifndef RUNTIME_SERVER_METRICS_H
#define RUNTIME_SERVER_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "runtime/engine/engine.h"
#include "runtime/server/json_write.h"

enum { METRICS_MAX_BUCKETS = 32 };

typedef enum metrics_id {
    METRICS_TTFT,
    METRICS_ITL,
    METRICS_TIME_PER_TOKEN,
    METRICS_E2E,
    METRICS_QUEUE,
    METRICS_INFERENCE,
    METRICS_PREFILL,
    METRICS_DECODE,
    METRICS_PROMPT_TOKENS,
    METRICS_GENERATION_TOKENS,
    METRICS_PARAM_MAX_TOKENS,
    METRICS_MAX_GENERATION_TOKENS,
    METRICS_PREFILL_COMPUTED,
    METRICS_PARAM_N,
    METRICS_ITERATION_TOKENS,
    METRICS_HISTOGRAMS,
} metrics_id;

/* Atomic because one of them is fed by the engine's thread. `sum` is in units of 1e-6. */
typedef struct metrics_histogram {
    double bounds[METRICS_MAX_BUCKETS];
    int n_bounds;
    _Atomic uint64_t counts[METRICS_MAX_BUCKETS + 1];
    _Atomic uint64_t sum;
} metrics_histogram;

typedef struct metrics {
    metrics_histogram histograms[METRICS_HISTOGRAMS];
    uint64_t finished[4]; /* by engine_finish */
    uint64_t cached_tokens;
    double created;       /* Unix time */
} metrics;

void metrics_init(metrics *m, int max_model_len);
void metrics_observe(metrics *m, metrics_id id, double value);
/* For engine_on_step(); user is a metrics. */
void metrics_step(void *user, int tokens);
/* A FINISH event. `reason` is what the client was told: a sequence cut at a stop string is STOP, though the engine saw it cancelled. */
void metrics_finish(metrics *m, const engine_event *event, engine_finish reason, int max_tokens, int n);

/* What all figures of the engine bear, without braces. */
enum { METRICS_LABELS = 300 };
void metrics_labels(const char *model_name, char out[METRICS_LABELS]);
/* The text format, version 0.0.4. */
void metrics_write(const metrics *m, const engine_stats *stats, int64_t kv_tokens, const char *labels, json_writer *out);

#endif
