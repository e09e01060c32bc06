/* Collectives on device memory against sums, norms and copies that every rank makes for itself on the host: by size and
 * alignment, many at once by ranks that dawdle, and in a replayed graph. */
#include "tests/comm/device_rank.h"

#include "comm/cuda/peer_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GUARD = 64, PATTERN = 0x5a, SHIFT = 1, ORDERED_BYTES = 64 << 10 };

/* One collective call, the same on all ranks. */
typedef struct job {
    enum { REDUCE, GATHER, BROADCAST, ADD_NORM } what;
    size_t count;
    int hidden;     /* ADD_NORM, of BF16: count / hidden rows */
    dtype type;
    int root;
    bool aside;     /* data starts one element late (ADD_NORM: two), so that only those are aligned; a gather is not in place */
    bool whole;     /* small whole numbers: no sum rounds, in whatever order */
    uint64_t round; /* decides the data */
} job;

/* Where a job's data lives. Host memory is pinned, so that copies may be captured. ADD_NORM: out has x and then normed, in has
 * delta and then the norm. */
typedef struct lane {
    unsigned char *host_in, *host_out, *in, *out;
} lane;

typedef struct group {
    const device_rank *d;
    device_members m;
    int rank;
    comm *c;
} group;

static group open_group(const device_rank *d, int n_colors, const char *transport)
{
    group g = {.d = d, .m = device_rank_members(d, n_colors)};
    g.c = device_rank_open(d, world_rank(d->w) % n_colors, transport);
    g.rank = comm_rank(g.c);
    assert_int_equal(comm_size(g.c), g.m.size);
    assert_int_equal(g.m.world_ranks[g.rank], world_rank(d->w));
    assert_string_equal(comm_transport(g.c), transport);
    return g;
}

static size_t job_bytes(const job *j) { return j->count * dtype_size(j->type); }
static size_t job_shift(const job *j)
{
    return j->aside ? SHIFT * dtype_size(j->type) * (j->what == ADD_NORM ? 2 : 1) : 0;
}
static size_t job_out_bytes(const job *j, int n)
{
    return job_shift(j) + job_bytes(j) * (size_t)(j->what == GATHER ? n : j->what == ADD_NORM ? 2 : 1) + GUARD;
}
/* What goes from `in`: none where the call works in place. */
static size_t job_in_bytes(const job *j)
{
    if (j->what == ADD_NORM) return job_shift(j) + job_bytes(j) + (size_t)j->hidden * dtype_size(j->type);
    return j->what == GATHER && j->aside ? job_shift(j) + job_bytes(j) : 0;
}

static lane take_lane(size_t most_bytes, int n)
{
    size_t in = most_bytes + GUARD, out = most_bytes * (size_t)(n > 2 ? n : 2) + 2 * GUARD;
    return (lane){.host_in = device_rank_pinned(in),
                  .host_out = device_rank_pinned(out),
                  .in = device_rank_device(in),
                  .out = device_rank_device(out)};
}

static void free_lane(lane *l)
{
    device_rank_assert(cudaFree(l->out));
    device_rank_assert(cudaFree(l->in));
    device_rank_assert(cudaFreeHost(l->host_out));
    device_rank_assert(cudaFreeHost(l->host_in));
}

/* ---- data --------------------------------------------------------------------------------------------------------- */

static uint64_t seed_of(const job *j, int world_rank, size_t index)
{
    return (j->round << 40) + ((uint64_t)world_rank << 32) + index;
}

/* Floats of wildly different sizes: another order of adding gives other bits. */
static float element(const job *j, int world_rank, size_t index)
{
    uint64_t seed = seed_of(j, world_rank, index), bits = ranks_random(&seed);
    float value = j->whole ? (float)(int)(bits % 17) - 8 : ldexpf((float)(bits >> 40) / (1 << 24) - 0.5f, (int)(bits % 24) - 12);
    return j->type == DTYPE_F32 ? value : dtype_bf16_to_f32(dtype_f32_to_bf16(value));
}

static unsigned char byte(const job *j, int world_rank, size_t index)
{
    uint64_t seed = seed_of(j, world_rank, index);
    return (unsigned char)ranks_random(&seed);
}

/* Data may lie at odd addresses. */
static void put(void *data, size_t i, dtype type, float value)
{
    uint16_t half = dtype_f32_to_bf16(value);
    if (type == DTYPE_F32)
        memcpy((char *)data + i * sizeof value, &value, sizeof value);
    else
        memcpy((char *)data + i * sizeof half, &half, sizeof half);
}

static float get(const void *data, size_t i, dtype type)
{
    float value;
    uint16_t half;
    if (type == DTYPE_F32) {
        memcpy(&value, (const char *)data + i * sizeof value, sizeof value);
        return value;
    }
    memcpy(&half, (const char *)data + i * sizeof half, sizeof half);
    return dtype_bf16_to_f32(half);
}

/* x is the same on all ranks; the norm lies between 0.5 and 1.5. Their seeds are those of ranks that do not exist. */
enum { X_RANK = 100, NORM_RANK = 101 };

static float norm_at(const job *j, size_t i)
{
    uint64_t seed = seed_of(j, NORM_RANK, i);
    return dtype_bf16_to_f32(dtype_f32_to_bf16(0.5f + (float)(ranks_random(&seed) >> 40) / (1 << 24)));
}

static void fill_rows(const group *g, const job *j, const lane *l)
{
    unsigned char *x = l->host_out + job_shift(j), *delta = l->host_in + job_shift(j), *norm = delta + job_bytes(j);
    for (size_t i = 0; i < j->count; i++) put(x, i, j->type, element(j, X_RANK, i));
    for (size_t i = 0; i < j->count; i++) put(delta, i, j->type, element(j, g->m.world_ranks[g->rank], i));
    for (size_t i = 0; i < (size_t)j->hidden; i++) put(norm, i, j->type, norm_at(j, i));
}

static void fill(const group *g, const job *j, const lane *l)
{
    int me = g->m.world_ranks[g->rank];
    size_t bytes = job_bytes(j), shift = job_shift(j);
    memset(l->host_out, PATTERN, job_out_bytes(j, g->m.size));
    unsigned char *data = l->host_out + shift;
    if (j->what == ADD_NORM) {
        fill_rows(g, j, l);
        return;
    }
    if (j->what == REDUCE) {
        for (size_t i = 0; i < j->count; i++) put(data, i, j->type, element(j, me, i));
        return;
    }
    if (j->what == GATHER) data = j->aside ? l->host_in + shift : data + (size_t)g->rank * bytes;
    for (size_t i = 0; i < bytes; i++) data[i] = byte(j, me, i);
}

/* ---- running and checking ----------------------------------------------------------------------------------------- */

static const float EPS = 1e-5f;

static void issue_add_norm(const group *g, const job *j, const lane *l)
{
    status_detail detail;
    bool done = false;
    size_t bytes = job_bytes(j), shift = job_shift(j);
    comm_add_norm what = {.delta = l->in + shift,
                          .x = l->out + shift,
                          .norm = l->in + shift + bytes,
                          .normed = l->out + shift + bytes,
                          .rows = (int)(j->count / (size_t)j->hidden),
                          .hidden = j->hidden,
                          .eps = EPS,
                          .type = j->type};
    ranks_assert_ok(comm_all_reduce_add_norm(g->c, &what, &done, &detail), &detail);
    assert_true(done);
}

static void issue(const group *g, const job *j, const lane *l)
{
    status_detail detail;
    size_t bytes = job_bytes(j), shift = job_shift(j), out = job_out_bytes(j, g->m.size);
    device_rank_up(g->d, l->out, l->host_out, out);
    device_rank_up(g->d, l->in, l->host_in, job_in_bytes(j));
    unsigned char *data = l->out + shift;
    if (j->what == ADD_NORM) {
        issue_add_norm(g, j, l);
    } else if (j->what == REDUCE) {
        ranks_assert_ok(comm_all_reduce(g->c, data, j->count, j->type, &detail), &detail);
    } else if (j->what == BROADCAST) {
        ranks_assert_ok(comm_broadcast(g->c, data, j->count, j->type, j->root, &detail), &detail);
    } else {
        const unsigned char *piece = j->aside ? l->in + shift : data + (size_t)g->rank * bytes;
        ranks_assert_ok(comm_all_gather(g->c, piece, j->count, j->type, data, &detail), &detail);
    }
    device_rank_down(g->d, l->host_out, l->out, out);
}

/* Whether sums come in rank order: NCCL has its own. */
static bool ordered(const group *g, const job *j)
{
    return strcmp(comm_transport(g->c), "peer") == 0 && (g->d->shared || job_bytes(j) <= ORDERED_BYTES);
}

static void check_sums(const group *g, const job *j, const unsigned char *data)
{
    bool exact = j->whole || ordered(g, j);
    for (size_t i = 0; i < j->count; i++) {
        float sum = element(j, g->m.world_ranks[0], i), sizes = fabsf(sum), got = get(data, i, j->type);
        for (int r = 1; r < g->m.size; r++) {
            float part = element(j, g->m.world_ranks[r], i);
            sum += part;
            sizes += fabsf(part);
        }
        unsigned char wanted[4];
        put(wanted, 0, j->type, sum);
        bool equal = memcmp(wanted, data + i * dtype_size(j->type), dtype_size(j->type)) == 0;
        /* Each of the additions may round to the type. */
        float slack = exact ? 0 : sizes * (float)g->m.size * (j->type == DTYPE_F32 ? 0x1p-23f : 0x1p-8f);
        if (!equal && !(fabsf(got - sum) <= slack))
            fail_msg("element %zu of %zu is %.9g, not %.9g", i, j->count, (double)got, (double)sum);
    }
}

/* x to the bit; normed rounded once from what F32 makes of it, a few units in its last place beside the exact value. */
static void check_rows(const group *g, const job *j, const unsigned char *x)
{
    size_t hidden = (size_t)j->hidden;
    const unsigned char *normed = x + job_bytes(j);
    for (size_t row = 0; row < j->count; row += hidden) {
        double squares = 0;
        for (size_t i = row; i < row + hidden; i++) {
            float sum = element(j, g->m.world_ranks[0], i), got = get(x, i, j->type);
            for (int r = 1; r < g->m.size; r++) sum += element(j, g->m.world_ranks[r], i);
            float wanted = element(j, X_RANK, i) + dtype_bf16_to_f32(dtype_f32_to_bf16(sum));
            wanted = dtype_bf16_to_f32(dtype_f32_to_bf16(wanted));
            if (memcmp(&wanted, &got, sizeof got) != 0)
                fail_msg("x %zu of %zu is %.9g, not %.9g", i, j->count, (double)got, (double)wanted);
            squares += (double)got * (double)got;
        }
        double inverse = 1 / sqrt(squares / (double)hidden + (double)EPS);
        for (size_t i = row; i < row + hidden; i++) {
            double wanted = (double)get(x, i, j->type) * inverse * (double)norm_at(j, i - row);
            double got = (double)get(normed, i, j->type);
            if (!(fabs(got - wanted) <= fabs(wanted) * (0x1p-8 + 0x1p-18)))
                fail_msg("normed %zu of %zu is %.9g, not %.9g", i, j->count, got, wanted);
        }
    }
}

static void check_bytes(const group *g, const job *j, const unsigned char *data)
{
    size_t bytes = job_bytes(j);
    for (int r = 0; r < (j->what == GATHER ? g->m.size : 1); r++) {
        int from = g->m.world_ranks[j->what == GATHER ? r : j->root];
        for (size_t i = 0; i < bytes; i++)
            if (data[(size_t)r * bytes + i] != byte(j, from, i)) fail_msg("byte %zu of %zu of rank %d is wrong", i, bytes, from);
    }
}

static void check(const group *g, const job *j, const lane *l)
{
    size_t shift = job_shift(j), end = job_out_bytes(j, g->m.size);
    if (j->what == ADD_NORM)
        check_rows(g, j, l->host_out + shift);
    else if (j->what == REDUCE)
        check_sums(g, j, l->host_out + shift);
    else
        check_bytes(g, j, l->host_out + shift);
    for (size_t i = 0; i < shift; i++) assert_int_equal(l->host_out[i], PATTERN);
    for (size_t i = end - GUARD; i < end; i++) assert_int_equal(l->host_out[i], PATTERN);
}

/* Every rank of the group has the same bits, whatever they are. */
static void check_same_bits(const group *g, const job *j, const lane *l)
{
    uint64_t hash = 0, all[64];
    for (size_t i = 0; i < job_bytes(j); i++) { /* FNV-1a */
        hash ^= l->host_out[job_shift(j) + i];
        hash *= 0x100000001b3u;
    }
    status_detail detail;
    ranks_assert_ok(world_gather(g->d->w, &hash, sizeof hash, all, &detail), &detail);
    if (world_rank(g->d->w) == 0)
        for (int r = 1; r < world_size(g->d->w); r++) assert_int_equal(all[r], all[0]);
}

static void run(const group *g, const job *j, const lane *l)
{
    fill(g, j, l);
    issue(g, j, l);
    device_rank_wait(g->d);
    check(g, j, l);
}

/* ---- tests -------------------------------------------------------------------------------------------------------- */

/* The largest takes several pieces, or NCCL. */
static const size_t counts[] = {0, 1, 2, 3, 5, 7, 255, 2880, 4097, 24999, 65537, 300001, 1500003};
enum { N_COUNTS = sizeof counts / sizeof *counts, MOST_BYTES = 1500003 * 4 };

static void sizes_of_reduce(const group *g, const lane *l, bool whole_world)
{
    for (uint64_t i = 0; i < 8 * N_COUNTS; i++) {
        job j = {.what = REDUCE,
                 .count = counts[i / 8],
                 .type = i & 1 ? DTYPE_BF16 : DTYPE_F32,
                 .aside = i & 2,
                 .whole = i & 4,
                 .round = i};
        run(g, &j, l);
        if (whole_world) check_same_bits(g, &j, l);
    }
}

static void sizes_of_moves(const group *g, const lane *l)
{
    static const dtype types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_I32, DTYPE_U8};
    for (uint64_t i = 0; i < 4 * N_COUNTS; i++) {
        job j = {.what = i & 1 ? GATHER : BROADCAST,
                 .count = counts[i / 4],
                 .type = types[(i + i / 4) % 4],
                 .root = (int)(i / 4) % g->m.size,
                 .aside = i & 2,
                 .round = 1000 + i};
        run(g, &j, l);
    }
}

static void every_size_and_alignment_works(void **state)
{
    const device_rank *d = *state;
    lane l = take_lane(MOST_BYTES + GUARD, world_size(d->w));
    for (const char *const *t = device_rank_transports(d); *t; t++)
        for (int n_colors = 1; n_colors <= 2; n_colors++) {
            group g = open_group(d, n_colors, *t);
            sizes_of_reduce(&g, &l, n_colors == 1);
            sizes_of_moves(&g, &l);
            comm_close(g.c);
        }
    free_lane(&l);
}

/* Up to as many rows as can be normed at once, of any even width, in buffers for `most` F32. */
static job random_rows(uint64_t *seed, uint64_t round, size_t most)
{
    int hidden = 2 * (1 + ranks_below(seed, ranks_below(seed, 2) ? 32 : 2048)), rows = (int)(2 * most / (size_t)hidden) - 1;
    rows = 1 + ranks_below(seed, rows < PEER_BLOCKS ? rows : PEER_BLOCKS);
    return (job){.what = ADD_NORM,
                 .count = (size_t)rows * (size_t)hidden,
                 .hidden = hidden,
                 .type = DTYPE_BF16,
                 .aside = ranks_below(seed, 2),
                 .round = round};
}

/* The same on all ranks of a group. */
static job random_job(const group *g, uint64_t *seed, uint64_t round, size_t most)
{
    bool peer = strcmp(comm_transport(g->c), "peer") == 0;
    if (peer && ranks_below(seed, 3) == 0) return random_rows(seed, round, most);
    job j = {.what = ranks_below(seed, 2) ? REDUCE : ranks_below(seed, 2) ? GATHER : BROADCAST,
             .count = (size_t)ranks_below(seed, ranks_below(seed, 2) ? 40 : (int)most + 1),
             .type = ranks_below(seed, 2) ? DTYPE_BF16 : DTYPE_F32,
             .root = ranks_below(seed, g->m.size),
             .aside = ranks_below(seed, 2),
             .whole = !peer,
             .round = round};
    return j;
}

static void sleep_us(void *us) { usleep((useconds_t)(uintptr_t)us); }

/* Now and then the host or the stream waits; each rank has a seed of its own. */
static void dawdle(const group *g, uint64_t *seed)
{
    int what = ranks_below(seed, 8), us = ranks_below(seed, 500);
    if (what == 0) usleep((useconds_t)us);
    if (what == 1) device_rank_assert(cudaLaunchHostFunc(g->d->stream, sleep_us, (void *)(uintptr_t)us));
}

/* Two thousand calls, fifty of them on the stream at a time, so that ranks run ahead of each other. */
static void calls_in_a_row_do_not_mix(void **state)
{
    enum { BATCHES = 40, AT_ONCE = 50, MOST = 12000 };
    const device_rank *d = *state;
    lane lanes[AT_ONCE];
    job jobs[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) lanes[i] = take_lane(MOST * 4, world_size(d->w));
    for (const char *const *t = device_rank_transports(d); *t; t++) {
        group g = open_group(d, 1, *t);
        uint64_t seed = 7, own_seed = 70 + (uint64_t)g.rank;
        for (uint64_t batch = 0; batch < BATCHES; batch++) {
            for (uint64_t i = 0; i < AT_ONCE; i++) {
                jobs[i] = random_job(&g, &seed, 5000 + batch * AT_ONCE + i, MOST);
                fill(&g, &jobs[i], &lanes[i]);
            }
            for (int i = 0; i < AT_ONCE; i++) {
                dawdle(&g, &own_seed);
                issue(&g, &jobs[i], &lanes[i]);
            }
            device_rank_wait(d);
            for (int i = 0; i < AT_ONCE; i++) check(&g, &jobs[i], &lanes[i]);
        }
        comm_close(g.c);
    }
    for (int i = 0; i < AT_ONCE; i++) free_lane(&lanes[i]);
}

/* New data in the same buffers before each replay, and a call outside the graph between replays. */
static void a_captured_graph_can_be_replayed(void **state)
{
    enum { REPLAYS = 200, JOBS = 8, MOST = 50000, HIDDEN = 2880 };
    static const size_t lengths[JOBS] = {2880, 1, MOST, 777, 11520, 30001, HIDDEN, 12 * HIDDEN};
    const device_rank *d = *state;
    lane lanes[JOBS], between = take_lane(4096 * 4, world_size(d->w));
    for (int i = 0; i < JOBS; i++) lanes[i] = take_lane(MOST * 4, world_size(d->w));
    for (const char *const *t = device_rank_transports(d); *t; t++) {
        group g = open_group(d, 1, *t);
        job jobs[JOBS], single = {.what = REDUCE, .count = 4096, .type = DTYPE_F32, .whole = true};
        for (int i = 0; i < JOBS; i++)
            jobs[i] = (job){.what = i == 3 ? GATHER : i == 4 ? BROADCAST : REDUCE,
                            .count = lengths[i],
                            .type = i % 2 ? DTYPE_F32 : DTYPE_BF16,
                            .root = g.m.size - 1,
                            .whole = strcmp(*t, "nccl") == 0};
        for (int i = 6; i < JOBS && strcmp(*t, "peer") == 0; i++)
            jobs[i] = (job){.what = ADD_NORM, .count = lengths[i], .hidden = HIDDEN, .type = DTYPE_BF16};
        device_rank_capture_begin(d);
        for (int i = 0; i < JOBS; i++) issue(&g, &jobs[i], &lanes[i]);
        cudaGraphExec_t graph = device_rank_capture_end(d);
        for (uint64_t replay = 0; replay < REPLAYS; replay++) {
            for (int i = 0; i < JOBS; i++) {
                jobs[i].round = 9000 + replay;
                fill(&g, &jobs[i], &lanes[i]);
            }
            device_rank_assert(cudaGraphLaunch(graph, d->stream));
            device_rank_wait(d);
            for (int i = 0; i < JOBS; i++) check(&g, &jobs[i], &lanes[i]);
            single.round = replay;
            if (replay % 3 == 0) run(&g, &single, &between);
        }
        device_rank_assert(cudaGraphExecDestroy(graph));
        comm_close(g.c);
    }
    for (int i = 0; i < JOBS; i++) free_lane(&lanes[i]);
    free_lane(&between);
}

/* "auto" takes the fastest that serves, and what cannot serve says why. */
static void the_choice_fits_the_machine(void **state)
{
    const device_rank *d = *state;
    status_detail detail = {""};
    if (world_size(d->w) == 1) skip();
    comm *c = device_rank_open(d, 0, "auto");
    assert_string_equal(comm_transport(c), "peer");
    comm_close(c);
    comm_options options = {.transport = "nccl", .stream = d->stream};
    if (!d->shared) return;
    assert_int_equal(comm_open(d->w, 0, &options, &c, &detail), STATUS_USAGE);
    bool says = strstr(detail.text, "share GPU") || strstr(detail.text, "this build was made without");
    if (!says) fail_msg("\"%s\" does not say that ranks share a GPU", detail.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_choice_fits_the_machine),
        cmocka_unit_test(every_size_and_alignment_works),
        cmocka_unit_test(calls_in_a_row_do_not_mix),
        cmocka_unit_test(a_captured_graph_can_be_replayed),
    };
    return device_rank_run("collectives on device memory", tests, sizeof tests / sizeof *tests);
}
