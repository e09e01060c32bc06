/* The expert exchange against the same routing worked out in one process: every rank knows what all ranks send. Runs at any
 * number of ranks, in the whole world and in splits of it. */
#include "tests/comm/ranks.h"

#include <stdlib.h>
#include <string.h>

typedef struct group {
    comm *c;
    int n, rank;
} group;

typedef struct trial {
    exchange_shape shape;
    uint64_t seed;
    bool exact; /* small whole numbers: no sum rounds, in whatever order */
} trial;

/* What one rank of a group dispatches. */
typedef struct batch {
    int n_rows;
    float *rows;      /* [n_rows, row_size], already rounded to the type */
    int32_t *experts; /* [n_rows, top_k] */
    float *weights;   /* [n_rows, top_k] */
} batch;

static float rounded(float value, dtype type)
{
    return type == DTYPE_F32 ? value : dtype_bf16_to_f32(dtype_f32_to_bf16(value));
}

static void put(void *data, size_t i, dtype type, float value)
{
    if (type == DTYPE_F32)
        ((float *)data)[i] = value;
    else
        ((uint16_t *)data)[i] = dtype_f32_to_bf16(value);
}

static float get(const void *data, size_t i, dtype type)
{
    return type == DTYPE_F32 ? ((const float *)data)[i] : dtype_bf16_to_f32(((const uint16_t *)data)[i]);
}

static float number(const trial *t, uint64_t *seed)
{
    if (t->exact) return (float)(ranks_below(seed, 33) - 16);
    return rounded((float)ranks_below(seed, 1 << 20) / 1e5f - 5.0f, t->shape.type);
}

/* Rank 1 of the group never has rows, others a random number; a tenth of the choices is -1; experts may repeat. */
static batch make_batch(const trial *t, int rank)
{
    const exchange_shape *s = &t->shape;
    uint64_t seed = t->seed * 1000 + (uint64_t)rank;
    batch b = {.n_rows = rank == 1 ? 0 : ranks_below(&seed, s->max_rows + 1)};
    size_t n = (size_t)b.n_rows, k = (size_t)s->top_k, width = (size_t)s->row_size;
    b.rows = malloc(n * width * sizeof *b.rows + 1);
    b.experts = malloc(n * k * sizeof *b.experts + 1);
    b.weights = malloc(n * k * sizeof *b.weights + 1);
    for (size_t i = 0; i < n * width; i++) b.rows[i] = number(t, &seed);
    for (size_t i = 0; i < n * k; i++) {
        b.experts[i] = ranks_below(&seed, 10) ? ranks_below(&seed, s->n_experts) : -1;
        b.weights[i] = t->exact ? (float)ranks_below(&seed, 9) / 8.0f : (float)ranks_below(&seed, 1 << 16) / 65536.0f;
    }
    return b;
}

static void free_batch(batch *b)
{
    free(b->weights);
    free(b->experts);
    free(b->rows);
}

static float expert_output(int32_t expert, float input, int column)
{
    return (float)(expert + 1) * input + (float)(column % 5);
}

/* The weighted sum over the experts of `owner`; *any tells whether there is one. */
static float partial(const trial *t, const group *g, const batch *b, int row, int column, int owner, bool *any)
{
    const exchange_shape *s = &t->shape;
    int per_rank = s->n_experts / g->n;
    float sum = 0;
    *any = false;
    for (int k = 0; k < s->top_k; k++) {
        int32_t e = b->experts[row * s->top_k + k];
        if (e < owner * per_rank || e >= (owner + 1) * per_rank) continue;
        *any = true;
        sum += b->weights[row * s->top_k + k] * expert_output(e, b->rows[row * s->row_size + column], column);
    }
    return rounded(sum, s->type);
}

/* What must have arrived here: rows of rank 0 that concern us, in their order, then those of rank 1, ... */
static void check_received(const trial *t, const group *g, const exchange_rows *got)
{
    const exchange_shape *s = &t->shape;
    int per_rank = s->n_experts / g->n, at = 0;
    for (int r = 0; r < g->n; r++) {
        batch b = make_batch(t, r);
        for (int i = 0; i < b.n_rows; i++) {
            bool any;
            partial(t, g, &b, i, 0, g->rank, &any);
            if (!any) continue;
            assert_true(at < got->n_rows);
            for (int j = 0; j < s->row_size; j++)
                assert_true(get(got->rows, (size_t)at * (size_t)s->row_size + (size_t)j, s->type) ==
                            b.rows[i * s->row_size + j]);
            for (int k = 0; k < s->top_k; k++) {
                int32_t e = b.experts[i * s->top_k + k];
                bool ours = e >= 0 && e / per_rank == g->rank;
                assert_int_equal(got->experts[at * s->top_k + k], ours ? e : -1);
                assert_true(got->weights[at * s->top_k + k] == (ours ? b.weights[i * s->top_k + k] : 0.0f));
            }
            at++;
        }
        free_batch(&b);
    }
    assert_int_equal(got->n_rows, at);
}

static void run_experts(const exchange_shape *s, const exchange_rows *got, void *returned)
{
    for (int i = 0; i < got->n_rows; i++)
        for (int j = 0; j < s->row_size; j++) {
            float sum = 0, input = get(got->rows, (size_t)i * (size_t)s->row_size + (size_t)j, s->type);
            for (int k = 0; k < s->top_k; k++) {
                int32_t e = got->experts[i * s->top_k + k];
                if (e >= 0) sum += got->weights[i * s->top_k + k] * expert_output(e, input, j);
            }
            put(returned, (size_t)i * (size_t)s->row_size + (size_t)j, s->type, sum);
        }
}

static float wanted_output(const trial *t, const group *g, const batch *b, int row, int column)
{
    float sum = 0;
    bool first = true;
    for (int owner = 0; owner < g->n; owner++) {
        bool any;
        float part = partial(t, g, b, row, column, owner, &any);
        if (!any) continue;
        sum = first ? part : sum + part;
        first = false;
    }
    return rounded(sum, t->shape.type);
}

static void check_round(const trial *t, const group *g, exchange *x)
{
    const exchange_shape *s = &t->shape;
    status_detail detail;
    batch b = make_batch(t, g->rank);
    size_t mine = (size_t)b.n_rows * (size_t)s->row_size;
    void *rows = malloc(mine * 4 + 1), *out = malloc(mine * 4 + 1);
    for (size_t i = 0; i < mine; i++) put(rows, i, s->type, b.rows[i]);
    memset(out, 0x7f, mine * 4 + 1);
    exchange_rows got;
    ranks_assert_ok(exchange_dispatch(x, b.n_rows, s->max_rows, rows, b.experts, b.weights, &got, &detail), &detail);
    check_received(t, g, &got);
    void *returned = malloc((size_t)got.n_rows * (size_t)s->row_size * 4 + 1);
    run_experts(s, &got, returned);
    ranks_assert_ok(exchange_combine(x, returned, out, &detail), &detail);
    for (int i = 0; i < b.n_rows; i++)
        for (int j = 0; j < s->row_size; j++)
            assert_true(get(out, (size_t)i * (size_t)s->row_size + (size_t)j, s->type) == wanted_output(t, g, &b, i, j));
    assert_int_equal(((unsigned char *)out)[mine * dtype_size(s->type)], 0x7f);
    free(returned);
    free(out);
    free(rows);
    free_batch(&b);
}

/* Several rounds through one exchange, so that nothing of a round is left to the next. */
static void check_shape(const group *g, exchange_shape shape, uint64_t seed)
{
    status_detail detail;
    exchange *x;
    ranks_assert_ok(exchange_open(g->c, &shape, &x, &detail), &detail);
    for (uint64_t round = 0; round < 4; round++) {
        trial t = {.shape = shape, .seed = seed * 16 + round, .exact = shape.type == DTYPE_F32};
        check_round(&t, g, x);
    }
    exchange_close(x);
}

static group open_group(world *w, int color)
{
    comm_options options = {.transport = "auto", .host_memory = true};
    status_detail detail;
    group g;
    ranks_assert_ok(comm_open(w, color, &options, &g.c, &detail), &detail);
    g.n = comm_size(g.c);
    g.rank = comm_rank(g.c);
    return g;
}

static void outputs_equal_one_process(void **state)
{
    world *w = *state;
    for (int n_colors = 1; n_colors <= 2; n_colors++) {
        int color = world_rank(w) % n_colors;
        group g = open_group(w, color);
        for (int top_k = 1; top_k <= 8; top_k++)
            for (int type = 0; type < 2; type++) {
                exchange_shape shape = {.max_rows = 23, .row_size = 17, .type = type ? DTYPE_BF16 : DTYPE_F32,
                                        .top_k = top_k, .n_experts = 12};
                check_shape(&g, shape, (uint64_t)(100 * top_k + 10 * type + color));
            }
        comm_close(g.c);
    }
}

static void sizes_of_the_model_work(void **state)
{
    group g = open_group(*state, 0);
    if (128 % g.n == 0)
        check_shape(&g, (exchange_shape){.max_rows = 64, .row_size = 2880, .type = DTYPE_F32, .top_k = 4, .n_experts = 128},
                    77);
    check_shape(&g, (exchange_shape){.max_rows = 1, .row_size = 1, .type = DTYPE_F32, .top_k = 1, .n_experts = g.n}, 78);
    comm_close(g.c);
}

/* Nobody has rows: the calls still meet. And a row without any expert comes back as zero. */
static void empty_rounds_and_rows_work(void **state)
{
    group g = open_group(*state, 0);
    status_detail detail;
    exchange_shape shape = {.max_rows = 2, .row_size = 3, .type = DTYPE_F32, .top_k = 2, .n_experts = 12};
    exchange *x;
    exchange_rows got;
    ranks_assert_ok(exchange_open(g.c, &shape, &x, &detail), &detail);
    ranks_assert_ok(exchange_dispatch(x, 0, 0, NULL, NULL, NULL, &got, &detail), &detail);
    assert_int_equal(got.n_rows, 0);
    ranks_assert_ok(exchange_combine(x, NULL, NULL, &detail), &detail);

    const float row[3] = {1, 2, 3}, weights[2] = {1, 1};
    const int32_t experts[2] = {-1, -1};
    float out[3] = {9, 9, 9};
    ranks_assert_ok(exchange_dispatch(x, 1, 1, row, experts, weights, &got, &detail), &detail);
    assert_int_equal(got.n_rows, 0);
    ranks_assert_ok(exchange_combine(x, NULL, out, &detail), &detail);
    for (int j = 0; j < 3; j++) assert_true(out[j] == 0);
    exchange_close(x);
    comm_close(g.c);
}

static void wrong_shapes_are_refused(void **state)
{
    group g = open_group(*state, 0);
    const exchange_shape good = {.max_rows = 2, .row_size = 3, .type = DTYPE_F32, .top_k = 2, .n_experts = 12};
    exchange_shape wrong[6] = {good, good, good, good, good, good};
    wrong[0].max_rows = 0;
    wrong[1].row_size = 0;
    wrong[2].type = DTYPE_U8;
    wrong[3].top_k = 0;
    wrong[4].n_experts = 0;
    wrong[5].n_experts = g.n > 1 ? g.n + 1 : 0;
    for (int i = 0; i < 6; i++) {
        status_detail detail = {""};
        exchange *x = NULL;
        assert_int_not_equal(exchange_open(g.c, &wrong[i], &x, &detail), STATUS_OK);
        assert_null(x);
        assert_string_not_equal(detail.text, "");
    }
    comm_close(g.c);
}

/* One rank passes nonsense: it gets its own error, the others learn who, and the next round works. */
static void one_wrong_rank_stops_no_other(void **state)
{
    group g = open_group(*state, 0);
    status_detail detail;
    exchange_shape shape = {.max_rows = 23, .row_size = 17, .type = DTYPE_F32, .top_k = 2, .n_experts = 12};
    exchange *x;
    exchange_rows got;
    const float rows[17] = {1}, weights[2] = {1, 1};
    ranks_assert_ok(exchange_open(g.c, &shape, &x, &detail), &detail);
    for (int culprit = 0; culprit < g.n; culprit++) {
        bool me = g.rank == culprit;
        const int32_t experts[2] = {0, me ? 12 : 11};
        status code = exchange_dispatch(x, 1, 23, rows, experts, weights, &got, &detail);
        assert_int_equal(code, me ? STATUS_INTERNAL : STATUS_PEER);
        assert_non_null(strstr(detail.text, me ? "expert 12" : "wrong arguments"));
        assert_int_equal(exchange_combine(x, NULL, NULL, &detail), STATUS_INTERNAL);
        code = exchange_dispatch(x, me ? 24 : 0, 23, rows, experts, weights, &got, &detail);
        assert_int_equal(code, me ? STATUS_INTERNAL : STATUS_PEER);
    }
    trial t = {.shape = shape, .seed = 5, .exact = true};
    check_round(&t, &g, x);
    exchange_close(x);
    comm_close(g.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_equal_one_process),  cmocka_unit_test(sizes_of_the_model_work),
        cmocka_unit_test(empty_rounds_and_rows_work), cmocka_unit_test(wrong_shapes_are_refused),
        cmocka_unit_test(one_wrong_rank_stops_no_other),
    };
    return cmocka_run_group_tests(tests, ranks_setup, ranks_teardown);
}
