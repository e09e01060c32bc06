#include "tests/engine/engine_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FULL_BYTES = 1 << 16 };

int64_t engine_bench_bytes(int full_blocks) { return (int64_t)FULL_BYTES * full_blocks + FULL_BYTES - 1; }

engine_bench engine_bench_default(void)
{
    return (engine_bench){
        .model = {.groups = 1, .vocab = 61, .window = 10, .block_tokens = 4, .max_positions = 256, .max_tokens = 64, .max_sequences = 16,
                  .block_bytes = {FULL_BYTES, 8}},
        .engine = {.kv_cache_bytes = engine_bench_bytes(1200), .prefix_cache = true, .max_queue = 64},
        .profile = {.most_prompt = 150, .most_tokens = 40, .shared_percent = 60, .score_percent = 20, .levels = 1},
        .n_cases = 60,
        .most_open = 24,
        .pause_us = 0,
        .seed = 1,
    };
}

void engine_bench_open(world *w, engine_bench *b, model **m, engine **e)
{
    status_detail detail = {""};
    b->model.world = w;
    b->engine.max_sequences = b->model.max_sequences;
    b->engine.max_tokens_per_step = b->model.max_tokens;
    *m = fake_model_open(&b->model);
    if (engine_open(w, *m, &b->engine, e, &detail) != STATUS_OK) fail_msg("engine_open: %s", detail.text);
    b->profile.vocab = b->model.vocab;
    b->profile.window = b->model.window;
    b->profile.max_model_len = engine_max_model_len(*e);
}

void engine_bench_close(model *m, engine *e)
{
    engine_close(e);
    fake_model_close(m);
}

static client_case *make_cases(const engine_bench *b)
{
    client_case *cases = calloc((size_t)b->n_cases, sizeof *cases);
    test_random random = {b->seed};
    for (int i = 0; i < b->n_cases; i++) client_case_make(cases, i, &random, &b->profile);
    return cases;
}

/* Each constraint was freed exactly once, if its request was ever taken. */
static void drop_cases(client *c, char problem[512])
{
    for (int i = 0; i < c->n_cases; i++) {
        int freed = c->cases[i].constraint ? atomic_load(&c->cases[i].constraint->freed) : 0, wanted = c->cases[i].constraint && c->cases[i].id;
        if (freed != wanted && !*problem) snprintf(problem, 512, "case %d: its constraint was freed %d times", i, freed);
        client_case_free(&c->cases[i]);
    }
    free(c->cases);
}

engine_bench_result engine_bench_run(world *w, const engine_bench *bench)
{
    engine_bench b = *bench;
    engine_bench_result out = {.run = STATUS_OK};
    model *m;
    engine *e;
    engine_bench_open(w, &b, &m, &e);
    bool leads = world_rank(w) == 0, stops = b.model.fail_forward_at || b.model.fail_results_at;
    client c = {.engine = e, .n_cases = b.n_cases, .most_open = b.most_open, .pause_us = b.pause_us, .seed = b.seed, .same_finish = !stops};
    if (leads) {
        c.cases = make_cases(&b);
        client_start(&c);
    }
    out.run = engine_run(e, &out.detail);
    if (leads) {
        client_join(&c);
        strcpy(out.problem, c.problem);
        engine_get_stats(e, &out.stats);
        for (int i = 0; i < b.n_cases; i++) out.cached += c.cases[i].end.n_cached;
    }
    out.counts = fake_model_get_counts(m);
    engine_bench_close(m, e);
    if (leads) drop_cases(&c, out.problem);
    return out;
}
