/* What the parts of `gptoss-tp bench` share. */
#ifndef LAUNCH_BENCH_JOB_H
#define LAUNCH_BENCH_JOB_H

#include "comm/comm.h"
#include "launch/bench_limits.h"
#include "launch/bench_options.h"
#include "launch/bench_report.h"
#include "launch/bench_sequences.h"
#include "launch/configuration.h"
#include "launch/verb.h"
#include "runtime/model/model.h"

typedef struct bench_job {
    verb_failure *failure;
    world *world;
    settings settings;
    bench_options options;
    char dir[CONFIGURATION_MAX_PATH];
    model_config config;
    shard_plan plan;
    int threads;
    int max_tokens;    /* of a step in one group */
    ops_caps caps;
    bench_limits limits;
    model *model;
    bench_sequences *sequences;
    bench_samples samples;
    bench_report *report; /* NULL but on rank 0 */
} bench_job;

/* All ranks agree on success; see world_agree. */
status bench_job_agree(bench_job *j, status mine);
/* All ranks take rank 0's `value`. */
status bench_job_share(bench_job *j, int *value);
/* The configuration's name of the backend. */
const char *bench_job_backend(const bench_job *j);

/* Every case ends in an agreement. The first two need `sequences`, the last one needs no model. */
status bench_cases_decode(bench_job *j);
status bench_cases_prefill(bench_job *j);
status bench_collectives_run(bench_job *j);

#endif
