/* Projections around attention: rotary queries, keys and values in the paged cache, and the output projection. */
#include "tests/kernels/reference.h"
#include "tests/kernels/suite.h"

#include <string.h>

typedef struct projection_case {
    int hidden, q_heads, kv_heads, head_dim, rows;
} projection_case;

static const projection_case cases[] = {
    {32, 1, 1, 64, 1},   {96, 4, 2, 32, 300}, {96, 2, 2, 64, 129}, {160, 8, 1, 64, 17},
    {160, 3, 1, 80, 2},  {2880, 16, 2, 64, 3}, {2880, 4, 4, 64, 17},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static void open_case(suite *s, void *backend, const projection_case *c)
{
    ops_shape shape = suite_shape();
    shape.hidden = c->hidden;
    shape.q_heads = c->q_heads;
    shape.kv_heads = c->kv_heads;
    shape.head_dim = c->head_dim;
    suite_open(s, backend, &shape, 0);
}

/* The rows of one rank's heads out of three times as many, and their biases. */
static void make_projection(suite *s, int rows, double spread, suite_tensor *w, suite_tensor *bias)
{
    suite_tensor all = suite_bf16(s, 1, 3 * rows, s->shape.hidden, 0, spread), all_biases = suite_bf16(s, 1, 1, 3 * rows, 0, 1);
    *w = suite_row_slice(s, &all, rows, rows);
    *bias = suite_col_slice(s, &all_biases, rows, rows);
}

/* All rows of W n + b, each head of each row rotated when `rotate`. */
static double *project(suite *s, const suite_tensor *w, const suite_tensor *bias, const double *normed, bool rotate)
{
    int out = (int)w->host.rows, dim = s->shape.head_dim, half = dim / 2;
    double *result = suite_host(s, (size_t)s->n_rows * (size_t)out * sizeof *result);
    for (int i = 0; i < s->n_rows; i++) {
        double *row = result + (size_t)i * (size_t)out;
        size_t angle = (size_t)s->positions[i] * (size_t)half;
        reference_product(w->values, bias->values, out, s->shape.hidden, normed + (size_t)i * (size_t)s->shape.hidden, row);
        for (int h = 0; rotate && h < out; h += dim) reference_rope(row + h, dim, s->shape.rope_cos + angle, s->shape.rope_sin + angle);
    }
    return result;
}

/* The cache after qkv: rows of this batch hold `want`, every other element is as it was. */
static void check_cache(suite *s, const char *what, int kind, const void *cache, const double *before, const double *want)
{
    size_t size = (size_t)(s->shape.kv_heads * s->shape.head_dim), tokens = (size_t)(suite_pool_blocks(s) * s->shape.block_tokens);
    double *after = suite_read(s, cache, tokens * size), *rest = suite_host(s, tokens * size * sizeof *rest);
    memcpy(rest, after, tokens * size * sizeof *rest);
    for (int i = 0; i < s->n_rows; i++) {
        size_t at = suite_pool_token(s, kind, s->slot_of[i], s->positions[i]) * size;
        suite_compare(what, s->tolerance, after + at, want + (size_t)i * size, s->shape.kv_heads, s->shape.head_dim);
        memcpy(rest + at, before + at, size * sizeof *rest);
    }
    assert_memory_equal(rest, before, tokens * size * sizeof *rest);
}

static void check_qkv(suite *s, int kind)
{
    ops_layer layer = {.kind = kind};
    suite_tensor q, k, v, q_bias, k_bias, v_bias;
    int kv_size = s->shape.kv_heads * s->shape.head_dim, q_size = s->shape.q_heads * s->shape.head_dim;
    make_projection(s, q_size, 0.1, &q, &q_bias);
    make_projection(s, kv_size, 0.1, &k, &k_bias);
    make_projection(s, kv_size, 0.1, &v, &v_bias);
    SUITE_PLACE(s, &q, &k, &v);
    SUITE_PLACE(s, &q_bias, &k_bias, &v_bias);
    layer.q = q.placed, layer.k = k.placed, layer.v = v.placed;
    layer.q_bias = q_bias.placed, layer.k_bias = k_bias.placed, layer.v_bias = v_bias.placed;

    size_t pool = (size_t)(suite_pool_blocks(s) * s->shape.block_tokens * kv_size), rows = (size_t)s->n_rows;
    double *old_k = suite_values(s, pool, 1), *old_v = suite_values(s, pool, 1), *normed = suite_values(s, rows * (size_t)s->shape.hidden, 2);
    layer.k_cache = suite_rows(s, old_k, pool);
    layer.v_cache = suite_rows(s, old_v, pool);
    void *normed_device = suite_rows(s, normed, rows * (size_t)s->shape.hidden);
    void *out = suite_device(s, rows * (size_t)q_size * suite_activation_size(s));
    s->ops->qkv(s->c, &layer, normed_device, out);
    suite_compare("q", s->tolerance, suite_read(s, out, rows * (size_t)q_size), project(s, &q, &q_bias, normed, true),
                  s->n_rows * s->shape.q_heads, s->shape.head_dim);
    check_cache(s, "k", kind, layer.k_cache, old_k, project(s, &k, &k_bias, normed, true));
    check_cache(s, "v", kind, layer.v_cache, old_v, project(s, &v, &v_bias, normed, false));
}

static void qkv_of_one_sequence(void **state)
{
    for (int i = 0; i < N_CASES; i++) {
        for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
            suite s;
            open_case(&s, *state, &cases[i]);
            suite_begin(&s, (suite_run[]){{3, 0, cases[i].rows}}, 1, NULL);
            check_qkv(&s, kind);
            suite_close(&s);
        }
    }
}

/* Chunks that start within a block, one decoding row at the last position, all in one step. */
static void qkv_of_several_sequences_at_their_positions(void **state)
{
    const suite_run runs[] = {{2, 37, 19}, {5, 639, 1}, {0, 0, 3}, {1, 300, 30}, {4, 130, 1}};
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        suite s;
        open_case(&s, *state, &cases[1]);
        suite_begin(&s, runs, 5, NULL);
        check_qkv(&s, kind);
        suite_close(&s);
    }
}

/* Columns of this rank's heads; the bias is added by one rank alone. */
static void output_projection(void **state)
{
    for (int i = 0; i < 2 * N_CASES; i++) {
        suite s;
        open_case(&s, *state, &cases[i / 2]);
        int in = s.shape.q_heads * s.shape.head_dim, hidden = s.shape.hidden;
        suite_begin(&s, (suite_run[]){{3, 0, cases[i / 2].rows}}, 1, NULL);
        size_t rows = (size_t)s.n_rows, outputs = rows * (size_t)hidden;
        suite_tensor all = suite_bf16(&s, 1, hidden, 2 * in, 0, 0.1), o = suite_col_slice(&s, &all, in, in);
        suite_tensor bias = i % 2 ? suite_bf16(&s, 1, 1, hidden, 0, 1) : suite_absent();
        SUITE_PLACE(&s, &o);
        SUITE_PLACE(&s, &bias);
        ops_layer layer = {.o = o.placed, .o_bias = bias.placed};
        double *attn = suite_values(&s, rows * (size_t)in, 1), *want = suite_host(&s, outputs * sizeof *want);
        void *attn_device = suite_rows(&s, attn, rows * (size_t)in), *delta = suite_device(&s, outputs * suite_activation_size(&s));
        s.ops->attention_out(s.c, &layer, attn_device, delta);
        for (size_t r = 0; r < rows; r++) reference_product(o.values, bias.values, hidden, in, attn + r * (size_t)in, want + r * (size_t)hidden);
        suite_compare("delta", s.tolerance, suite_read(&s, delta, outputs), want, s.n_rows, hidden);
        suite_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qkv_of_one_sequence),
        cmocka_unit_test(qkv_of_several_sequences_at_their_positions),
        cmocka_unit_test(output_projection),
    };
    return suite_main("qkv", tests, sizeof tests / sizeof *tests);
}
