/* Which ids can be drawn at all: top_k, top_p, min_p, logit bias, suppression. */
#include "tests/kernels/suite_sampling.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VOCAB = 61, STEPS = 48 };

/* Draws at many positions; drawn [VOCAB] tells which ids came. With nearly flat logits every id that can come does. */
static void collect(suite *s, const float *logits, const ops_sampling *sampling, int generated, bool *drawn)
{
    float *copies = suite_host(s, SUITE_SLOTS * VOCAB * sizeof *copies);
    ops_logit_row rows[SUITE_SLOTS];
    ops_token tokens[SUITE_SLOTS];
    memset(drawn, 0, VOCAB * sizeof *drawn);
    for (int i = 0; i < SUITE_SLOTS; i++) {
        memcpy(copies + i * VOCAB, logits, VOCAB * sizeof *logits);
        suite_slot(s, i, sampling);
    }
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < SUITE_SLOTS; i++)
            rows[i] = (ops_logit_row){.slot = i, .position = step * SUITE_SLOTS + i, .target = -1, .top = -1, .generated = generated};
        suite_sample(s, copies, rows, SUITE_SLOTS, tokens);
        for (int i = 0; i < SUITE_SLOTS; i++) drawn[tokens[i].id] = true;
    }
}

/* The ids drawn are exactly those that the reference gives a chance. */
static void check_set(suite *s, const float *logits, const ops_sampling *sampling, int generated)
{
    bool drawn[VOCAB];
    double adjusted[VOCAB], chances[VOCAB];
    const int32_t history[STEPS] = {0}; /* counts for min_tokens only: no penalty is on */
    collect(s, logits, sampling, generated, drawn);
    reference_adjust(sampling, &(reference_history){history, generated, generated}, logits, VOCAB, adjusted);
    reference_chances(sampling, adjusted, VOCAB, chances);
    for (int id = 0; id < VOCAB; id++)
        if (drawn[id] != (chances[id] > 0))
            fail_msg("top_k %d, top_p %g, min_p %g: id %d with the chance %.4f was %sdrawn", sampling->top_k, (double)sampling->top_p,
                     (double)sampling->min_p, id, chances[id], drawn[id] ? "" : "not ");
}

static void top_k_keeps_k(void **state)
{
    static const int ks[] = {1, 2, 5, 31, 60, 61, 62, 100000};
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    const float *logits = suite_logits(&s, 1, 0.7);
    for (int i = 0; i < 8; i++) {
        ops_sampling sampling = suite_sampling(1);
        sampling.top_k = ks[i];
        check_set(&s, logits, &sampling, 0);
    }
    suite_close(&s);
}

static void top_k_keeps_the_lowest_of_equal_ids(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    float logits[VOCAB];
    for (int id = 0; id < VOCAB; id++) logits[id] = id % 3 == 1 ? 1 : 0;
    ops_sampling sampling = suite_sampling(1);
    sampling.top_k = 5; /* of the twenty at 1: ids 1, 4, 7, 10, 13 */
    check_set(&s, logits, &sampling, 0);
    sampling.top_k = 24; /* all twenty, and of the others 0, 2, 3, 5 */
    check_set(&s, logits, &sampling, 0);
    suite_close(&s);
}

static void top_p_keeps_the_shortest_sufficient_run(void **state)
{
    static const float ps[] = {1e-6f, 0.03f, 0.2f, 0.5f, 0.9f, 0.99f, 0.9999f};
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    const float *logits = suite_logits(&s, 1, 0.7);
    for (int i = 0; i < 7; i++) {
        ops_sampling sampling = suite_sampling(1);
        sampling.top_p = ps[i];
        check_set(&s, logits, &sampling, 0);
    }
    /* one half and a quarter reach 0.75 exactly: no third id */
    float exact[VOCAB] = {0, (float)log(2), 0};
    for (int id = 3; id < VOCAB; id++) exact[id] = -INFINITY;
    ops_sampling sampling = suite_sampling(1);
    bool drawn[VOCAB];
    sampling.top_p = 0.7499f;
    collect(&s, exact, &sampling, 0, drawn);
    assert_true(drawn[0] && drawn[1] && !drawn[2]);
    sampling.top_p = 0.7501f;
    collect(&s, exact, &sampling, 0, drawn);
    assert_true(drawn[0] && drawn[1] && drawn[2]);
    suite_close(&s);
}

static void min_p_is_relative_to_the_best(void **state)
{
    static const float ps[] = {1e-6f, 0.3f, 0.5f, 0.8f, 1};
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    float *logits = suite_logits(&s, 1, 0.7);
    logits[40] = logits[7] = 0.8f; /* two best */
    for (int i = 0; i < 5; i++) {
        ops_sampling sampling = suite_sampling(1);
        sampling.min_p = ps[i];
        check_set(&s, logits, &sampling, 0);
        sampling.temperature = 2; /* comes first: flatter, so more pass */
        check_set(&s, logits, &sampling, 0);
    }
    suite_close(&s);
}

/* min_p, then top_k, then top_p over what these leave. */
static void filters_together(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 5, 0);
    for (int round = 0; round < 12; round++) {
        const float *logits = suite_logits(&s, 1, 0.9);
        ops_sampling sampling = suite_sampling((float)suite_uniform(&s, 0.7, 3));
        sampling.top_k = 1 + suite_integer(&s, 40);
        sampling.top_p = (float)suite_uniform(&s, 0.2, 0.99);
        sampling.min_p = (float)suite_uniform(&s, 0.05, 0.5);
        sampling.seed = (uint64_t)round;
        check_set(&s, logits, &sampling, 0);
    }
    suite_close(&s);
}

static void bias_moves_allows_and_bans(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    float *logits = suite_logits(&s, 1, 0.7);
    ops_sampling sampling = suite_sampling(1);
    sampling.n_bias = 5;
    memcpy(sampling.bias_ids, (int32_t[]){3, 17, 60, VOCAB, -1}, 5 * sizeof(int32_t)); /* ids outside are ignored */
    memcpy(sampling.bias_values, (float[]){-100, -100, 0.5f, 100, 100}, 5 * sizeof(float));
    bool drawn[VOCAB];
    collect(&s, logits, &sampling, 0, drawn);
    for (int id = 0; id < VOCAB; id++) assert_int_equal(drawn[id], id != 3 && id != 17);
    sampling.bias_values[0] = 100;
    collect(&s, logits, &sampling, 0, drawn);
    for (int id = 0; id < VOCAB; id++) assert_int_equal(drawn[id], id == 3);
    sampling.top_k = 9; /* bias comes before the filters */
    sampling.bias_values[0] = -0.4f;
    check_set(&s, logits, &sampling, 0);
    sampling.temperature = 0;
    sampling.bias_values[2] = 3;
    suite_slot(&s, 0, &sampling);
    assert_int_equal(suite_draw(&s, logits, 0, 0, 0), 60);
    suite_close(&s);
}

/* The largest number of biases: every even id of a vocabulary of 2048 is lifted by its own amount. */
static void as_many_biases_as_fit(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, 2 * OPS_MAX_LOGIT_BIAS, 3, 0);
    const float *logits = suite_logits(&s, 1, 1);
    double *adjusted = suite_host(&s, 2 * OPS_MAX_LOGIT_BIAS * sizeof *adjusted);
    ops_sampling *sampling = suite_host(&s, sizeof *sampling);
    *sampling = suite_sampling(0);
    sampling->n_bias = OPS_MAX_LOGIT_BIAS;
    for (int i = 0; i < OPS_MAX_LOGIT_BIAS; i++) {
        sampling->bias_ids[i] = 2 * i;
        sampling->bias_values[i] = (float)suite_uniform(&s, -5, 5);
    }
    suite_slot(&s, 0, sampling);
    reference_adjust(sampling, &(reference_history){0}, logits, s.shape.vocab, adjusted);
    assert_int_equal(suite_draw(&s, logits, 0, 0, 0), reference_greedy(adjusted, s.shape.vocab));
    suite_close(&s);
}

static void stop_ids_wait_for_min_tokens(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    float *logits = suite_logits(&s, 1, 0.7);
    ops_sampling sampling = suite_sampling(1);
    sampling.min_tokens = 4;
    sampling.n_suppressed = 4;
    memcpy(sampling.suppressed, (int32_t[]){5, 60, VOCAB + 7, 0}, 4 * sizeof(int32_t));
    sampling.n_bias = 1;
    sampling.bias_ids[0] = 5;
    sampling.bias_values[0] = 2; /* no bias lifts a suppressed id */
    for (int generated = 0; generated < 6; generated++) check_set(&s, logits, &sampling, generated);
    sampling.temperature = 0;
    sampling.bias_values[0] = 50;
    suite_slot(&s, 0, &sampling);
    assert_int_not_equal(suite_draw(&s, logits, 0, 0, 3), 5);
    assert_int_equal(suite_draw(&s, logits, 0, 0, 4), 5);
    suite_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_k_keeps_k),
        cmocka_unit_test(top_k_keeps_the_lowest_of_equal_ids),
        cmocka_unit_test(top_p_keeps_the_shortest_sufficient_run),
        cmocka_unit_test(min_p_is_relative_to_the_best),
        cmocka_unit_test(filters_together),
        cmocka_unit_test(bias_moves_allows_and_bans),
        cmocka_unit_test(as_many_biases_as_fit),
        cmocka_unit_test(stop_ids_wait_for_min_tokens),
    };
    return suite_main("sample_filters", tests, sizeof tests / sizeof *tests);
}
