/* Embedding, and residual plus RMSNorm. */
#include "tests/kernels/reference.h"
#include "tests/kernels/suite.h"

#include <math.h>
#include <string.h>

static const int hidden_sizes[] = {32, 96, 160, 2880};
static const int row_counts[] = {1, 2, 3, 17, 129, 300};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static void open_with_hidden(suite *s, void *backend, int hidden)
{
    ops_shape shape = suite_shape();
    shape.hidden = hidden;
    suite_open(s, backend, &shape, 0);
}

static void embed_copies_the_rows_of_the_ids(void **state)
{
    for (size_t h = 0; h < COUNT(hidden_sizes); h++) {
        suite s;
        open_with_hidden(&s, *state, hidden_sizes[h]);
        size_t hidden = (size_t)s.shape.hidden;
        suite_tensor embedding = suite_bf16(&s, 1, s.shape.vocab, s.shape.hidden, 0, 3);
        SUITE_PLACE(&s, &embedding);
        for (size_t t = 0; t < COUNT(row_counts); t++) {
            suite_begin(&s, (suite_run[]){{1, 5, row_counts[t]}}, 1, NULL);
            void *x = suite_device(&s, (size_t)s.n_rows * hidden * suite_activation_size(&s));
            s.ops->embed(s.c, &embedding.placed, x);
            const double *got = suite_read(&s, x, (size_t)s.n_rows * hidden);
            for (int i = 0; i < s.n_rows; i++)
                assert_memory_equal(got + (size_t)i * hidden, embedding.values + (size_t)s.ids[i] * hidden, hidden * sizeof *got);
        }
        suite_close(&s);
    }
}

/* x += delta; normed = norm(x). `spread` 0.002 lies below sqrt(eps): there a wrong epsilon shows. */
static void check_norm(suite *s, int rows, bool with_delta, double spread)
{
    size_t hidden = (size_t)s->shape.hidden, n = (size_t)rows * hidden, bytes = n * suite_activation_size(s);
    suite_tensor norm = suite_bf16(s, 1, 1, s->shape.hidden, 1, 0.5);
    SUITE_PLACE(s, &norm);
    double *x = suite_values(s, n, spread), *delta = suite_values(s, n, spread), *normed = suite_host(s, n * sizeof *normed);
    void *x_device = suite_rows(s, x, n), *delta_device = suite_rows(s, delta, n), *normed_device = suite_device(s, bytes);
    s->ops->add_norm(s->c, rows, x_device, with_delta ? delta_device : NULL, &norm.placed, normed_device);
    for (size_t i = 0; i < n && with_delta; i++) x[i] += delta[i];
    for (size_t i = 0; i < n; i += hidden) reference_norm(x + i, norm.values, (int)hidden, (double)s->shape.rms_eps, normed + i);
    suite_compare("residual", s->tolerance, suite_read(s, x_device, n), x, rows, (int)hidden);
    suite_compare("normed", s->tolerance, suite_read(s, normed_device, n), normed, rows, (int)hidden);
    suite_compare("delta is only read", 0, suite_read(s, delta_device, n), delta, rows, (int)hidden);
}

static void norm_matches_its_formula(void **state)
{
    for (size_t h = 0; h < COUNT(hidden_sizes); h++) {
        suite s;
        open_with_hidden(&s, *state, hidden_sizes[h]);
        suite_begin(&s, (suite_run[]){{0, 0, 4}}, 1, NULL); /* rows of add_norm need not be the batch's */
        for (size_t t = 0; t < COUNT(row_counts); t++) check_norm(&s, row_counts[t], true, 2);
        check_norm(&s, 17, false, 2);
        check_norm(&s, 17, true, 0.002);
        check_norm(&s, 3, false, 300);
        suite_close(&s);
    }
}

static void norm_leaves_other_rows_alone(void **state)
{
    suite s;
    open_with_hidden(&s, *state, 96);
    size_t n = 5 * 96;
    suite_tensor norm = suite_bf16(&s, 1, 1, 96, 1, 0.5);
    SUITE_PLACE(&s, &norm);
    suite_begin(&s, (suite_run[]){{0, 0, 5}}, 1, NULL);
    double *x = suite_values(&s, n, 2), *delta = suite_values(&s, n, 2), *old = suite_values(&s, n, 2);
    void *x_device = suite_rows(&s, x, n), *delta_device = suite_rows(&s, delta, n), *normed = suite_rows(&s, old, n);
    s.ops->add_norm(s.c, 3, x_device, delta_device, &norm.placed, normed);
    assert_memory_equal(suite_read(&s, x_device, n) + 3 * 96, x + 3 * 96, 2 * 96 * sizeof(double));
    assert_memory_equal(suite_read(&s, normed, n) + 3 * 96, old + 3 * 96, 2 * 96 * sizeof(double));
    suite_close(&s);
}

/* weights: dummy: the seed and the place in the call decide the values, nothing else. */
static void dummy_weights_depend_on_the_seed_alone(void **state)
{
    suite s;
    open_with_hidden(&s, *state, 160);
    ops_weight host = {.format = OPS_BF16, .batches = 1, .rows = s.shape.vocab, .cols = 160, .row_stride = 320, .batch_stride = 320 * s.shape.vocab,
                       .mean = 0.5f, .deviation = 2};
    const uint64_t seeds[] = {7, 7, 8};
    double *rows[3];
    suite_begin(&s, (suite_run[]){{0, 0, 17}}, 1, NULL);
    for (int i = 0; i < 3; i++) {
        ops_weight placed;
        status_detail detail;
        assert_int_equal(s.ops->place(s.c, &host, 1, seeds[i], &placed, &detail), STATUS_OK);
        assert_int_equal(s.ops->place_end(s.c, &detail), STATUS_OK);
        void *x = suite_device(&s, 17 * 160 * suite_activation_size(&s));
        s.ops->embed(s.c, &placed, x);
        rows[i] = suite_read(&s, x, 17 * 160);
    }
    assert_memory_equal(rows[0], rows[1], 17 * 160 * sizeof(double));
    double sum = 0, squares = 0, n = 17 * 160;
    int different = 0;
    for (int i = 0; i < 17 * 160; i++) {
        sum += rows[0][i];
        squares += rows[0][i] * rows[0][i];
        different += rows[0][i] != rows[2][i];
    }
    assert_true(fabs(sum / n - 0.5) < 0.2); /* five deviations of the mean */
    assert_true(fabs(sqrt(squares / n - sum / n * sum / n) - 2) < 0.15);
    assert_true(different > 17 * 150);
    suite_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_copies_the_rows_of_the_ids),
        cmocka_unit_test(norm_matches_its_formula),
        cmocka_unit_test(norm_leaves_other_rows_alone),
        cmocka_unit_test(dummy_weights_depend_on_the_seed_alone),
    };
    return suite_main("norm", tests, COUNT(tests));
}
