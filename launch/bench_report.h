/* The table of `gptoss-tp bench` for people, row by row on standard output, and the same with more in JSON. Rank 0 alone. */
#ifndef LAUNCH_BENCH_REPORT_H
#define LAUNCH_BENCH_REPORT_H

#include "launch/bench_limits.h"
#include "launch/bench_options.h"
#include "launch/bench_samples.h"
#include "runtime/base/settings.h"

typedef struct bench_report bench_report;

/* What was measured on what. */
typedef struct bench_setting {
    const settings *settings;
    const char *dir;            /* "": no files */
    const model_config *config;
    const shard_plan *plan;     /* rank 0's */
    const ops_caps *caps;
    const bench_limits *limits;
    const bench_options *options;
    int threads;
    int max_tokens;             /* of a step in one group, as the model was opened */
} bench_setting;

typedef struct bench_load {
    double seconds;
    int64_t bytes_all;     /* of weights, over all ranks */
    int64_t bytes_most;    /* on the rank that holds most */
    int64_t kv_bytes;      /* of KV cache per rank that the cases to come take; 0: none */
    int64_t memory_free;   /* after both, the least over all ranks */
} bench_load;

typedef struct bench_speed {
    bool prefill;
    int sequences;         /* in all groups */
    int tokens;            /* decode: context; prefill: of each prompt */
    const bench_samples *samples; /* of steps; of whole prompts */
    roofline_work work;    /* of the slowest rank, over the sample */
    double floor_seconds;  /* at the roofline; 0: unknown */
} bench_speed;

typedef struct bench_collective {
    const char *name;
    const char *transport;
    int ranks;
    int rows;              /* of hidden numbers, that each rank holds */
    int64_t bytes;         /* of those rows */
    int64_t bytes_moved;   /* that a rank must send at least; 0: depends on the routing */
    const bench_samples *samples;
} bench_collective;

/* STATUS_USAGE when the JSON file (NULL: none) cannot be created. */
status bench_report_open(const char *json_path, bench_report **out, status_detail *detail);
void bench_report_close(bench_report *r); /* NULL is allowed */

void bench_report_setting(bench_report *r, const bench_setting *s);
void bench_report_load(bench_report *r, const bench_load *l);
void bench_report_speed(bench_report *r, const bench_speed *s);
void bench_report_collective(bench_report *r, const bench_collective *c);
/* A line for what was not measured, and why. */
void bench_report_note(bench_report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes the JSON file, if one was asked for. */
status bench_report_write(bench_report *r, status_detail *detail);

#endif
