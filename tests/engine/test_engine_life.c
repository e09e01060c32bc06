/* The engine's life on one rank: what it refuses, cancelling, draining, failing, sizing. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "tests/engine/engine_bench.h"

static world *the_world;

/* An engine that runs in a thread of its own, so that the test's thread can be the client. */
typedef struct running {
    model *model;
    engine *engine;
    pthread_t thread;
    status result;
    status_detail detail;
} running;

static void *run_engine(void *user)
{
    running *r = user;
    r->result = engine_run(r->engine, &r->detail);
    return NULL;
}

static void start(running *r, engine_bench *b)
{
    memset(r, 0, sizeof *r);
    engine_bench_open(the_world, b, &r->model, &r->engine);
    pthread_create(&r->thread, NULL, run_engine, r);
}

static void stop(running *r)
{
    pthread_join(r->thread, NULL);
    engine_bench_close(r->model, r->engine);
}

static const int32_t PROMPT[256] = {1, 2, 3, 4, 5};

static engine_request plain_request(int n_prompt, int max_tokens)
{
    return (engine_request){.prompt = PROMPT, .n_prompt = n_prompt, .max_tokens = max_tokens, .top_logprobs = -1, .prompt_logprobs = -1,
                            .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1}};
}

static uint64_t submit(engine *e, int n_prompt, int max_tokens)
{
    engine_request r = plain_request(n_prompt, max_tokens);
    uint64_t id;
    status_detail detail = {""};
    if (engine_submit(e, &r, &id, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    return id;
}

/* Events until `n` requests have ended; the last FINISH is in *end. Returns how many tokens came. */
static int until_ended(engine *e, int n, engine_event *end)
{
    int tokens = 0;
    engine_event event;
    while (n > 0) {
        assert_int_equal(client_poll(e, &event, 1, 20), 1);
        tokens += event.kind == ENGINE_EVENT_TOKEN;
        if (event.kind != ENGINE_EVENT_FINISH) continue;
        *end = event;
        n--;
    }
    return tokens;
}

static double seconds_now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void wrong_requests_are_refused(void **state)
{
    (void)state;
    running r;
    engine_bench b = engine_bench_default();
    start(&r, &b);
    int longest = engine_max_model_len(r.engine);
    assert_int_equal(longest, 256);
    uint64_t id = 77;
    status_detail detail;
    const int32_t outside[] = {1, 61}, negative[] = {-1};
    engine_request bad[14];
    int n = sizeof bad / sizeof bad[0];
    for (int i = 0; i < n; i++) bad[i] = plain_request(3, 5);
    bad[0].n_prompt = 0;
    bad[1] = plain_request(longest, 1);
    bad[2].prompt = outside, bad[2].n_prompt = 2;
    bad[3].prompt = negative, bad[3].n_prompt = 1;
    bad[4].sampling.temperature = -1;
    bad[5].sampling.top_p = 0;
    bad[6].sampling.top_p = strtof("nan", NULL);
    bad[7].sampling.repetition_penalty = 0;
    bad[8].sampling.n_bias = 1, bad[8].sampling.bias_ids[0] = 61;
    bad[9].max_tokens = -1;
    bad[10].top_logprobs = OPS_MAX_TOP_LOGPROBS + 1;
    bad[11].n_stop_ids = ENGINE_MAX_STOP_IDS + 1;
    bad[12].sampling.min_p = 1.5f;
    bad[13].sampling.top_k = -1;
    for (int i = 0; i < n; i++) {
        detail.text[0] = '\0';
        if (engine_submit(r.engine, &bad[i], &id, &detail) != STATUS_INVALID) fail_msg("bad request %d was taken", i);
        assert_true(detail.text[0] != '\0');
    }
    assert_int_equal(id, 77);
    engine_event end;
    submit(r.engine, longest, 0); /* scoring a prompt of full length is fine */
    assert_int_equal(until_ended(r.engine, 1, &end), 0);
    assert_int_equal(end.finish, ENGINE_FINISH_LENGTH);
    submit(r.engine, longest - 3, 100); /* cut */
    assert_int_equal(until_ended(r.engine, 1, &end), 3);
    assert_int_equal(end.finish, ENGINE_FINISH_LENGTH);
    engine_shutdown(r.engine, 0);
    stop(&r);
    assert_int_equal(r.result, STATUS_OK);
}

static void a_full_queue_is_busy(void **state)
{
    (void)state;
    running r;
    engine_bench b = engine_bench_default();
    b.model.max_sequences = 2;
    b.engine.max_queue = 3;
    b.model.step_us = 3000;
    start(&r, &b);
    uint64_t id;
    engine_request request = plain_request(4, 30);
    status_detail detail = {""};
    for (int i = 0; i < 5; i++) submit(r.engine, 4, 30);
    assert_int_equal(engine_submit(r.engine, &request, &id, &detail), STATUS_BUSY);
    assert_non_null(strstr(detail.text, "max_queue"));
    engine_event end;
    until_ended(r.engine, 1, &end);
    assert_int_equal(engine_submit(r.engine, &request, &id, &detail), STATUS_OK);
    until_ended(r.engine, 5, &end);
    engine_shutdown(r.engine, 0);
    stop(&r);
}

static void cancelling_frees_everything_at_once(void **state)
{
    (void)state;
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        running r;
        engine_bench b = engine_bench_default();
        b.model.asynchronous = asynchronous;
        b.model.step_us = 2000;
        start(&r, &b);
        uint64_t id = submit(r.engine, 100, 150), other;
        engine_event event;
        do assert_int_equal(client_poll(r.engine, &event, 1, 20), 1);
        while (event.kind != ENGINE_EVENT_TOKEN);
        engine_stats stats;
        engine_get_stats(r.engine, &stats);
        uint64_t steps = stats.steps;
        assert_true(stats.running == 1 && stats.kv_usage > 0);
        engine_cancel(r.engine, id);
        engine_cancel(r.engine, id);
        engine_cancel(r.engine, 12345);
        assert_true(until_ended(r.engine, 1, &event) <= 3);
        assert_int_equal(event.finish, ENGINE_FINISH_CANCELLED);
        engine_cancel(r.engine, id);
        other = submit(r.engine, 5, 1);
        until_ended(r.engine, 1, &event);
        assert_true(event.request == other && event.finish == ENGINE_FINISH_LENGTH);
        engine_shutdown(r.engine, 10);
        stop(&r);
        assert_true((uint64_t)stats.steps - steps < 5);
    }
}

/* A prompt that is preempted halfway is scored on from where it stopped, in the midst of a chunk; no token is reported twice. */
static void scoring_goes_on_where_it_stopped(void **state)
{
    (void)state;
    int32_t prompt[150];
    test_random random = {31};
    for (int i = 0; i < 150; i++) prompt[i] = test_random_range(&random, 0, 60);
    for (int n = 3; n < 9; n++) {
        model *m;
        engine *e;
        engine_bench b = engine_bench_default();
        b.model.max_tokens = 3; /* one for the urgent request's decodes, two for the prompt; three once it is alone */
        b.model.max_positions = 160;
        b.engine.kv_cache_bytes = engine_bench_bytes(42);
        b.engine.prefix_cache = n & 1;
        engine_bench_open(the_world, &b, &m, &e);
        engine_request urgent = plain_request(n, 150), scored = plain_request(150, 1);
        scored.prompt = prompt;
        scored.prompt_logprobs = 0;
        scored.priority = 1;
        uint64_t id, other;
        assert_int_equal(engine_submit(e, &urgent, &other, NULL), STATUS_OK);
        assert_int_equal(engine_submit(e, &scored, &id, NULL), STATUS_OK);
        engine_shutdown(e, 20);
        assert_int_equal(engine_run(e, NULL), STATUS_OK);
        engine_event event;
        int position = 0;
        while (engine_poll(e, &event, 1))
            if (event.request == id && event.kind == ENGINE_EVENT_PROMPT) assert_int_equal(event.token.id, prompt[++position]);
        assert_int_equal(position, 149);
        engine_stats stats;
        engine_get_stats(e, &stats);
        assert_int_equal(stats.preemptions, 1);
        engine_bench_close(m, e);
    }
}

/* The next turn of a conversation finds prompt and answer of the one before, whichever blocks the answer ended. */
static void an_answer_is_cached_for_the_next_turn(void **state)
{
    (void)state;
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        running r;
        engine_bench b = engine_bench_default();
        b.model.asynchronous = asynchronous;
        start(&r, &b);
        int32_t ids[200] = {0};
        engine_request turn = plain_request(0, 0);
        turn.prompt = ids;
        for (int k = 0; k < 5; k++) {
            engine_event event = {0};
            int known = turn.n_prompt + turn.max_tokens; /* the last of them was never computed */
            turn.n_prompt = known + 3;
            turn.max_tokens = 13 + k;
            uint64_t id;
            assert_int_equal(engine_submit(r.engine, &turn, &id, NULL), STATUS_OK);
            for (int n = turn.n_prompt; client_poll(r.engine, &event, 1, 20) && event.kind == ENGINE_EVENT_TOKEN;) ids[n++] = event.token.id;
            assert_int_equal(event.n_generated, turn.max_tokens);
            assert_int_equal(event.n_cached, known > 0 ? (known - 1) / 4 * 4 : 0);
        }
        engine_shutdown(r.engine, 1);
        stop(&r);
    }
}

static void draining_finishes_what_is_there(void **state)
{
    (void)state;
    running r;
    engine_bench b = engine_bench_default();
    b.model.max_sequences = 2;
    b.model.step_us = 500;
    start(&r, &b);
    for (int i = 0; i < 6; i++) submit(r.engine, 10, 20); /* four of them wait */
    engine_shutdown(r.engine, 20);
    uint64_t id;
    engine_request late = plain_request(4, 4);
    assert_int_equal(engine_submit(r.engine, &late, &id, NULL), STATUS_BUSY);
    engine_event end;
    assert_int_equal(until_ended(r.engine, 6, &end), 120);
    assert_int_equal(end.finish, ENGINE_FINISH_LENGTH);
    pthread_join(r.thread, NULL);
    assert_int_equal(r.result, STATUS_OK);
    assert_int_equal(engine_submit(r.engine, &late, &id, NULL), STATUS_BUSY);
    engine_bench_close(r.model, r.engine);
}

static void the_drain_time_ends_the_rest(void **state)
{
    (void)state;
    for (int second_call = 0; second_call < 2; second_call++) {
        running r;
        engine_bench b = engine_bench_default();
        b.model.step_us = 20000;
        b.model.asynchronous = true;
        start(&r, &b);
        for (int i = 0; i < 20; i++) submit(r.engine, 10, 200); /* would take 4 s and more */
        engine_event end;
        assert_int_equal(client_poll(r.engine, &end, 1, 20), 1);
        double begin = seconds_now(CLOCK_MONOTONIC);
        engine_shutdown(r.engine, second_call ? 100 : 0.1);
        if (second_call) engine_shutdown(r.engine, 100);
        until_ended(r.engine, 20, &end);
        assert_int_equal(end.finish, ENGINE_FINISH_CANCELLED);
        assert_true(seconds_now(CLOCK_MONOTONIC) - begin < 2);
        stop(&r);
        assert_int_equal(r.result, STATUS_OK);
    }
}

/* Eight prompts of 1600 tokens together, in a model whose steps may hold them all. Returns how long the engine took to end. */
static double drain_prompts(int token_us, double drain_seconds, engine_finish expected, fake_model_counts *counts)
{
    running r;
    engine_bench b = engine_bench_default();
    b.model.max_tokens = 2048;
    b.model.token_us = token_us;
    b.engine.prefix_cache = false; /* they are all the same */
    memset(&r, 0, sizeof r);
    engine_bench_open(the_world, &b, &r.model, &r.engine);
    for (int i = 0; i < 8; i++) submit(r.engine, 200, 4);
    engine_shutdown(r.engine, drain_seconds);
    double begin = seconds_now(CLOCK_MONOTONIC);
    pthread_create(&r.thread, NULL, run_engine, &r);
    engine_event end;
    until_ended(r.engine, 8, &end);
    assert_int_equal(end.finish, expected);
    pthread_join(r.thread, NULL);
    assert_int_equal(r.result, STATUS_OK);
    *counts = fake_model_get_counts(r.model);
    engine_bench_close(r.model, r.engine);
    return seconds_now(CLOCK_MONOTONIC) - begin;
}

/* Where tokens are slow the drain time is not overrun by one long prefill: all at once they would take 8 s. */
static void steps_are_short_while_draining(void **state)
{
    (void)state;
    fake_model_counts counts;
    assert_true(drain_prompts(5000, 0.2, ENGINE_FINISH_CANCELLED, &counts) < 2.5);
    assert_in_range(counts.most_tokens, 1, 64);
    assert_true(drain_prompts(20000, 2.5, ENGINE_FINISH_CANCELLED, &counts) < 6); /* 64 tokens are too slow, and the next chunks smaller */
    assert_int_equal(counts.most_tokens, 64);
    drain_prompts(0, 60, ENGINE_FINISH_LENGTH, &counts); /* where they are not the chunks grow again */
    assert_in_range(counts.most_tokens, 512, 2048);
}

/* The drain time ends in the midst of a step: no step more is begun, but the one that may have been on its way. */
static void nothing_begins_after_the_drain_time(void **state)
{
    (void)state;
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        running r;
        engine_bench b = engine_bench_default();
        b.model.step_us = 200000;
        b.model.asynchronous = asynchronous;
        start(&r, &b);
        submit(r.engine, 10, 200);
        engine_event end;
        assert_int_equal(client_poll(r.engine, &end, 1, 20), 1);
        engine_stats before, after;
        engine_shutdown(r.engine, 0.02);
        engine_get_stats(r.engine, &before);
        until_ended(r.engine, 1, &end);
        pthread_join(r.thread, NULL);
        engine_get_stats(r.engine, &after);
        assert_int_equal(end.finish, ENGINE_FINISH_CANCELLED);
        assert_in_range(after.steps - before.steps, 0, 2); /* `before` may not count the one under way */
        engine_bench_close(r.model, r.engine);
    }
}

static engine *signalled;
static void on_signal(int number)
{
    (void)number;
    engine_shutdown(signalled, 5);
}

static void a_signal_handler_may_shut_it_down(void **state)
{
    (void)state;
    running r;
    engine_bench b = engine_bench_default();
    start(&r, &b);
    signalled = r.engine;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    usleep(20000); /* it sleeps by now; the handler runs on its own thread, in the middle of its wait */
    pthread_kill(r.thread, SIGUSR1);
    stop(&r);
    assert_int_equal(r.result, STATUS_OK);
}

static void shut_down_before_it_runs(void **state)
{
    (void)state;
    model *m;
    engine *e;
    engine_bench b = engine_bench_default();
    engine_bench_open(the_world, &b, &m, &e);
    submit(e, 4, 4);
    engine_shutdown(e, 0);
    status_detail detail;
    assert_int_equal(engine_run(e, &detail), STATUS_OK);
    engine_event event[3];
    assert_int_equal(engine_poll(e, event, 3), 1);
    assert_int_equal(event[0].finish, ENGINE_FINISH_CANCELLED);
    engine_bench_close(m, e);
}

static void never_run_it_leaks_nothing(void **state)
{
    (void)state;
    model *m;
    engine *e;
    engine_bench b = engine_bench_default();
    engine_bench_open(the_world, &b, &m, &e);
    submit(e, 4, 4);
    engine_bench_close(m, e);
    engine_close(NULL);
}

static void a_failed_model_ends_every_request(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        running r;
        engine_bench b = engine_bench_default();
        b.model.max_sequences = 4;
        b.model.asynchronous = round & 1;
        *(round & 2 ? &b.model.fail_results_at : &b.model.fail_forward_at) = 7;
        start(&r, &b);
        engine_request request = plain_request(20, 50);
        uint64_t id;
        int taken = 0;
        while (taken < 10 && engine_submit(r.engine, &request, &id, NULL) == STATUS_OK) taken++; /* it may fail meanwhile */
        engine_event end;
        assert_true(taken > 0);
        until_ended(r.engine, taken, &end);
        assert_int_equal(end.finish, ENGINE_FINISH_ERROR);
        pthread_join(r.thread, NULL);
        assert_int_equal(r.result, STATUS_MACHINE);
        assert_non_null(strstr(r.detail.text, "fake device"));
        engine_stats stats;
        engine_get_stats(r.engine, &stats);
        assert_false(stats.alive);
        status_detail detail;
        assert_int_equal(engine_submit(r.engine, &request, &id, &detail), STATUS_BUSY);
        assert_non_null(strstr(detail.text, "failed"));
        engine_bench_close(r.model, r.engine);
    }
}

static void count_tokens(void *user, int tokens) { *(int *)user += tokens; }

static void steps_are_observed(void **state)
{
    (void)state;
    model *m;
    engine *e;
    int tokens = 0;
    engine_bench b = engine_bench_default();
    engine_bench_open(the_world, &b, &m, &e);
    engine_on_step(e, count_tokens, &tokens);
    submit(e, 10, 5);
    engine_shutdown(e, 20);
    assert_int_equal(engine_run(e, NULL), STATUS_OK);
    assert_int_equal(tokens, 14); /* the last token drawn is never computed */
    engine_stats stats;
    engine_get_stats(e, &stats);
    assert_int_equal(stats.prompt_tokens, 10);
    assert_int_equal(stats.generated_tokens, 5);
    engine_bench_close(m, e);
}

static status try_open(engine_options options, fake_model_options shape, status_detail *detail)
{
    engine *e;
    shape.world = the_world;
    options.max_sequences = shape.max_sequences;
    options.max_tokens_per_step = shape.max_tokens;
    model *m = fake_model_open(&shape);
    status result = engine_open(the_world, m, &options, &e, detail);
    if (result == STATUS_OK) engine_close(e);
    fake_model_close(m);
    return result;
}

static void the_cache_decides_what_fits(void **state)
{
    (void)state;
    engine_bench b = engine_bench_default();
    status_detail detail = {""};
    b.engine.kv_cache_bytes = engine_bench_bytes(10);
    assert_int_equal(try_open(b.engine, b.model, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "engine.kv_cache"));
    b.model.max_positions = 10000;
    b.engine.kv_cache_bytes = engine_bench_bytes(101);
    b.engine.max_model_len = 5000;
    assert_int_equal(try_open(b.engine, b.model, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "engine.max_model_len"));
    b.engine.max_model_len = 10001;
    assert_int_equal(try_open(b.engine, b.model, &detail), STATUS_USAGE);
    b.engine.max_model_len = 0;
    model *m;
    engine *e;
    engine_bench_open(the_world, &b, &m, &e);
    assert_in_range(engine_max_model_len(e), 100 * 4, 101 * 4); /* what the cache holds; the sliding blocks take less than one */
    assert_int_equal(engine_kv_tokens(e), engine_max_model_len(e));
    engine_bench_close(m, e);
    b.engine.kv_cache_bytes = 0; /* the fake has 1 GiB free: a quarter of it, 4096 blocks */
    engine_bench_open(the_world, &b, &m, &e);
    assert_int_equal(engine_max_model_len(e), 10000);
    assert_in_range(engine_kv_tokens(e), 4090 * 4, 4096 * 4);
    engine_bench_close(m, e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(a_full_queue_is_busy),
        cmocka_unit_test(cancelling_frees_everything_at_once),
        cmocka_unit_test(scoring_goes_on_where_it_stopped),
        cmocka_unit_test(an_answer_is_cached_for_the_next_turn),
        cmocka_unit_test(draining_finishes_what_is_there),
        cmocka_unit_test(the_drain_time_ends_the_rest),
        cmocka_unit_test(steps_are_short_while_draining),
        cmocka_unit_test(nothing_begins_after_the_drain_time),
        cmocka_unit_test(a_signal_handler_may_shut_it_down),
        cmocka_unit_test(shut_down_before_it_runs),
        cmocka_unit_test(never_run_it_leaks_nothing),
        cmocka_unit_test(a_failed_model_ends_every_request),
        cmocka_unit_test(steps_are_observed),
        cmocka_unit_test(the_cache_decides_what_fits),
    };
    status_detail detail;
    log_configure(LOG_WARN, false, 0, 1);
    if (world_open(NULL, NULL, &the_world, &detail) != STATUS_OK) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_close(the_world);
    return failed;
}
