/* Fake model, engine and client put together for one run. Collective: every rank of the world calls engine_bench_run(). */
#ifndef TESTS_ENGINE_ENGINE_BENCH_H
#define TESTS_ENGINE_ENGINE_BENCH_H

#include "tests/engine/engine_client.h"
#include "tests/engine/fake_model.h"

typedef struct engine_bench {
    fake_model_options model;   /* world filled in */
    engine_options engine;      /* sizes filled in from `model` */
    client_profile profile;     /* vocab and window filled in */
    int n_cases, most_open, pause_us;
    uint64_t seed;
} engine_bench;

typedef struct engine_bench_result {
    status run;                 /* of engine_run() */
    status_detail detail;
    char problem[512];          /* rank 0: what the client found wrong */
    engine_stats stats;         /* rank 0, at the end */
    fake_model_counts counts;
    int cached;                 /* rank 0: sum of n_cached */
} engine_bench_result;

/* A bench with plenty of everything: 16 sequences, 64 tokens a step, blocks of 4, a window of 10. */
engine_bench engine_bench_default(void);
/* KV bytes for that many blocks of full attention, with sliding blocks that cost next to nothing. */
int64_t engine_bench_bytes(int full_blocks);

/* Opens model and engine; both must be closed with engine_bench_close(). */
void engine_bench_open(world *w, engine_bench *b, model **m, engine **e);
void engine_bench_close(model *m, engine *e);
/* Random cases through the engine, from start to shutdown. */
engine_bench_result engine_bench_run(world *w, const engine_bench *bench);

#endif
