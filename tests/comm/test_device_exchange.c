/* The expert exchange on device memory against the same exchange on host memory, which test_exchange.c holds against one
 * process. */
#include "tests/comm/device_rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Both exchanges of one shape over the same ranks. */
typedef struct pair {
    const device_rank *d;
    exchange_shape shape;
    int n, rank;
    comm *on_host, *on_device;
    exchange *host, *device;
} pair;

/* What a rank dispatches; pinned. */
typedef struct batch {
    int n_rows, max_rows; /* max_rows: the largest n_rows of the group, or a little more */
    void *rows;           /* [n_rows, row_size] */
    int32_t *experts;     /* [n_rows, top_k] */
    float *weights;       /* [n_rows, top_k] */
} batch;

static size_t row_bytes(const pair *p) { return (size_t)p->shape.row_size * dtype_size(p->shape.type); }
static size_t choices(const pair *p, int rows) { return (size_t)rows * (size_t)p->shape.top_k; }

static pair open_pair(const device_rank *d, int n_colors, const char *transport, exchange_shape shape)
{
    int color = world_rank(d->w) % n_colors;
    comm_options options = {.transport = "mpi", .host_memory = true};
    status_detail detail;
    pair p = {.d = d, .shape = shape};
    ranks_assert_ok(comm_open(d->w, color, &options, &p.on_host, &detail), &detail);
    p.on_device = device_rank_open(d, color, transport);
    p.n = comm_size(p.on_host);
    p.rank = comm_rank(p.on_host);
    ranks_assert_ok(exchange_open(p.on_host, &shape, &p.host, &detail), &detail);
    ranks_assert_ok(exchange_open(p.on_device, &shape, &p.device, &detail), &detail);
    return p;
}

static void close_pair(pair *p)
{
    exchange_close(p->device);
    exchange_close(p->host);
    comm_close(p->on_device);
    comm_close(p->on_host);
}

/* ---- data --------------------------------------------------------------------------------------------------------- */

static float get(const pair *p, const void *data, size_t i)
{
    return p->shape.type == DTYPE_F32 ? ((const float *)data)[i] : dtype_bf16_to_f32(((const uint16_t *)data)[i]);
}

static void put(const pair *p, void *data, size_t i, float value)
{
    if (p->shape.type == DTYPE_F32)
        ((float *)data)[i] = value;
    else
        ((uint16_t *)data)[i] = dtype_f32_to_bf16(value);
}

/* Rank 1 never has rows, others a random number. Every rank can tell for all. */
static int rows_of(const pair *p, uint64_t round, int rank)
{
    uint64_t seed = round * 100 + (uint64_t)rank;
    return rank == 1 ? 0 : ranks_below(&seed, p->shape.max_rows + 1);
}

static batch take_batch(const pair *p)
{
    return (batch){.rows = device_rank_pinned((size_t)p->shape.max_rows * row_bytes(p)),
                   .experts = device_rank_pinned(choices(p, p->shape.max_rows) * sizeof(int32_t)),
                   .weights = device_rank_pinned(choices(p, p->shape.max_rows) * sizeof(float))};
}

static void free_batch(batch *b)
{
    device_rank_assert(cudaFreeHost(b->weights));
    device_rank_assert(cudaFreeHost(b->experts));
    device_rank_assert(cudaFreeHost(b->rows));
}

/* A tenth of the choices is -1, and experts may repeat. */
static void fill_batch(const pair *p, batch *b, uint64_t round)
{
    uint64_t seed = 1000003 * round + (uint64_t)p->rank + 1;
    size_t n = (size_t)b->n_rows * (size_t)p->shape.row_size, k = choices(p, b->n_rows);
    for (size_t i = 0; i < n; i++) put(p, b->rows, i, (float)ranks_below(&seed, 1 << 20) / 1e5f - 5.0f);
    for (size_t i = 0; i < k; i++) {
        b->experts[i] = ranks_below(&seed, 10) ? ranks_below(&seed, p->shape.n_experts) : -1;
        b->weights[i] = (float)ranks_below(&seed, 1 << 16) / 65536.0f;
    }
}

static void size_batch(const pair *p, batch *b, uint64_t round)
{
    b->n_rows = rows_of(p, round, p->rank);
    b->max_rows = 0;
    for (int r = 0; r < p->n; r++)
        if (rows_of(p, round, r) > b->max_rows) b->max_rows = rows_of(p, round, r);
    if (round % 2 && b->max_rows < p->shape.max_rows) b->max_rows++;
}

/* The experts of this rank over received rows; what is not for it becomes NaN, to show that nobody reads it. */
static void run_experts(const pair *p, const exchange_rows *got, void *returned)
{
    size_t width = (size_t)p->shape.row_size;
    for (size_t i = 0; i < (size_t)got->n_rows; i++) {
        bool any = false;
        for (size_t k = i * (size_t)p->shape.top_k; k < (i + 1) * (size_t)p->shape.top_k; k++) any = any || got->experts[k] >= 0;
        for (size_t j = 0; j < width; j++) {
            float sum = any ? 0 : NAN, input = get(p, got->rows, i * width + j);
            for (size_t k = i * (size_t)p->shape.top_k; k < (i + 1) * (size_t)p->shape.top_k; k++)
                if (got->experts[k] >= 0) sum += got->weights[k] * ((float)(got->experts[k] + 1) * input + (float)(j % 5));
            put(p, returned, i * width + j, sum);
        }
    }
}

/* ---- rounds ------------------------------------------------------------------------------------------------------- */

/* Rows for this rank, in the order they came, are the host's; the others say so, and are numbers. */
static void check_received(const pair *p, const exchange_rows *wanted, const exchange_rows *got)
{
    size_t top_k = (size_t)p->shape.top_k, bytes = row_bytes(p);
    int at = 0;
    for (size_t i = 0; i < (size_t)got->n_rows; i++) {
        const int32_t *ids = got->experts + i * top_k;
        const float *weights = got->weights + i * top_k;
        bool any = false;
        for (size_t k = 0; k < top_k; k++) {
            any = any || ids[k] >= 0;
            if (ids[k] < 0) assert_true(ids[k] == -1 && weights[k] == 0);
        }
        if (!any) {
            for (size_t j = 0; j < (size_t)p->shape.row_size; j++)
                assert_true(isfinite(get(p, (const char *)got->rows + i * bytes, j)));
            continue;
        }
        assert_true(at < wanted->n_rows);
        assert_memory_equal((const char *)got->rows + i * bytes, (const char *)wanted->rows + (size_t)at * bytes, bytes);
        assert_memory_equal(ids, wanted->experts + (size_t)at * top_k, top_k * sizeof *ids);
        assert_memory_equal(weights, wanted->weights + (size_t)at * top_k, top_k * sizeof *weights);
        at++;
    }
    assert_int_equal(at, wanted->n_rows);
}

/* Dispatch and combine on the host: *received lives until the next round, `out` gets the batch's rows. */
static void host_round(const pair *p, const batch *b, exchange_rows *received, void *out)
{
    status_detail detail;
    ranks_assert_ok(
        exchange_dispatch(p->host, b->n_rows, b->max_rows, b->rows, b->experts, b->weights, received, &detail), &detail);
    void *returned = malloc((size_t)received->n_rows * row_bytes(p) + 1);
    run_experts(p, received, returned);
    ranks_assert_ok(exchange_combine(p->host, returned, out, &detail), &detail);
    free(returned);
}

/* The batch's device copy. */
typedef struct device_batch {
    void *rows, *out, *returned;
    int32_t *experts;
    float *weights;
} device_batch;

static device_batch take_device_batch(const pair *p)
{
    size_t most = (size_t)p->shape.max_rows;
    return (device_batch){.rows = device_rank_device(most * row_bytes(p)),
                          .out = device_rank_device(most * row_bytes(p)),
                          .returned = device_rank_device(most * (size_t)p->n * row_bytes(p)),
                          .experts = device_rank_device(choices(p, p->shape.max_rows) * sizeof(int32_t)),
                          .weights = device_rank_device(choices(p, p->shape.max_rows) * sizeof(float))};
}

static void free_device_batch(device_batch *db)
{
    device_rank_assert(cudaFree(db->weights));
    device_rank_assert(cudaFree(db->experts));
    device_rank_assert(cudaFree(db->returned));
    device_rank_assert(cudaFree(db->out));
    device_rank_assert(cudaFree(db->rows));
}

static exchange_rows device_dispatch(const pair *p, const batch *b, const device_batch *db)
{
    status_detail detail;
    exchange_rows got;
    device_rank_up(p->d, db->rows, b->rows, (size_t)b->n_rows * row_bytes(p));
    device_rank_up(p->d, db->experts, b->experts, choices(p, b->n_rows) * sizeof(int32_t));
    device_rank_up(p->d, db->weights, b->weights, choices(p, b->n_rows) * sizeof(float));
    ranks_assert_ok(
        exchange_dispatch(p->device, b->n_rows, b->max_rows, db->rows, db->experts, db->weights, &got, &detail), &detail);
    assert_int_equal(got.n_rows, b->max_rows * p->n);
    return got;
}

/* A round on the device, with the experts played by the host. */
static void device_round(const pair *p, const batch *b, const device_batch *db, const exchange_rows *wanted, void *out)
{
    status_detail detail;
    exchange_rows got = device_dispatch(p, b, db), here = {.n_rows = got.n_rows};
    size_t bytes = (size_t)got.n_rows * row_bytes(p), k = choices(p, got.n_rows);
    void *rows = malloc(bytes + 1), *returned = malloc(bytes + 1);
    int32_t *experts = malloc(k * sizeof *experts + 1);
    float *weights = malloc(k * sizeof *weights + 1);
    device_rank_down(p->d, rows, got.rows, bytes);
    device_rank_down(p->d, experts, got.experts, k * sizeof *experts);
    device_rank_down(p->d, weights, got.weights, k * sizeof *weights);
    device_rank_wait(p->d);
    here.rows = rows;
    here.experts = experts;
    here.weights = weights;
    check_received(p, wanted, &here);
    run_experts(p, &here, returned);
    device_rank_up(p->d, db->returned, returned, bytes);
    ranks_assert_ok(exchange_combine(p->device, db->returned, db->out, &detail), &detail);
    device_rank_down(p->d, out, db->out, (size_t)b->n_rows * row_bytes(p));
    device_rank_wait(p->d);
    free(weights);
    free(experts);
    free(returned);
    free(rows);
}

static void check_shape(const device_rank *d, int n_colors, const char *transport, exchange_shape shape, uint64_t n_rounds)
{
    pair p = open_pair(d, n_colors, transport, shape);
    batch b = take_batch(&p);
    device_batch db = take_device_batch(&p);
    void *wanted = malloc((size_t)shape.max_rows * row_bytes(&p)), *out = malloc((size_t)shape.max_rows * row_bytes(&p));
    for (uint64_t round = 1; round <= n_rounds; round++) {
        exchange_rows received;
        size_batch(&p, &b, round);
        fill_batch(&p, &b, round);
        host_round(&p, &b, &received, wanted);
        device_round(&p, &b, &db, &received, out);
        assert_memory_equal(out, wanted, (size_t)b.n_rows * row_bytes(&p));
    }
    free(out);
    free(wanted);
    free_device_batch(&db);
    free_batch(&b);
    close_pair(&p);
}

/* ---- tests -------------------------------------------------------------------------------------------------------- */

static void rounds_equal_the_host_s(void **state)
{
    const device_rank *d = *state;
    for (const char *const *t = device_rank_transports(d); *t; t++)
        for (int n_colors = 1; n_colors <= 2; n_colors++)
            for (int top_k = 1; top_k <= 8; top_k += top_k < 4 ? 1 : 4)
                for (int type = 0; type < 2; type++) {
                    exchange_shape shape = {.max_rows = 23, .row_size = 17, .type = type ? DTYPE_BF16 : DTYPE_F32,
                                            .top_k = top_k, .n_experts = 12};
                    check_shape(d, n_colors, *t, shape, 6);
                }
}

static void sizes_of_the_model_work(void **state)
{
    const device_rank *d = *state;
    if (128 % world_size(d->w)) skip();
    for (const char *const *t = device_rank_transports(d); *t; t++)
        check_shape(d, 1, *t, (exchange_shape){.max_rows = 512, .row_size = 2880, .type = DTYPE_BF16, .top_k = 4, .n_experts = 128}, 3);
}

/* A row comes back as many times as there are ranks among its experts' owners, if every rank returns what it received. */
static float sum_of_echoes(const pair *p, const batch *b, size_t row, size_t column)
{
    int per_rank = p->shape.n_experts / p->n, echoes = 0;
    for (int owner = 0; owner < p->n; owner++) {
        bool any = false;
        for (size_t k = row * (size_t)p->shape.top_k; k < (row + 1) * (size_t)p->shape.top_k; k++)
            any = any || (b->experts[k] >= 0 && b->experts[k] / per_rank == owner);
        echoes += any;
    }
    float value = get(p, b->rows, row * (size_t)p->shape.row_size + column), sum = 0;
    for (int i = 0; i < echoes; i++) sum += value;
    return sum;
}

static void check_echoes(const pair *p, const batch *b, const void *out)
{
    size_t width = (size_t)p->shape.row_size;
    for (size_t i = 0; i < (size_t)b->n_rows; i++)
        for (size_t j = 0; j < width; j++) {
            float rounded[1];
            put(p, rounded, 0, sum_of_echoes(p, b, i, j));
            assert_true(get(p, out, i * width + j) == get(p, rounded, 0));
        }
}

static void a_captured_exchange_can_be_replayed(void **state)
{
    const device_rank *d = *state;
    exchange_shape shape = {.max_rows = 40, .row_size = 288, .type = DTYPE_BF16, .top_k = 4, .n_experts = 12};
    for (const char *const *t = device_rank_transports(d); *t; t++) {
        status_detail detail;
        pair p = open_pair(d, 1, *t, shape);
        batch b = take_batch(&p);
        device_batch db = take_device_batch(&p);
        void *out = device_rank_pinned((size_t)shape.max_rows * row_bytes(&p));
        b.n_rows = b.max_rows = 33;
        device_rank_capture_begin(d);
        exchange_rows got = device_dispatch(&p, &b, &db);
        ranks_assert_ok(exchange_combine(p.device, got.rows, db.out, &detail), &detail);
        device_rank_down(d, out, db.out, (size_t)b.n_rows * row_bytes(&p));
        cudaGraphExec_t graph = device_rank_capture_end(d);
        for (uint64_t replay = 0; replay < 100; replay++) {
            fill_batch(&p, &b, 100 + replay);
            device_rank_assert(cudaGraphLaunch(graph, d->stream));
            device_rank_wait(d);
            check_echoes(&p, &b, out);
        }
        device_rank_assert(cudaGraphExecDestroy(graph));
        device_rank_assert(cudaFreeHost(out));
        free_device_batch(&db);
        free_batch(&b);
        close_pair(&p);
    }
}

/* Ids may be nonsense on a device, where nobody can look at them in time: such a choice is nobody's. */
static void wrong_arguments_harm_nobody(void **state)
{
    const device_rank *d = *state;
    status_detail detail;
    exchange_rows got;
    pair p = open_pair(d, 1, device_rank_transports(d)[0],
                       (exchange_shape){.max_rows = 4, .row_size = 8, .type = DTYPE_F32, .top_k = 2, .n_experts = 12});
    assert_int_equal(exchange_dispatch(p.device, 0, 5, NULL, NULL, NULL, &got, &detail), STATUS_INTERNAL);
    ranks_assert_ok(exchange_dispatch(p.device, 0, 0, NULL, NULL, NULL, &got, &detail), &detail);
    assert_int_equal(got.n_rows, 0);
    ranks_assert_ok(exchange_combine(p.device, NULL, NULL, &detail), &detail);

    batch b = take_batch(&p);
    device_batch db = take_device_batch(&p);
    float out[8];
    b.n_rows = b.max_rows = 1;
    fill_batch(&p, &b, 1);
    b.experts[0] = 1 << 20;
    b.experts[1] = -7;
    got = device_dispatch(&p, &b, &db);
    ranks_assert_ok(exchange_combine(p.device, got.rows, db.out, &detail), &detail);
    device_rank_down(d, out, db.out, sizeof out);
    device_rank_wait(d);
    for (int j = 0; j < 8; j++) assert_true(out[j] == 0);
    free_device_batch(&db);
    free_batch(&b);
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_equal_the_host_s),
        cmocka_unit_test(sizes_of_the_model_work),
        cmocka_unit_test(a_captured_exchange_can_be_replayed),
        cmocka_unit_test(wrong_arguments_harm_nobody),
    };
    return device_rank_run("expert exchange on device memory", tests, sizeof tests / sizeof *tests);
}
