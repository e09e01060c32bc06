/* Experts: SwiGLU over MXFP4 weights, whole ones and slices, local ones and those of other ranks. */
#include "tests/kernels/reference.h"
#include "tests/kernels/suite.h"

#include <math.h>
#include <string.h>

typedef struct expert_case {
    int hidden, intermediate;
    int n_experts, first, count; /* all experts; the local ones */
    int top_k, rows;
    int slices;                  /* the local columns are the last of so many equal parts of a wider expert */
    bool down_bias;
} expert_case;

typedef struct expert_weights {
    suite_tensor gate_up, gate_up_bias, down, down_bias;
} expert_weights;

static void open_case(suite *s, void *backend, const expert_case *c)
{
    ops_shape shape = suite_shape();
    shape.hidden = c->hidden;
    shape.intermediate = c->intermediate;
    shape.n_experts = c->n_experts;
    shape.expert_first = c->first;
    shape.expert_count = c->count;
    shape.top_k = c->top_k;
    shape.max_tokens = 32; /* rows of other ranks come on top */
    suite_open(s, backend, &shape, 0);
}

/* The local experts as views into tensors of all experts at full width. */
static expert_weights make_weights(suite *s, const expert_case *c, ops_layer *layer)
{
    int width = c->intermediate * c->slices, at = width - c->intermediate;
    suite_tensor gate_up = suite_mxfp4(s, c->n_experts, 2 * width, c->hidden, 9 / sqrt(c->hidden));
    suite_tensor gate_up_bias = suite_bf16(s, c->n_experts, 1, 2 * width, 0, 3);
    suite_tensor down = suite_mxfp4(s, c->n_experts, c->hidden, width, 1 / sqrt(width)), down_bias = suite_bf16(s, c->n_experts, 1, c->hidden, 0, 1);
    suite_tensor local[4] = {suite_batches(s, &gate_up, c->first, c->count), suite_batches(s, &gate_up_bias, c->first, c->count),
                             suite_batches(s, &down, c->first, c->count), suite_batches(s, &down_bias, c->first, c->count)};
    expert_weights w = {
        .gate_up = suite_row_slice(s, &local[0], 2 * at, 2 * c->intermediate),
        .gate_up_bias = suite_col_slice(s, &local[1], 2 * at, 2 * c->intermediate),
        .down = suite_col_slice(s, &local[2], at, c->intermediate),
        .down_bias = c->down_bias ? local[3] : suite_absent(),
    };
    SUITE_PLACE(s, &w.gate_up);
    SUITE_PLACE(s, &w.gate_up_bias);
    SUITE_PLACE(s, &w.down);
    SUITE_PLACE(s, &w.down_bias);
    *layer = (ops_layer){.gate_up = w.gate_up.placed, .gate_up_bias = w.gate_up_bias.placed, .down = w.down.placed, .down_bias = w.down_bias.placed};
    return w;
}

/* Row r gets top_k different experts; every fifth row has none (-1), every seventh some -1. */
static void choose_experts(suite *s, int rows, int32_t *ids, float *weights)
{
    int top_k = s->shape.top_k, n = s->shape.n_experts;
    for (int r = 0; r < rows; r++) {
        int first = suite_integer(s, n), step = 1 + suite_integer(s, n > 1 ? (n - 1) / top_k + 1 : 1);
        for (int k = 0; k < top_k; k++) {
            bool none = (r % 5 == 4) || (r % 7 == 6 && k % 2 == 0) || k * step >= n;
            ids[r * top_k + k] = none ? -1 : (first + k * step) % n;
            weights[r * top_k + k] = (float)suite_uniform(s, 0.05, 1);
        }
    }
}

/* Returns how many activations were cut at the limit. */
static int reference_rows(suite *s, const expert_weights *w, int rows, const double *x, const int32_t *ids, const float *weights, double *out)
{
    int hidden = s->shape.hidden, n = s->shape.intermediate, cut = 0;
    double *y = suite_host(s, (size_t)hidden * sizeof *y);
    for (int pair = 0; pair < rows * s->shape.top_k; pair++) {
        int row = pair / s->shape.top_k, e = ids[pair] - s->shape.expert_first;
        if (ids[pair] < 0 || e < 0 || e >= s->shape.expert_count) continue;
        reference_mlp m = {.hidden = hidden, .intermediate = n, .alpha = (double)s->shape.swiglu_alpha, .limit = (double)s->shape.swiglu_limit,
                           .gate_up = w->gate_up.values + (size_t)e * (size_t)(2 * n) * (size_t)hidden, .gate_up_bias = w->gate_up_bias.values + (size_t)(e * 2 * n),
                           .down = w->down.values + (size_t)e * (size_t)hidden * (size_t)n,
                           .down_bias = w->down_bias.values ? w->down_bias.values + (size_t)(e * hidden) : NULL};
        cut += reference_expert(&m, x + (size_t)row * (size_t)hidden, y);
        for (int i = 0; i < hidden; i++) out[(size_t)row * (size_t)hidden + (size_t)i] += (double)weights[pair] * y[i];
    }
    return cut;
}

static int check_rows(suite *s, const expert_case *c, const int32_t *ids, const float *weights)
{
    ops_layer layer;
    expert_weights w = make_weights(s, c, &layer);
    size_t n = (size_t)c->rows * (size_t)c->hidden, pairs = (size_t)(c->rows * c->top_k);
    double *x = suite_values(s, n, 3), *want = suite_host(s, n * sizeof *want);
    void *rows = suite_rows(s, x, n), *out = suite_device(s, n * suite_activation_size(s));
    const int32_t *ids_device = suite_upload(s, ids, pairs * sizeof *ids);
    const float *weights_device = suite_upload(s, weights, pairs * sizeof *weights);
    s->ops->experts(s->c, &layer, c->rows, rows, ids_device, weights_device, out);
    int cut = reference_rows(s, &w, c->rows, x, ids, weights, want);
    suite_compare("experts", s->tolerance, suite_read(s, out, n), want, c->rows, c->hidden);
    return cut;
}

static void matches_its_formula(void **state)
{
    static const expert_case cases[] = {
        {32, 32, 1, 0, 1, 1, 1, 1, true},     {96, 96, 5, 0, 5, 2, 17, 1, true},    {160, 224, 8, 3, 2, 4, 129, 1, true},
        {2880, 32, 4, 0, 4, 4, 3, 1, true},   {96, 32, 32, 8, 8, 3, 300, 1, false}, {160, 96, 6, 0, 6, 2, 2, 3, false},
        {96, 64, 4, 1, 3, 4, 129, 2, true},   {32, 2880, 2, 0, 2, 2, 17, 1, true},  {96, 96, 128, 64, 64, 4, 17, 1, true},
    };
    int cut = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        suite s;
        open_case(&s, *state, &cases[i]);
        int32_t ids[300 * 4];
        float weights[300 * 4];
        choose_experts(&s, cases[i].rows, ids, weights);
        cut += check_rows(&s, &cases[i], ids, weights);
        suite_close(&s);
    }
    assert_true(cut > 1000); /* the limits were exercised */
}

static void all_rows_to_one_expert(void **state)
{
    const expert_case c = {160, 96, 8, 4, 4, 1, 300, 1, true};
    suite s;
    open_case(&s, *state, &c);
    int32_t ids[300];
    float weights[300];
    for (int i = 0; i < 300; i++) ids[i] = 6, weights[i] = 1;
    check_rows(&s, &c, ids, weights);
    suite_close(&s);
}

/* Also where the result had other contents before. */
static void rows_without_local_experts_become_zero(void **state)
{
    const expert_case c = {96, 64, 8, 2, 3, 2, 9, 1, true};
    static const int32_t ids[18] = {-1, -1, 0, 1, 5, 7, -1, 5, 1, -1, 7, 6, -1, 0, 5, 6, 0, 7};
    float weights[18];
    for (int i = 0; i < 18; i++) weights[i] = 0.5f;
    suite s;
    open_case(&s, *state, &c);
    check_rows(&s, &c, ids, weights); /* want is all zeros: exact */
    suite_close(&s);
}

/* More ranks than 32-blocks: this rank holds nothing of any expert. */
static void no_intermediate_columns(void **state)
{
    const expert_case c = {96, 0, 4, 0, 4, 2, 3, 1, false};
    static const int32_t ids[6] = {0, 1, 2, 3, 1, 0};
    static const float weights[6] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
    suite s;
    open_case(&s, *state, &c);
    ops_layer layer = {.down_bias = {.format = OPS_BF16}};
    double *x = suite_values(&s, 3 * 96, 1);
    void *rows = suite_rows(&s, x, 3 * 96), *out = suite_device(&s, 3 * 96 * suite_activation_size(&s));
    s.ops->experts(s.c, &layer, 3, rows, suite_upload(&s, ids, sizeof ids), suite_upload(&s, weights, sizeof weights), out);
    const double *got = suite_read(&s, out, 3 * 96);
    for (int i = 0; i < 3 * 96; i++) assert_true(got[i] == 0);
    suite_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_its_formula),
        cmocka_unit_test(all_rows_to_one_expert),
        cmocka_unit_test(rows_without_local_experts_become_zero),
        cmocka_unit_test(no_intermediate_columns),
    };
    return suite_main("experts", tests, sizeof tests / sizeof *tests);
}
