/* The engine over the fake model, one rank: whatever the batching, the answers are those of a straight sequential run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "tests/engine/engine_bench.h"

static world *the_world;

static engine_bench_result run_clean(const engine_bench *b)
{
    engine_bench_result r = engine_bench_run(the_world, b);
    if (r.run != STATUS_OK) fail_msg("engine_run: %s", r.detail.text);
    if (*r.problem) fail_msg("%s", r.problem);
    assert_true(r.stats.alive && r.stats.draining);
    assert_int_equal(r.stats.running + r.stats.waiting, 0);
    assert_true(r.stats.kv_usage == 0);
    return r;
}

static void batched_answers_are_the_sequential_ones(void **state)
{
    (void)state;
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = asynchronous;
        engine_bench_result r = run_clean(&b);
        assert_true(r.counts.most_sequences > 8);
        assert_true(r.cached > 200 && (uint64_t)r.cached == r.stats.prefix_hits);
        assert_int_equal(r.stats.preemptions, 0);
        assert_int_equal(r.stats.steps, r.counts.forwards);
        assert_true(asynchronous ? r.counts.late_reads > r.counts.forwards / 2 : r.counts.late_reads == 0);
    }
}

static void alone_and_whole_prompts_too(void **state)
{
    (void)state;
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = asynchronous;
        b.model.max_sequences = 1;
        b.model.max_tokens = 256;
        b.n_cases = 30;
        engine_bench_result r = run_clean(&b);
        assert_int_equal(r.counts.most_sequences, 1);
    }
}

static void the_smallest_chunks_too(void **state)
{
    (void)state;
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = asynchronous;
        b.model.max_sequences = 3;
        b.model.max_tokens = 3;
        b.profile.most_prompt = 60;
        engine_bench_result r = run_clean(&b);
        assert_int_equal(r.counts.most_tokens, 3);
    }
}

static void without_a_prefix_cache_nothing_comes_from_it(void **state)
{
    (void)state;
    engine_bench b = engine_bench_default();
    b.engine.prefix_cache = false;
    engine_bench_result r = run_clean(&b);
    assert_int_equal(r.cached, 0);
    assert_int_equal(r.stats.prefix_queries, 0);
}

static void preempted_ones_answer_the_same(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = round & 1;
        b.engine.prefix_cache = round & 2;
        b.engine.kv_cache_bytes = engine_bench_bytes(70); /* 280 tokens for up to 16 of 210 */
        b.profile.levels = 3;
        b.profile.most_prompt = 60;
        b.profile.most_tokens = 150;
        b.n_cases = 150;
        b.seed = (uint64_t)round + 5;
        engine_bench_result r = run_clean(&b);
        print_message("%d preemptions, %d tokens computed again\n", (int)r.stats.preemptions, (int)r.stats.prompt_tokens_recomputed);
        assert_true(r.stats.preemptions > 10 && r.stats.prompt_tokens_recomputed > 100);
    }
}

/* Prompts so slow that older sequences outgrow the cache meanwhile: scoring goes on where it stopped, in the middle of a chunk. */
static void preempted_in_their_prompts_too(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = round & 1;
        b.model.max_sequences = 6;
        b.model.max_positions = 160;
        b.model.max_tokens = 7;
        b.model.vocab = 5000; /* stop ids are seldom drawn: answers are long */
        b.engine.prefix_cache = round & 2;
        b.engine.kv_cache_bytes = engine_bench_bytes(42); /* one sequence of full length */
        b.profile.most_prompt = 100;
        b.profile.most_tokens = 150;
        b.profile.score_percent = 100;
        b.profile.shared_percent = 20;
        b.profile.levels = 3;
        b.n_cases = 150;
        b.seed = (uint64_t)round + 40;
        engine_bench_result r = run_clean(&b);
        print_message("%d preemptions, %d tokens computed again\n", (int)r.stats.preemptions, (int)r.stats.prompt_tokens_recomputed);
        assert_true(r.stats.preemptions > 5 && r.stats.prompt_tokens_recomputed > 100);
    }
}

static void sliding_blocks_short_as_well(void **state)
{
    (void)state;
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = asynchronous;
        b.model.block_bytes[OPS_SLIDING] = b.model.block_bytes[OPS_FULL];
        b.model.window = 40;
        b.engine.kv_cache_bytes = engine_bench_bytes(120);
        b.n_cases = 80;
        run_clean(&b);
    }
}

static void cancellations_disturb_nobody(void **state)
{
    (void)state;
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = asynchronous;
        b.engine.kv_cache_bytes = engine_bench_bytes(90);
        b.profile.cancel_percent = 40;
        b.pause_us = 300;
        b.n_cases = 200;
        run_clean(&b);
    }
}

/* Masks follow from every token accepted so far: with room for all, and with preemptions, cancellations and steps that run ahead. */
static void constrained_ones_draw_what_they_may(void **state)
{
    (void)state;
    for (int round = 0; round < 8; round++) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = round & 1;
        b.profile.constrain_percent = round & 4 ? 100 : 50;
        if (round & 2) {
            b.engine.kv_cache_bytes = engine_bench_bytes(70);
            b.profile.most_prompt = 60;
            b.profile.most_tokens = 150;
            b.profile.cancel_percent = 10;
            b.n_cases = 120;
        }
        b.seed = (uint64_t)round + 300;
        engine_bench_result r = run_clean(&b);
        assert_true(!(round & 2) || r.stats.preemptions > 10);
        assert_true(round & 1 || r.counts.late_reads == 0);
    }
}

static bool only_id_3(void *user, uint32_t *bits, size_t words)
{
    (void)user, (void)words;
    bits[0] = 1u << 3;
    return true;
}

static void take_note(void *user, int32_t id) { (void)user, (void)id; }
static void let_go(void *user) { (void)user; }

/* One sequence that waits for its tokens, next to three that run a step ahead: these take as many steps as without it. Alone it goes on, too. */
static void a_constrained_one_stalls_nobody(void **state)
{
    (void)state;
    enum { TOKENS = 60 };
    static const int32_t prompt[3] = {1, 2, 3};
    for (int others = 3; others >= 0; others -= 3) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = true;
        model *m;
        engine *e;
        engine_bench_open(the_world, &b, &m, &e);
        engine_request r = {.prompt = prompt, .n_prompt = 3, .max_tokens = TOKENS, .top_logprobs = -1, .prompt_logprobs = -1,
                            .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1}};
        engine_event event;
        uint64_t constrained, id;
        int ended = 0;
        for (int i = 0; i < others; i++) assert_int_equal(engine_submit(e, &r, &id, NULL), STATUS_OK);
        r.constraint = (engine_constraint){NULL, only_id_3, take_note, let_go};
        r.max_tokens = TOKENS / 2;
        assert_int_equal(engine_submit(e, &r, &constrained, NULL), STATUS_OK);
        engine_shutdown(e, 30); /* drains: what was submitted before the first look still runs */
        assert_int_equal(engine_run(e, NULL), STATUS_OK);
        while (ended <= others && engine_poll(e, &event, 1) == 1) {
            if (event.kind == ENGINE_EVENT_FINISH) assert_int_equal(event.finish, ENGINE_FINISH_LENGTH);
            if (event.kind == ENGINE_EVENT_TOKEN && event.request == constrained) assert_int_equal(event.token.id, 3);
            ended += event.kind == ENGINE_EVENT_FINISH;
        }
        assert_int_equal(ended, others + 1);
        fake_model_counts counts = fake_model_get_counts(m);
        if (others) assert_in_range(counts.forwards, TOKENS, TOKENS + 2);
        else assert_int_equal(counts.forwards, TOKENS / 2);
        if (others) assert_true(counts.late_reads > TOKENS / 2);
        engine_bench_close(m, e);
    }
}

/* Sizes drawn at random, among them windows smaller than a block and blocks of one token. */
static void random_sizes(void **state)
{
    (void)state;
    test_random random = {99};
    for (int round = 0; round < 40; round++) {
        engine_bench b = engine_bench_default();
        b.model.asynchronous = test_random_chance(&random, 50);
        b.model.block_tokens = test_random_range(&random, 1, 20);
        b.model.window = test_random_range(&random, 1, 50);
        b.model.max_sequences = test_random_range(&random, 1, 20);
        b.model.max_tokens = test_random_range(&random, 1, 200);
        b.model.max_positions = test_random_range(&random, 20, 250);
        b.engine.prefix_cache = test_random_chance(&random, 70);
        int least = (256 + b.model.block_tokens - 1) / b.model.block_tokens;
        b.engine.kv_cache_bytes = engine_bench_bytes(least + test_random_range(&random, 1, 60));
        b.profile.cancel_percent = test_random_chance(&random, 30) ? 20 : 0;
        b.profile.levels = test_random_range(&random, 1, 3);
        b.profile.constrain_percent = round % 4 ? 0 : 40;
        b.n_cases = 30;
        b.seed = (uint64_t)round + 50;
        run_clean(&b);
    }
}

static void the_published_window(void **state)
{
    (void)state;
    engine_bench b = engine_bench_default();
    b.model.asynchronous = true;
    b.model.window = 128;
    b.model.block_tokens = 16;
    b.model.max_positions = 1000;
    b.model.max_tokens = 100;
    b.engine.kv_cache_bytes = engine_bench_bytes(140);
    b.profile.most_prompt = 700;
    b.profile.most_tokens = 150;
    b.n_cases = 24;
    run_clean(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batched_answers_are_the_sequential_ones),
        cmocka_unit_test(alone_and_whole_prompts_too),
        cmocka_unit_test(the_smallest_chunks_too),
        cmocka_unit_test(without_a_prefix_cache_nothing_comes_from_it),
        cmocka_unit_test(preempted_ones_answer_the_same),
        cmocka_unit_test(preempted_in_their_prompts_too),
        cmocka_unit_test(sliding_blocks_short_as_well),
        cmocka_unit_test(cancellations_disturb_nobody),
        cmocka_unit_test(constrained_ones_draw_what_they_may),
        cmocka_unit_test(a_constrained_one_stalls_nobody),
        cmocka_unit_test(random_sizes),
        cmocka_unit_test(the_published_window),
    };
    status_detail detail;
    log_configure(LOG_WARN, false, 0, 1);
    if (world_open(NULL, NULL, &the_world, &detail) != STATUS_OK) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_close(the_world);
    return failed;
}
