/* Attention over the paged cache. Whatever a query must not read is NaN in the cache: blocks behind the window (their table entries are -1 as
 * well), positions after the sequence's end, blocks of nobody. */
#include "tests/kernels/reference.h"
#include "tests/kernels/suite.h"

#include <math.h>
#include <string.h>

enum { MAX_RUNS = 6 };

typedef struct attention_case {
    int q_heads, kv_heads, head_dim, window;
    double q_spread, sink_centre, sink_spread;
    int n_runs;
    suite_run runs[MAX_RUNS];
} attention_case;

/* Keys (or values) of one run, [first + count, kv_heads, head_dim], and their upload into the cache's blocks. */
static double *fill_cache(suite *s, int kind, const suite_run *run, double *pool)
{
    size_t size = (size_t)(s->shape.kv_heads * s->shape.head_dim), n = (size_t)(run->first + run->count) * size;
    double *rows = suite_values(s, n, 1);
    suite_rows(s, rows, n); /* rounds them */
    for (int position = 0; position < run->first + run->count; position++)
        if (suite_block_alive(s, kind, run->first, position))
            memcpy(pool + suite_pool_token(s, kind, run->slot, position) * size, rows + (size_t)position * size, size * sizeof *pool);
    return rows;
}

static double *poisoned(suite *s, size_t n)
{
    double *values = suite_host(s, n * sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = (double)NAN;
    return values;
}

/* Queries of the run's rows against its keys. */
static void reference_run(const suite *s, int kind, const suite_run *run, const double *keys, const double *values, const double *sinks,
                          const double *q, double *out)
{
    int dim = s->shape.head_dim, group = s->shape.q_heads / s->shape.kv_heads;
    size_t size = (size_t)(s->shape.kv_heads * dim);
    for (int i = 0; i < run->count; i++) {
        int position = run->first + i, first = kind == OPS_SLIDING && position >= s->shape.sliding_window ? position - s->shape.sliding_window + 1 : 0;
        for (int h = 0; h < s->shape.q_heads; h++) {
            size_t at = (size_t)first * size + (size_t)(h / group * dim), head = ((size_t)i * (size_t)s->shape.q_heads + (size_t)h) * (size_t)dim;
            reference_attend(q + head, keys + at, values + at, size, position - first + 1, dim, sinks[h], out + head);
        }
    }
}

static void check_kind(void *backend, const attention_case *c, int kind)
{
    suite s;
    ops_shape shape = suite_shape();
    shape.q_heads = c->q_heads;
    shape.kv_heads = c->kv_heads;
    shape.head_dim = c->head_dim;
    shape.sliding_window = c->window;
    suite_open(&s, backend, &shape, 0);
    suite_tensor all = suite_bf16(&s, 1, 1, 2 * c->q_heads, c->sink_centre, c->sink_spread), sinks = suite_col_slice(&s, &all, c->q_heads, c->q_heads);
    SUITE_PLACE(&s, &sinks);
    suite_begin(&s, c->runs, c->n_runs, NULL);

    size_t row = (size_t)(c->q_heads * c->head_dim), n = (size_t)s.n_rows * row;
    size_t pool = (size_t)(suite_pool_blocks(&s) * s.shape.block_tokens * c->kv_heads * c->head_dim);
    double *q = suite_values(&s, n, c->q_spread), *want = suite_host(&s, n * sizeof *want);
    double *k_pool = poisoned(&s, pool), *v_pool = poisoned(&s, pool);
    void *q_device = suite_rows(&s, q, n), *out = suite_device(&s, n * suite_activation_size(&s));
    size_t done = 0;
    for (int i = 0; i < c->n_runs; i++) {
        const double *keys = fill_cache(&s, kind, &c->runs[i], k_pool), *values = fill_cache(&s, kind, &c->runs[i], v_pool);
        reference_run(&s, kind, &c->runs[i], keys, values, sinks.values, q + done, want + done);
        done += (size_t)c->runs[i].count * row;
    }
    ops_layer layer = {.kind = kind, .sinks = sinks.placed, .k_cache = suite_rows(&s, k_pool, pool), .v_cache = suite_rows(&s, v_pool, pool)};
    s.ops->attention(s.c, &layer, q_device, out);
    suite_compare(kind == OPS_FULL ? "full attention" : "sliding attention", s.tolerance, suite_read(&s, out, n), want, s.n_rows * c->q_heads,
                  c->head_dim);
    suite_close(&s);
}

static void check(void **state, const attention_case *c)
{
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) check_kind(*state, c, kind);
}

static void prefill_of_every_length(void **state)
{
    static const int lengths[] = {1, 2, 3, 17, 129, 300};
    for (int i = 0; i < 6; i++) check(state, &(attention_case){4, 2, 64, 128, 3, 0, 3, 1, {{2, 0, lengths[i]}}});
}

static void decode_at_the_edge_of_the_window(void **state)
{
    check(state, &(attention_case){8, 1, 64, 128, 3, 0, 3, 5, {{0, 126, 1}, {1, 127, 1}, {2, 128, 1}, {3, 129, 1}, {5, 130, 1}}});
    check(state, &(attention_case){2, 2, 32, 8, 3, 0, 3, 6, {{0, 6, 1}, {1, 7, 1}, {2, 8, 1}, {3, 9, 1}, {5, 10, 1}, {4, 639, 1}}});
}

static void chunk_across_the_edge_of_the_window(void **state)
{
    check(state, &(attention_case){4, 1, 64, 128, 3, 0, 3, 2, {{4, 120, 17}, {1, 257, 40}}});
    check(state, &(attention_case){4, 2, 64, 8, 3, 0, 3, 3, {{4, 3, 17}, {1, 63, 3}, {0, 500, 100}}});
}

static void heads_that_share_keys(void **state)
{
    static const int groups[] = {1, 2, 3, 8};
    for (int i = 0; i < 4; i++) check(state, &(attention_case){2 * groups[i], 2, 64, 20, 3, 0, 3, 2, {{0, 40, 5}, {3, 0, 21}}});
}

static void prefill_and_decode_together(void **state)
{
    check(state, &(attention_case){8, 2, 64, 128, 3, 0, 3, 6, {{5, 0, 33}, {0, 511, 1}, {2, 0, 1}, {1, 200, 64}, {3, 15, 1}, {4, 16, 1}}});
}

/* A sink far above all scores takes everything, far below it takes nothing; either way nothing overflows. */
static void extreme_sinks_and_scores(void **state)
{
    check(state, &(attention_case){4, 2, 64, 128, 1, 30, 2, 1, {{0, 140, 3}}});
    check(state, &(attention_case){4, 2, 64, 128, 1, -100, 2, 1, {{0, 140, 3}}});
    check(state, &(attention_case){4, 2, 64, 128, 100, 0, 3, 1, {{0, 140, 3}}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefill_of_every_length),
        cmocka_unit_test(decode_at_the_edge_of_the_window),
        cmocka_unit_test(chunk_across_the_edge_of_the_window),
        cmocka_unit_test(heads_that_share_keys),
        cmocka_unit_test(prefill_and_decode_together),
        cmocka_unit_test(extreme_sinks_and_scores),
    };
    return suite_main("attention", tests, sizeof tests / sizeof *tests);
}
