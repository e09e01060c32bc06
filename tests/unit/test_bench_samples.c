/* Median, percentiles, and how often to repeat. */
#include "launch/bench_samples.h"
#include "tests/unit/cmocka_headers.h"

static void quantiles_are_samples(void **state)
{
    (void)state;
    static bench_samples s;
    assert_true(bench_samples_quantile(&s, 0.5) == 0 && bench_samples_mean(&s) == 0);
    for (int i = 0; i < 200; i++) s.seconds[s.count++] = 200 - i; /* 200 .. 1 */
    assert_true(bench_samples_quantile(&s, 0.5) == 100);
    assert_true(bench_samples_quantile(&s, 0.99) == 198);
    assert_true(bench_samples_quantile(&s, 1) == 200 && bench_samples_quantile(&s, 0) == 1);
    assert_true(bench_samples_mean(&s) == 100.5);
    assert_true(s.seconds[0] == 200); /* the order of time stays */
    s.count = 1;
    assert_true(bench_samples_quantile(&s, 0.5) == 200 && bench_samples_quantile(&s, 0.99) == 200);
}

static void repeats_fill_the_time_within_bounds(void **state)
{
    (void)state;
    assert_int_equal(bench_samples_repeats(2, 0.01, 3, 4096), 200);
    assert_int_equal(bench_samples_repeats(2, 10, 3, 4096), 3);
    assert_int_equal(bench_samples_repeats(2, 1e-9, 3, 4096), 4096);
    assert_int_equal(bench_samples_repeats(2, 0, 3, 4096), 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_samples),
        cmocka_unit_test(repeats_fill_the_time_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
