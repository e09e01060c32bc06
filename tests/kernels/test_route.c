/* The router: which experts, with which weights. */
#include "tests/kernels/reference.h"
#include "tests/kernels/suite.h"

#include <math.h>
#include <string.h>

/* Logits are F32 sums on every backend: much closer than activations. */
static const double logit_tolerance = 1e-4;

typedef struct routed {
    int32_t *ids;    /* [rows, top_k] */
    float *weights;
} routed;

static routed route(suite *s, const suite_tensor *router, const suite_tensor *bias, int rows, void *normed)
{
    size_t n = (size_t)rows * (size_t)s->shape.top_k;
    routed out = {suite_host(s, n * sizeof(int32_t)), suite_host(s, n * sizeof(float))};
    ops_layer layer = {.router = router->placed, .router_bias = bias->placed};
    int32_t *ids = suite_device(s, n * sizeof(int32_t));
    float *weights = suite_device(s, n * sizeof(float));
    s->ops->route(s->c, &layer, rows, normed, ids, weights);
    suite_download(s, out.ids, ids, n * sizeof *ids);
    suite_download(s, out.weights, weights, n * sizeof *weights);
    return out;
}

/* Each choice is among the best (those left out are not better by more than rounding), is made once, and weighs its share of the softmax over
 * the choices. */
static void check_row(const suite *s, const double *logits, const int32_t *ids, const float *weights)
{
    double sum = 0, worst = INFINITY;
    for (int k = 0; k < s->shape.top_k; k++) {
        assert_in_range(ids[k], 0, (uintmax_t)s->shape.n_experts - 1);
        for (int i = 0; i < k; i++) assert_int_not_equal(ids[i], ids[k]);
        sum += exp(logits[ids[k]]);
        worst = fmin(worst, logits[ids[k]]);
    }
    for (int e = 0; e < s->shape.n_experts; e++) {
        bool chosen = false;
        for (int k = 0; k < s->shape.top_k; k++) chosen = chosen || ids[k] == e;
        assert_true(chosen || logits[e] <= worst + logit_tolerance);
    }
    for (int k = 0; k < s->shape.top_k; k++)
        if (!(fabs((double)weights[k] - exp(logits[ids[k]]) / sum) <= logit_tolerance))
            fail_msg("expert %d weighs %.7g instead of %.7g", ids[k], (double)weights[k], exp(logits[ids[k]]) / sum);
}

static void open_with(suite *s, void *backend, int hidden, int experts, int top_k)
{
    ops_shape shape = suite_shape();
    shape.hidden = hidden;
    shape.n_experts = shape.expert_count = experts;
    shape.top_k = top_k;
    suite_open(s, backend, &shape, 0);
}

static void routes_as_the_softmax_of_the_best(void **state)
{
    static const int cases[][4] = {{32, 1, 1, 3}, {96, 5, 1, 17}, {96, 5, 2, 300}, {160, 32, 3, 129}, {2880, 32, 4, 17}, {160, 128, 4, 129}, {96, 4, 4, 2}};
    for (int i = 0; i < 7; i++) {
        suite s;
        int hidden = cases[i][0], experts = cases[i][1], rows = cases[i][3];
        open_with(&s, *state, hidden, experts, cases[i][2]);
        suite_tensor router = suite_bf16(&s, 1, experts, hidden, 0, 4 / sqrt(hidden)), bias = suite_bf16(&s, 1, 1, experts, 0, 1);
        SUITE_PLACE(&s, &router);
        SUITE_PLACE(&s, &bias);
        double *normed = suite_values(&s, (size_t)(rows * hidden), 1), *logits = suite_host(&s, (size_t)experts * sizeof *logits);
        routed got = route(&s, &router, &bias, rows, suite_rows(&s, normed, (size_t)(rows * hidden)));
        for (int r = 0; r < rows; r++) {
            reference_product(router.values, bias.values, experts, hidden, normed + (size_t)(r * hidden), logits);
            check_row(&s, logits, got.ids + r * s.shape.top_k, got.weights + r * s.shape.top_k);
        }
        suite_close(&s);
    }
}

/* A router of zeros: the biases alone decide. Experts 3, 9, 10 and 20 lead with the same logit, then 5, 6, 7 and 31 follow with another. */
static void lowest_ids_win_ties(void **state)
{
    for (int top_k = 1; top_k <= 6; top_k++) {
        suite s;
        open_with(&s, *state, 96, 32, top_k);
        suite_tensor router = suite_bf16(&s, 1, 32, 96, 0, 0), bias = suite_bf16(&s, 1, 1, 32, 0, 0);
        uint16_t *biases = (uint16_t *)bias.host.data;
        static const int order[] = {3, 9, 10, 20, 5, 6, 7, 31};
        for (int i = 0; i < 8; i++) biases[order[i]] = dtype_f32_to_bf16(i < 4 ? 2.0f : 1.0f);
        SUITE_PLACE(&s, &router);
        SUITE_PLACE(&s, &bias);
        double *normed = suite_values(&s, 3 * 96, 1);
        routed got = route(&s, &router, &bias, 3, suite_rows(&s, normed, 3 * 96));
        for (int r = 0; r < 3; r++) {
            for (int k = 0; k < top_k; k++) {
                int found = 0;
                for (int i = 0; i < top_k; i++) found += got.ids[r * top_k + i] == order[k];
                if (found != 1) fail_msg("top %d of row %d: expert %d was chosen %d times", top_k, r, order[k], found);
            }
        }
        suite_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_as_the_softmax_of_the_best),
        cmocka_unit_test(lowest_ids_win_ties),
    };
    return suite_main("route", tests, sizeof tests / sizeof *tests);
}
