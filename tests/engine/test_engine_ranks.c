/* The engine over the fake model on all ranks of a job, in every split into data-parallel groups. Run under mpirun; alone it is a world of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "runtime/engine/engine_memory.h"
#include "tests/engine/engine_bench.h"

static world *the_world;

static double seconds_now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void every_split_answers_the_same(void **state)
{
    (void)state;
    int ranks = world_size(the_world);
    for (int groups = 1; groups <= ranks; groups *= 2) {
        for (int round = 0; round < 4; round++) {
            engine_bench b = engine_bench_default();
            b.model.groups = groups;
            b.model.asynchronous = round & 1;
            b.model.max_sequences = 6;
            if (round & 2) b.engine.kv_cache_bytes = engine_bench_bytes(70); /* preemptions */
            b.profile.cancel_percent = round & 2 ? 10 : 0;
            b.profile.most_tokens = 60;
            b.profile.constrain_percent = 40;
            b.pause_us = 200;
            b.seed = (uint64_t)round + 20;
            engine_bench_result r = engine_bench_run(the_world, &b);
            if (r.run != STATUS_OK) fail_msg("%d groups, round %d: engine_run: %s", groups, round, r.detail.text);
            if (*r.problem) fail_msg("%d groups, round %d: %s", groups, round, r.problem);
            assert_true(r.counts.most_sequences > 1); /* no group stood idle */
        }
    }
}

/* Plans longer than one broadcast: long prompts, penalties, many sequences. */
static void long_plans_arrive_whole(void **state)
{
    (void)state;
    engine_bench b = engine_bench_default();
    b.model.max_tokens = 900;
    b.model.max_positions = 900;
    b.profile.most_prompt = 800;
    b.n_cases = 20;
    engine_bench_result r = engine_bench_run(the_world, &b);
    assert_int_equal(r.run, STATUS_OK);
    assert_string_equal(r.problem, "");
    assert_true(r.counts.most_tokens > 512);
}

/* A failure that rank 0 sees, of its own or out of the results of another group, ends the run on every rank, with one reason. Rank 0 has its status;
 * to the others it is a peer's. */
static void a_failure_ends_it_everywhere(void **state)
{
    (void)state;
    int ranks = world_size(the_world);
    for (int round = 0; round < 4; round++) {
        engine_bench b = engine_bench_default();
        b.model.groups = ranks;
        b.model.asynchronous = round & 1;
        b.model.fail_results_at = 9;
        b.model.fail_rank = round & 2 ? ranks - 1 : 0;
        engine_bench_result r = engine_bench_run(the_world, &b);
        assert_int_equal(r.run, world_rank(the_world) == 0 ? STATUS_MACHINE : STATUS_PEER);
        assert_non_null(strstr(r.detail.text, "the fake device lost its results"));
        if (world_rank(the_world) == 0 && *r.problem) assert_non_null(strstr(r.problem, "refused")); /* what was submitted afterwards */
    }
}

/* ---- idle ------------------------------------------------------------------------------------------------------- */

enum { WAKES = 15 };

typedef struct idler {
    engine *engine;
    double first_token[WAKES]; /* seconds from submission */
    double cpu_share;          /* of a core, by this process, while nothing was asked */
} idler;

static int by_value(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

/* On every rank, next to the engine's thread. */
static void *sit_idle_then_ask(void *user)
{
    idler *i = user;
    const int32_t prompt[] = {3, 1, 4, 1, 5};
    engine_request r = {.prompt = prompt, .n_prompt = 5, .max_tokens = 3, .top_logprobs = -1, .prompt_logprobs = -1,
                        .sampling = {.top_p = 1, .repetition_penalty = 1}};
    usleep(100000); /* until all are parked */
    double cpu = seconds_now(CLOCK_PROCESS_CPUTIME_ID), wall = seconds_now(CLOCK_MONOTONIC);
    usleep(1000000);
    i->cpu_share = (seconds_now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (seconds_now(CLOCK_MONOTONIC) - wall);
    if (world_rank(the_world) != 0) return NULL;
    usleep(200000); /* the others measure a little later */
    for (int k = 0; k < WAKES; k++) {
        uint64_t id;
        engine_event event;
        bool first = true;
        usleep(30000);
        double begin = seconds_now(CLOCK_MONOTONIC);
        if (engine_submit(i->engine, &r, &id, NULL) != STATUS_OK) break;
        while (client_poll(i->engine, &event, 1, 20) && event.kind != ENGINE_EVENT_FINISH) {
            if (first) i->first_token[k] = seconds_now(CLOCK_MONOTONIC) - begin;
            first = false;
        }
    }
    engine_shutdown(i->engine, 5);
    return NULL;
}

static void idle_ranks_cost_nothing_and_wake_at_once(void **state)
{
    (void)state;
    model *m;
    engine *e;
    engine_bench b = engine_bench_default();
    b.model.groups = world_size(the_world);
    engine_bench_open(the_world, &b, &m, &e);
    world_barrier(the_world);
    idler i = {.engine = e};
    pthread_t thread;
    pthread_create(&thread, NULL, sit_idle_then_ask, &i);
    assert_int_equal(engine_run(e, NULL), STATUS_OK);
    pthread_join(thread, NULL);
    print_message("rank %d: %.2f %% of a core while idle\n", world_rank(the_world), 100 * i.cpu_share);
    assert_true(i.cpu_share < 0.02);
    if (world_rank(the_world) == 0) {
        qsort(i.first_token, WAKES, sizeof *i.first_token, by_value);
        print_message("first token after idle: %.3f ms median, %.3f ms worst\n", 1e3 * i.first_token[WAKES / 2],
                      1e3 * i.first_token[WAKES - 1]);
        /* The best third: other work on the machine's cores delays single wake-ups, but not a third of them. */
        assert_true(i.first_token[0] > 0 && i.first_token[WAKES / 3] < 0.005);
    }
    engine_bench_close(m, e);
}

/* Waits until every rank but `silent` has told since `start`, and one of them at least `looks` looks; false: too long. */
static bool all_have_told(double start, int silent, int64_t looks)
{
    for (;;) {
        double since = seconds_now(CLOCK_MONOTONIC) - start;
        int known = 0, ranks = world_size(the_world);
        for (int r = 0; r < ranks; r++) {
            engine_memory memory;
            if (!engine_memory_read(the_world, r, since, &memory) || memory.used < looks) continue;
            char device[ENGINE_DEVICE_NAME];
            snprintf(device, sizeof device, "fake:%d", r);
            assert_string_equal(memory.device, device);
            assert_int_equal(memory.total, (r + 1) * 1000);
            assert_true(r != silent);
            known++;
        }
        if (known == ranks - (silent >= 0)) return true;
        if (since > 10) return false;
        usleep(1000);
    }
}

/* Looked at once when the engine opens, with what the cache takes; a rank that does not know its memory is not made up. */
static void the_memory_of_each_rank_is_told(void **state)
{
    (void)state;
    int ranks = world_size(the_world);
    for (int silent = -1; silent < ranks; silent++) {
        engine_bench b = engine_bench_default();
        model *m;
        engine *e;
        engine_memory memory;
        world_barrier(the_world); /* the last round has ended everywhere, so what is told from now on is of this one */
        double start = seconds_now(CLOCK_MONOTONIC);
        world_barrier(the_world);
        b.model.silent_rank = silent + 1;
        engine_bench_open(the_world, &b, &m, &e);
        fake_model_counts counts = fake_model_get_counts(m);
        int64_t kv = counts.blocks[OPS_FULL] * b.model.block_bytes[OPS_FULL] + counts.blocks[OPS_SLIDING] * b.model.block_bytes[OPS_SLIDING];
        assert_true(kv > 0);
        assert_int_equal(engine_ranks(e), ranks);
        if (world_rank(the_world) == 0) {
            assert_true(all_have_told(start, silent, 1));
            for (int r = 0; r < ranks; r++)
                if (r != silent) assert_true(engine_get_memory(e, r, &memory) && memory.kv_cache == kv);
            assert_false(engine_get_memory(e, ranks, &memory));
        } else {
            assert_false(engine_get_memory(e, 0, &memory));
        }
        world_barrier(the_world);
        engine_bench_close(m, e);
    }
}

/* Again and again, while the ranks compute or sleep; and no more once a rank has stopped. */
static void memory_is_looked_at_now_and_then(void **state)
{
    (void)state;
    status_detail detail;
    engine_bench b = engine_bench_default();
    b.model.world = the_world;
    model *m = fake_model_open(&b.model);
    engine_memory_watch *watch = NULL;
    engine_memory memory;
    world_barrier(the_world);
    double start = seconds_now(CLOCK_MONOTONIC);
    world_barrier(the_world);
    assert_int_equal(engine_memory_open(the_world, m, 7, 0.002, &watch, &detail), STATUS_OK);
    if (world_rank(the_world) == 0) assert_true(all_have_told(start, -1, 20));
    world_barrier(the_world);
    engine_memory_close(watch);
    world_barrier(the_world);
    double end = seconds_now(CLOCK_MONOTONIC);
    usleep(100000); /* what is still on its way arrives */
    double middle = seconds_now(CLOCK_MONOTONIC);
    for (int r = 0; r < world_size(the_world) && world_rank(the_world) == 0; r++) {
        assert_true(engine_memory_read(the_world, r, 60, &memory) && memory.kv_cache == 7);
        assert_false(engine_memory_read(the_world, r, (middle - end) / 2, &memory));
    }
    engine_memory_close(NULL);
    fake_model_close(m);
}

static void lost(void *user, int rank, bool speaks)
{
    (void)user, (void)rank, (void)speaks;
    _exit(5); /* another rank failed its test */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_answers_the_same),
        cmocka_unit_test(long_plans_arrive_whole),
        cmocka_unit_test(a_failure_ends_it_everywhere),
        cmocka_unit_test(idle_ranks_cost_nothing_and_wake_at_once),
        cmocka_unit_test(the_memory_of_each_rank_is_told),
        cmocka_unit_test(memory_is_looked_at_now_and_then),
    };
    status_detail detail;
    log_configure(LOG_WARN, false, 0, 1);
    if (world_open(lost, NULL, &the_world, &detail) != STATUS_OK) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) _exit(1); /* the ranks no longer agree on what comes next */
    world_close(the_world);
    return 0;
}
