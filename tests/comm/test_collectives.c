/* Collectives of a group against sums and copies that every rank makes for itself. Runs at any number of ranks. */
#include "tests/comm/ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 100000 }; /* small, so that large counts take several rounds */

static const comm_options options = {.transport = "auto", .host_memory = true, .max_bytes = MAX_BYTES};

/* Floats of wildly different sizes: another order of adding gives other bits. */
static float awkward(uint64_t *seed)
{
    float value = (float)((double)(ranks_random(seed) >> 11) / (1ull << 53) - 0.5);
    int exponent = ranks_below(seed, 24) - 12;
    for (; exponent > 0; exponent--) value *= 2;
    for (; exponent < 0; exponent++) value /= 2;
    return value;
}

static uint64_t seed_of(int world_rank, size_t index) { return (uint64_t)world_rank << 32 | index; }

/* Element `index` of the data of a world rank: depends on nothing else. */
static float element(int world_rank, size_t index)
{
    uint64_t seed = seed_of(world_rank, index);
    return awkward(&seed);
}

static void put(void *data, size_t i, dtype type, float value)
{
    if (type == DTYPE_F32)
        ((float *)data)[i] = value;
    else
        ((uint16_t *)data)[i] = dtype_f32_to_bf16(value);
}

static float rounded(float value, dtype type)
{
    return type == DTYPE_F32 ? value : dtype_bf16_to_f32(dtype_f32_to_bf16(value));
}

/* World ranks of a group: those with this color when rank r has color r % n_colors. */
typedef struct members {
    int world_ranks[64], size;
} members;

static members members_of(const world *w, int color, int n_colors)
{
    members m = {.size = 0};
    for (int r = color; r < world_size(w); r += n_colors) m.world_ranks[m.size++] = r;
    return m;
}

static void check_all_reduce(world *w, comm *c, members m, size_t count, dtype type)
{
    status_detail detail;
    unsigned char *data = malloc(count * dtype_size(type) + 1), *wanted = malloc(count * dtype_size(type) + 1);
    for (size_t i = 0; i < count; i++) {
        put(data, i, type, element(world_rank(w), i));
        float sum = rounded(element(m.world_ranks[0], i), type);
        for (int r = 1; r < m.size; r++) sum += rounded(element(m.world_ranks[r], i), type);
        put(wanted, i, type, sum);
    }
    data[count * dtype_size(type)] = 0x5a;
    ranks_assert_ok(comm_all_reduce(c, data, count, type, &detail), &detail);
    assert_memory_equal(data, wanted, count * dtype_size(type));
    assert_int_equal(data[count * dtype_size(type)], 0x5a);
    free(wanted);
    free(data);
}

/* Element i has the same value at every count, so this shows too that its sum does not depend on its neighbours. */
static void all_reduce_adds_in_rank_order(void **state)
{
    static const size_t counts[] = {0, 1, 2, 3, 7, 2880, 4095, 4096, 4097, 8192, 8193, 16384, 16385, 24999, 25000, 25001, 123457};
    world *w = *state;
    status_detail detail;
    for (int n_colors = 1; n_colors <= 3; n_colors++) {
        int color = world_rank(w) % n_colors;
        comm *c;
        ranks_assert_ok(comm_open(w, color, &options, &c, &detail), &detail);
        members m = members_of(w, color, n_colors);
        assert_int_equal(comm_size(c), m.size);
        assert_int_equal(m.world_ranks[comm_rank(c)], world_rank(w));
        assert_string_equal(comm_transport(c), m.size == 1 ? "self" : "mpi");
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            check_all_reduce(w, c, m, counts[i], DTYPE_F32);
            check_all_reduce(w, c, m, counts[i], DTYPE_BF16);
        }
        comm_close(c);
    }
}

static void check_all_gather(world *w, comm *c, members m, size_t count, dtype type, bool in_place)
{
    status_detail detail;
    size_t size = count * dtype_size(type), n = (size_t)m.size;
    unsigned char *out = malloc(size * n + 1), *piece = in_place ? out + size * (size_t)comm_rank(c) : malloc(size + 1);
    memset(out, 0x77, size * n + 1);
    for (size_t i = 0; i < size; i++) {
        uint64_t seed = seed_of(world_rank(w), i);
        piece[i] = (unsigned char)ranks_random(&seed);
    }
    ranks_assert_ok(comm_all_gather(c, piece, count, type, out, &detail), &detail);
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < size; i++) {
            uint64_t seed = seed_of(m.world_ranks[r], i);
            assert_int_equal(out[r * size + i], (unsigned char)ranks_random(&seed));
        }
    assert_int_equal(out[size * n], 0x77);
    if (!in_place) free(piece);
    free(out);
}

static void all_gather_places_pieces_in_rank_order(void **state)
{
    static const size_t counts[] = {0, 1, 33, 5000, 60001}; /* the last one is more than max_bytes */
    static const dtype types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_I32, DTYPE_U8};
    world *w = *state;
    status_detail detail;
    for (int n_colors = 1; n_colors <= 2; n_colors++) {
        int color = world_rank(w) % n_colors;
        comm *c;
        ranks_assert_ok(comm_open(w, color, &options, &c, &detail), &detail);
        members m = members_of(w, color, n_colors);
        for (size_t i = 0; i < 4 * sizeof counts / sizeof *counts; i++) {
            check_all_gather(w, c, m, counts[i / 4], types[i % 4], false);
            check_all_gather(w, c, m, counts[i / 4], types[i % 4], true);
        }
        comm_close(c);
    }
}

static void broadcast_comes_from_any_root(void **state)
{
    world *w = *state;
    status_detail detail;
    comm *c;
    ranks_assert_ok(comm_open(w, 0, &options, &c, &detail), &detail);
    for (int root = 0; root < comm_size(c); root++) {
        int32_t data[1000];
        for (int i = 0; i < 1000; i++) data[i] = comm_rank(c) * 1000 + i;
        ranks_assert_ok(comm_broadcast(c, data, 1000, DTYPE_I32, root, &detail), &detail);
        for (int i = 0; i < 1000; i++) assert_int_equal(data[i], root * 1000 + i);
    }
    comm_close(c);
}

/* Host memory has no kernel that sums and norms: the caller is told, and nothing is touched. */
static void what_is_not_done_in_one_go_is_left_alone(void **state)
{
    enum { HIDDEN = 32 };
    world *w = *state;
    status_detail detail;
    comm *c;
    uint16_t buffers[4][HIDDEN], before[4][HIDDEN];
    uint64_t seed = 3;
    for (int i = 0; i < 4 * HIDDEN; i++) buffers[i / HIDDEN][i % HIDDEN] = (uint16_t)ranks_random(&seed);
    memcpy(before, buffers, sizeof buffers);
    comm_add_norm what = {.delta = buffers[0], .x = buffers[1], .norm = buffers[2], .normed = buffers[3], .rows = 1,
                          .hidden = HIDDEN, .eps = 1e-5f, .type = DTYPE_BF16};
    ranks_assert_ok(comm_open(w, 0, &options, &c, &detail), &detail);
    bool done = true;
    ranks_assert_ok(comm_all_reduce_add_norm(c, &what, &done, &detail), &detail);
    assert_false(done);
    what.rows = 0;
    ranks_assert_ok(comm_all_reduce_add_norm(c, &what, &done, &detail), &detail);
    assert_true(done); /* there is nothing left to do */
    what.rows = -1;
    assert_int_equal(comm_all_reduce_add_norm(c, &what, &done, &detail), STATUS_INTERNAL);
    what.rows = 1;
    what.type = DTYPE_I32;
    assert_int_equal(comm_all_reduce_add_norm(c, &what, &done, &detail), STATUS_INTERNAL);
    what.type = DTYPE_BF16;
    what.norm = buffers[2] + 1; /* weights lie in a file as they come */
    ranks_assert_ok(comm_all_reduce_add_norm(c, &what, &done, &detail), &detail);
    what.x = NULL;
    assert_int_equal(comm_all_reduce_add_norm(c, &what, &done, &detail), STATUS_INTERNAL);
    assert_memory_equal(before, buffers, sizeof buffers);
    comm_close(c);
}

static void wrong_arguments_are_refused(void **state)
{
    world *w = *state;
    status_detail detail;
    comm *c;
    float one = 1;
    ranks_assert_ok(comm_open(w, 0, &options, &c, &detail), &detail);
    assert_int_equal(comm_all_reduce(c, &one, 1, DTYPE_I32, &detail), STATUS_INTERNAL);
    assert_int_equal(comm_all_reduce(c, NULL, 1, DTYPE_F32, &detail), STATUS_INTERNAL);
    assert_int_equal(comm_all_reduce(c, &one, SIZE_MAX / 2, DTYPE_F32, &detail), STATUS_INTERNAL);
    assert_int_equal(comm_all_gather(c, NULL, 1, DTYPE_F32, &one, &detail), STATUS_INTERNAL);
    assert_int_equal(comm_broadcast(c, &one, 1, DTYPE_F32, comm_size(c), &detail), STATUS_INTERNAL);
    assert_int_equal(comm_broadcast(c, &one, 1, DTYPE_F32, -1, &detail), STATUS_INTERNAL);
    assert_true(one == 1);
    comm_close(c);
}

static void expect_refusal(world *w, int color, comm_options wrong, const char *part)
{
    status_detail detail = {""};
    comm *c = NULL;
    assert_int_not_equal(comm_open(w, color, &wrong, &c, &detail), STATUS_OK);
    assert_null(c);
    if (!strstr(detail.text, part)) fail_msg("\"%s\" does not say \"%s\"", detail.text, part);
}

static void an_impossible_transport_says_why(void **state)
{
    world *w = *state;
    bool alone = world_size(w) == 1;
    expect_refusal(w, 0, (comm_options){.transport = "pigeon", .host_memory = true},
                   "unknown transport \"pigeon\"; this build knows auto, self, mpi");
    expect_refusal(w, 0, (comm_options){.transport = "mpi"},
                   "\"mpi\" moves host memory only, and these buffers are device memory");
    if (!alone) {
        expect_refusal(w, 0, (comm_options){.transport = "auto"}, "device memory");
        expect_refusal(w, 0, (comm_options){.transport = "self", .host_memory = true}, "a group of one rank");
    }
    /* One rank's mistake is everybody's error, and nobody hangs. */
    int last = world_size(w) - 1;
    bool mistaken = world_rank(w) == last;
    expect_refusal(w, mistaken ? -1 : 0, options, "color -1");
    expect_refusal(w, 0, (comm_options){.transport = mistaken ? "pigeon" : "auto", .host_memory = true}, "pigeon");
}

/* What a world of one on a device needs: no copies. */
static void self_serves_device_memory(void **state)
{
    world *w = *state;
    status_detail detail;
    comm *c;
    comm_options device = {.transport = "self"};
    ranks_assert_ok(comm_open(w, world_rank(w), &device, &c, &detail), &detail);
    void *nowhere = (void *)(uintptr_t)4096; /* would fault if touched */
    ranks_assert_ok(comm_all_reduce(c, nowhere, 100, DTYPE_BF16, &detail), &detail);
    ranks_assert_ok(comm_broadcast(c, nowhere, 100, DTYPE_BF16, 0, &detail), &detail);
    ranks_assert_ok(comm_all_gather(c, nowhere, 100, DTYPE_BF16, nowhere, &detail), &detail);
    assert_int_equal(comm_all_gather(c, nowhere, 100, DTYPE_BF16, (char *)nowhere + 4096, &detail), STATUS_INTERNAL);
    comm_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_reduce_adds_in_rank_order), cmocka_unit_test(all_gather_places_pieces_in_rank_order),
        cmocka_unit_test(broadcast_comes_from_any_root), cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(an_impossible_transport_says_why), cmocka_unit_test(self_serves_device_memory),
        cmocka_unit_test(what_is_not_done_in_one_go_is_left_alone),
    };
    return cmocka_run_group_tests(tests, ranks_setup, ranks_teardown);
}
