/* All-reduce, residual and norm in one kernel against the calls that it stands for: comm_all_reduce() and the CUDA backend's
 * add_norm, on the same device. Equal to the bit, or left alone. */
#include "tests/comm/device_rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/cuda/peer_plan.h"
#include "kernels/ops.h"

enum { MOST_ROWS = PEER_BLOCKS + 1, MOST_HIDDEN = PEER_NORM_HIDDEN, GUARD = 64, PATTERN = 0x5a, N_BUFFERS = 3, POSITIONS = 640 };
enum { MOST_BYTES = N_BUFFERS * (MOST_ROWS * MOST_HIDDEN * 2 + GUARD) };
static const float EPS = 1e-5f;

/* delta, x and normed of some rows, each followed by a guard; `host` is pinned. */
typedef struct rows {
    unsigned char *host, *device;
} rows;

/* The backend, configured for one width of rows; the transport works on its stream. */
typedef struct backend {
    const ops *ops;
    ops_context *c;
    device_rank d; /* with that stream */
    ops_weight norm;
    uint16_t *norm_values; /* [hidden] host: the backend may read them until placed */
    float *rope; /* [POSITIONS, head_dim / 2] zeros */
    int hidden;
} backend;

/* ---- the backend -------------------------------------------------------------------------------------------------- */

static ops_shape shape_of(int hidden, const float *rope)
{
    return (ops_shape){.hidden = hidden, .head_dim = 64, .q_heads = 4, .kv_heads = 2, .n_experts = 5, .top_k = 2,
                       .expert_count = 5, .intermediate = 64, .vocab = 160, .logit_shards = 1, .logit_shard_cols = 160,
                       .logit_count = 160, .sliding_window = 8, .rms_eps = EPS, .swiglu_alpha = 1.702f, .swiglu_limit = 7,
                       .rope_cos = rope, .rope_sin = rope, .max_positions = POSITIONS, .block_tokens = 64,
                       .max_tokens = MOST_ROWS, .max_expert_rows = MOST_ROWS, .max_sequences = 6, .max_logit_rows = 32,
                       .max_blocks_per_sequence = POSITIONS / 64};
}

static void place_norm(backend *b)
{
    status_detail detail;
    uint64_t seed = 11;
    size_t size = (size_t)b->hidden * sizeof *b->norm_values;
    b->norm_values = malloc(size);
    assert_non_null(b->norm_values);
    for (int i = 0; i < b->hidden; i++)
        b->norm_values[i] = dtype_f32_to_bf16(0.5f + (float)(ranks_random(&seed) >> 40) / (1 << 24));
    ops_weight host = {.format = OPS_BF16, .data = b->norm_values, .batches = 1, .rows = 1, .cols = b->hidden,
                       .row_stride = (int64_t)size, .batch_stride = (int64_t)size};
    ranks_assert_ok(b->ops->place(b->c, &host, 1, 0, &b->norm, &detail), &detail);
    ranks_assert_ok(b->ops->place_end(b->c, &detail), &detail);
}

static backend open_backend(const device_rank *d, int hidden)
{
    status_detail detail;
    ops_options options = {.backend = "cuda", .device = d->shared ? 0 : world_local_rank(d->w), .threads = 1};
    backend b = {.ops = ops_find("cuda"), .d = *d, .hidden = hidden, .rope = calloc(POSITIONS * 32, sizeof(float))};
    assert_true(b.ops && b.rope);
    ranks_assert_ok(b.ops->open(&options, &b.c, &detail), &detail);
    ops_shape shape = shape_of(hidden, b.rope);
    ranks_assert_ok(b.ops->configure(b.c, &shape, &detail), &detail);
    b.d.stream = b.ops->stream(b.c);
    place_norm(&b);
    return b;
}

static void close_backend(backend *b)
{
    b->ops->close(b->c);
    free(b->norm_values);
    free(b->rope);
}

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static size_t pitch(const backend *b, int n) { return (size_t)n * (size_t)b->hidden * 2 + GUARD; }

static void fill(const backend *b, int n, int buffer, uint64_t seed, const rows *r)
{
    uint16_t *to = (uint16_t *)(r->host + (size_t)buffer * pitch(b, n)); /* pitches are even */
    for (size_t i = 0; i < (size_t)n * (size_t)b->hidden; i++) {
        uint64_t bits = ranks_random(&seed);
        to[i] = dtype_f32_to_bf16(ldexpf((float)(bits >> 40) / (1 << 24) - 0.5f, (int)(bits % 24) - 12));
    }
}

/* The same in both; deltas differ from rank to rank, x does not. */
static void fill_both(const backend *b, int n, uint64_t round, const rows *one, const rows *two)
{
    memset(one->host, PATTERN, N_BUFFERS * pitch(b, n));
    fill(b, n, 0, round << 32 | ((uint64_t)world_rank(b->d.w) + 1) << 24, one);
    fill(b, n, 1, round << 32, one);
    memcpy(two->host, one->host, N_BUFFERS * pitch(b, n));
    device_rank_up(&b->d, one->device, one->host, N_BUFFERS * pitch(b, n));
    device_rank_up(&b->d, two->device, two->host, N_BUFFERS * pitch(b, n));
}

static bool at_once(const backend *b, comm *c, int n, const rows *r)
{
    status_detail detail;
    size_t step = pitch(b, n);
    bool done = false;
    comm_add_norm what = {.delta = r->device, .x = r->device + step, .norm = b->norm.data, .normed = r->device + 2 * step,
                          .rows = n, .hidden = b->hidden, .eps = EPS, .type = DTYPE_BF16};
    ranks_assert_ok(comm_all_reduce_add_norm(c, &what, &done, &detail), &detail);
    return done;
}

static void one_by_one(const backend *b, comm *c, int n, const rows *r)
{
    status_detail detail;
    size_t step = pitch(b, n);
    ranks_assert_ok(comm_all_reduce(c, r->device, (size_t)n * (size_t)b->hidden, DTYPE_BF16, &detail), &detail);
    b->ops->add_norm(b->c, n, r->device + step, r->device, &b->norm, r->device + 2 * step);
}

static void compare(const backend *b, int n, const rows *one, const rows *two)
{
    static const char *const names[N_BUFFERS] = {"delta", "x", "normed"};
    for (int buffer = 1; buffer < N_BUFFERS; buffer++) { /* delta is undefined afterwards */
        const unsigned char *at = one->host + (size_t)buffer * pitch(b, n), *wanted = two->host + (size_t)buffer * pitch(b, n);
        for (size_t i = 0; i < pitch(b, n); i++)
            if (at[i] != wanted[i]) fail_msg("%d rows of %d: byte %zu of %s differs", n, b->hidden, i, names[buffer]);
    }
}

/* ---- tests -------------------------------------------------------------------------------------------------------- */

static void check_rows(const backend *b, comm *c, bool expected, int n, const rows *one, const rows *two)
{
    size_t bytes = N_BUFFERS * pitch(b, n);
    fill_both(b, n, (uint64_t)n, one, two);
    bool done = at_once(b, c, n, one);
    if (done != expected) fail_msg("%d rows of %d: %sdone at once", n, b->hidden, done ? "" : "not ");
    if (done) one_by_one(b, c, n, two);
    device_rank_down(&b->d, one->host, one->device, bytes);
    device_rank_down(&b->d, two->host, two->device, bytes);
    device_rank_wait(&b->d);
    compare(b, n, one, two); /* if it was not done, two is as it came */
}

static const int hidden_sizes[] = {32, 96, 2880, 4096}, row_counts[] = {1, 2, 7, 33, PEER_BLOCKS, PEER_BLOCKS + 1};
#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static rows take_rows(void)
{
    return (rows){.host = device_rank_pinned(MOST_BYTES), .device = device_rank_device(MOST_BYTES)};
}

static void free_rows(rows *r)
{
    device_rank_assert(cudaFree(r->device));
    device_rank_assert(cudaFreeHost(r->host));
}

static void every_size_has_the_same_bits(void **state)
{
    const device_rank *d = *state;
    peer_limits limits = peer_plan_limits(world_size(d->w), getenv);
    rows one = take_rows(), two = take_rows();
    int n_done = 0;
    for (int h = 0; h < COUNT(hidden_sizes); h++) {
        backend b = open_backend(d, hidden_sizes[h]);
        for (const char *const *t = device_rank_transports(d); *t; t++) {
            comm *c = device_rank_open(&b.d, 0, *t);
            for (int i = 0; i < COUNT(row_counts); i++) {
                bool peer = strcmp(*t, "peer") == 0;
                bool expected = peer && peer_plan_norms(&limits, world_size(d->w), row_counts[i], hidden_sizes[h]);
                check_rows(&b, c, expected, row_counts[i], &one, &two);
                n_done += expected;
            }
            comm_close(c);
        }
        close_backend(&b);
    }
    assert_true(n_done > 0);
    free_rows(&two);
    free_rows(&one);
}

/* As a step does it: a kernel of the backend that starts early reads what was normed, and writes what the next sum takes. */
static void a_chain_of_layers_has_the_same_bits(void **state)
{
    enum { LAYERS = 4, ROWS = 5, HIDDEN = 2880, REPLAYS = 200 };
    const device_rank *d = *state;
    backend b = open_backend(d, HIDDEN);
    comm *c = device_rank_open(&b.d, 0, "peer");
    rows one = take_rows(), two = take_rows();
    size_t bytes = N_BUFFERS * pitch(&b, ROWS);
    cudaGraphExec_t graphs[2];
    for (int i = 0; i < 2; i++) {
        const rows *r = i ? &two : &one;
        unsigned char *normed = r->device + 2 * pitch(&b, ROWS);
        device_rank_capture_begin(&b.d);
        device_rank_up(&b.d, r->device, r->host, bytes);
        for (int layer = 0; layer < LAYERS; layer++) {
            if (i) one_by_one(&b, c, ROWS, r);
            else assert_true(at_once(&b, c, ROWS, r));
            b.ops->add_norm(b.c, ROWS, normed, NULL, &b.norm, r->device);
        }
        device_rank_down(&b.d, r->host, r->device, bytes);
        graphs[i] = device_rank_capture_end(&b.d);
    }
    for (uint64_t replay = 0; replay < REPLAYS; replay++) {
        fill_both(&b, ROWS, 1000 + replay, &one, &two);
        device_rank_wait(&b.d);
        for (int i = 0; i < 2; i++) device_rank_assert(cudaGraphLaunch(graphs[i], b.d.stream));
        device_rank_wait(&b.d);
        compare(&b, ROWS, &one, &two);
    }
    for (int i = 0; i < 2; i++) device_rank_assert(cudaGraphExecDestroy(graphs[i]));
    free_rows(&two);
    free_rows(&one);
    comm_close(c);
    close_backend(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_has_the_same_bits),
        cmocka_unit_test(a_chain_of_layers_has_the_same_bits),
    };
    return device_rank_run("all-reduce, residual and norm at once", tests, sizeof tests / sizeof *tests);
}
