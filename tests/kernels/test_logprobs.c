/* Log-probabilities, ranks and the best ids, against double precision; always of the raw logits. */
#include "tests/kernels/suite_sampling.h"

#include <float.h>
#include <math.h>
#include <string.h>

static void check_close(double got, double want)
{
    if (!(fabs(got - want) <= 1e-5 * fmax(1, fabs(want)))) fail_msg("log-probability %.9g instead of %.9g", got, want);
}

/* The best ids in order: nothing left out is ahead of the last, equal ones ascend. */
static void check_token(const float *logits, int vocab, int top, const ops_token *t)
{
    check_close((double)t->logprob, reference_logprob(logits, vocab, t->id));
    assert_int_equal(t->rank, reference_rank(logits, vocab, t->id));
    assert_int_equal(t->n_top, top < vocab ? top : vocab);
    for (int i = 0; i < t->n_top; i++) {
        int id = t->top_ids[i], ahead = 0;
        for (int other = 0; other < vocab; other++) ahead += logits[other] > logits[id] || (logits[other] == logits[id] && other < id);
        assert_int_equal(ahead, i);
        check_close((double)t->top_logprobs[i], reference_logprob(logits, vocab, id));
    }
}

static void check_vocabulary(void *backend, int vocab, int shards, double spread)
{
    enum { ROWS = 8 };
    static const int tops[ROWS] = {0, 1, 2, 5, 19, 20, 20, 3};
    suite s;
    suite_open_sampler(&s, backend, vocab, shards, 0);
    float *logits = suite_logits(&s, ROWS, spread);
    for (int i = 0; i < ROWS * vocab; i += 3) logits[i] = roundf(logits[i]); /* equal ones */
    ops_logit_row rows[ROWS];
    ops_token tokens[ROWS];
    for (int i = 0; i < ROWS; i++) {
        ops_sampling sampling = suite_sampling(i % 2 ? 2 : 0);
        sampling.top_k = 30;
        sampling.n_bias = 1;
        sampling.bias_ids[0] = i % vocab;
        sampling.bias_values[0] = 1;
        suite_slot(&s, i, &sampling);
        rows[i] = (ops_logit_row){.slot = i, .position = i, .target = i < 5 ? -1 : suite_integer(&s, vocab), .top = tops[i]};
    }
    suite_sample(&s, logits, rows, ROWS, tokens);
    for (int i = 0; i < ROWS; i++) {
        if (rows[i].target >= 0) assert_int_equal(tokens[i].id, rows[i].target);
        check_token(logits + (size_t)i * (size_t)vocab, vocab, tops[i], &tokens[i]);
    }
    suite_close(&s);
}

static void match_double_precision(void **state)
{
    check_vocabulary(*state, 1, 1, 5);
    check_vocabulary(*state, 7, 1, 5);
    check_vocabulary(*state, 157, 4, 5);
    check_vocabulary(*state, 157, 1, 60);
    check_vocabulary(*state, 157, 2, 0);
    check_vocabulary(*state, 5003, 3, 12);
}

static void match_over_the_whole_vocabulary(void **state) { check_vocabulary(*state, 201088, 2, 15); }

static void nothing_is_computed_unless_asked(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, 157, 2, 0);
    const float *logits = suite_logits(&s, 2, 5);
    ops_sampling sampling = suite_sampling(0);
    suite_slot(&s, 0, &sampling);
    ops_token tokens[2];
    suite_sample(&s, logits, (ops_logit_row[]){{.target = -1, .top = -1}, {.target = 5, .top = -1}}, 2, tokens);
    for (int i = 0; i < 2; i++) assert_true(tokens[i].logprob == 0 && tokens[i].rank == 0 && tokens[i].n_top == 0);
    assert_int_equal(tokens[1].id, 5);
    suite_close(&s);
}

static void impossible_ids_have_minus_infinity(void **state)
{
    const float nan = NAN, inf = INFINITY;
    const float logits[2][6] = {{1, -inf, 3, nan, 3, -2}, {-inf, nan, -inf, -inf, -inf, -inf}};
    suite s;
    suite_open_sampler(&s, *state, 6, 1, 0);
    ops_token tokens[2];
    suite_sample(&s, logits[0], (ops_logit_row[]){{.target = 3, .top = 6}, {.target = 0, .top = 3}}, 2, tokens);
    assert_true(tokens[0].logprob == -inf && tokens[0].rank == 4 && tokens[0].n_top == 6);
    assert_memory_equal(tokens[0].top_ids, ((int32_t[]){2, 4, 0, 5, 1, 3}), 6 * sizeof(int32_t));
    check_close((double)tokens[0].top_logprobs[1], -log(2 + exp(-2) + exp(-5)));
    assert_true(tokens[0].top_logprobs[5] == -inf);
    assert_true(tokens[1].logprob == -inf && tokens[1].rank == 0 && tokens[1].n_top == 3);
    suite_close(&s);
}

/* One shard or several, alone or among others: the same bits. */
static void bits_do_not_depend_on_the_arrangement(void **state)
{
    ops_token want[5], got[5];
    for (int shards = 1; shards <= 5; shards += 2) {
        suite s;
        suite_open_sampler(&s, *state, 157, shards, 1 + shards % 2);
        const float *logits = suite_logits(&s, 5, 5);
        ops_logit_row rows[5];
        for (int i = 0; i < 5; i++) rows[i] = (ops_logit_row){.target = 9 * i, .top = 4 * i};
        suite_sample(&s, logits, rows, 5, got);
        if (shards == 1)
            for (int i = 0; i < 5; i++) suite_sample(&s, logits + i * 157, &rows[i], 1, &want[i]);
        assert_memory_equal(got, want, sizeof got);
        suite_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(match_double_precision),
        cmocka_unit_test(match_over_the_whole_vocabulary),
        cmocka_unit_test(nothing_is_computed_unless_asked),
        cmocka_unit_test(impossible_ids_have_minus_infinity),
        cmocka_unit_test(bits_do_not_depend_on_the_arrangement),
    };
    return suite_main("logprobs", tests, sizeof tests / sizeof *tests);
}
