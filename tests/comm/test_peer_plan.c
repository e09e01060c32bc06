/* How messages are cut among GPUs that write into each other's memory: without a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "comm/cuda/peer_plan.h"

static const size_t sizes[] = {1,     2,      7,       8,       9,       2047,    2048,    2049,    5760,           65535,
                               65536, 131072, 131073,  262144,  262145,  1048575, 1048576, 1048577, 2097152,        2097153,
                               5760 * 8192,   4194304, 4194305, 8388611, 100000007};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

static char *nothing(const char *name)
{
    (void)name;
    return NULL;
}

/* Slots of a block that a piece needs from each rank that writes to it. */
static int slots_needed(const peer_piece *p, int n) { return p->way == PEER_TWICE ? (p->per_block + n - 1) / n : p->per_block; }

static void check_piece(const peer_piece *p, int n, size_t left)
{
    size_t packets = (p->bytes + PEER_PACKET - 1) / PEER_PACKET;
    assert_true(p->bytes > 0 && p->bytes <= left);
    assert_true(p->bytes == left || p->bytes % PEER_PACKET == 0);
    assert_in_range(p->blocks, 1, PEER_BLOCKS);
    assert_true((size_t)p->blocks * (size_t)p->per_block >= packets);
    assert_true((size_t)(p->blocks - 1) * (size_t)p->per_block < packets); /* the last block has some */
    assert_true(slots_needed(p, n) <= peer_plan_slots(n, p->way));
    assert_true(peer_plan_slots(n, p->way) * n * (p->way == PEER_TWICE ? 2 : 1) <= PEER_SLOTS);
}

static void pieces_fit_and_cover_the_message(void **state)
{
    (void)state;
    for (int n = 1; n <= PEER_MAX_RANKS; n++)
        for (int i = 0; i < N_SIZES; i++)
            for (int move = 0; move < 2; move++) {
                peer_limits limits = peer_plan_limits(n, nothing);
                for (size_t done = 0; done < sizes[i];) {
                    size_t left = sizes[i] - done;
                    peer_piece p = move ? peer_plan_move(&limits, n, left, false) : peer_plan_reduce(&limits, n, left, false);
                    assert_true(move ? p.way == PEER_MOVE : p.way == PEER_ONCE || p.way == PEER_TWICE);
                    check_piece(&p, n, left);
                    done += p.bytes;
                }
            }
}

/* Once NCCL may be asked, it is asked for the whole message or for nothing of it. */
static void nccl_takes_whole_messages(void **state)
{
    (void)state;
    for (int n = 1; n <= PEER_MAX_RANKS; n++)
        for (int i = 0; i < N_SIZES; i++)
            for (int move = 0; move < 2; move++) {
                peer_limits limits = peer_plan_limits(n, nothing);
                size_t most = move ? limits.move / (size_t)(n > 1 ? n - 1 : 1) : limits.twice;
                for (size_t done = 0; done < sizes[i];) {
                    size_t left = sizes[i] - done;
                    peer_piece p = move ? peer_plan_move(&limits, n, left, true) : peer_plan_reduce(&limits, n, left, true);
                    assert_int_equal(p.way == PEER_NCCL, sizes[i] > most);
                    if (p.way == PEER_NCCL) break;
                    check_piece(&p, n, left);
                    done += p.bytes;
                }
            }
}

static void size_decides_the_way(void **state)
{
    (void)state;
    for (int n = 1; n <= PEER_MAX_RANKS; n++) {
        peer_limits limits = peer_plan_limits(n, nothing);
        assert_true(limits.once <= limits.twice);
        assert_int_equal(peer_plan_reduce(&limits, n, 5760, true).way, PEER_ONCE); /* one token of the model */
        assert_int_equal(peer_plan_reduce(&limits, n, limits.once, true).way, PEER_ONCE);
        assert_int_equal(peer_plan_reduce(&limits, n, limits.once + 1, false).way, PEER_TWICE);
        assert_int_equal(peer_plan_reduce(&limits, n, limits.twice + 1, true).way, PEER_NCCL);
    }
}

/* One past the last slot that the threads of a block use for a row, and whether each pair has its place once. */
static int last_norm_slot(int hidden)
{
    static char taken[PEER_NORM_HIDDEN];
    int end = 0, pairs = hidden / 2, placed = 0;
    memset(taken, 0, sizeof taken);
    for (int t = 0; t < PEER_THREADS; t++)
        for (int k = 0; t + 2 * k * PEER_THREADS < pairs; k++)
            for (int half = 0; half < 2; half++) {
                int pair = t + (2 * k + half) * PEER_THREADS;
                if (pair >= pairs) continue;
                assert_int_equal(taken[pair]++, 0);
                placed++;
                if (t + k * PEER_THREADS + 1 > end) end = t + k * PEER_THREADS + 1;
            }
    assert_int_equal(placed, pairs);
    return end;
}

static void rows_to_norm_fit_a_block(void **state)
{
    (void)state;
    for (int hidden = 2; hidden <= PEER_NORM_HIDDEN; hidden += 2)
        assert_int_equal(peer_plan_norm_slots(hidden), last_norm_slot(hidden));
    for (int n = 1; n <= PEER_MAX_RANKS; n++) {
        peer_limits limits = peer_plan_limits(n, nothing);
        for (int hidden = 2; hidden <= PEER_NORM_HIDDEN; hidden += 2)
            for (int rows = 1; rows <= PEER_BLOCKS; rows++) {
                bool fits = peer_plan_norm_slots(hidden) * n <= PEER_SLOTS && (size_t)(rows * hidden * 2) <= limits.once;
                assert_int_equal(peer_plan_norms(&limits, n, rows, hidden), fits);
            }
    }
}

static void decode_steps_of_the_model_are_normed_at_once(void **state)
{
    (void)state;
    enum { HIDDEN = 2880 };
    static const struct {
        int n_ranks, rows; /* at most */
    } cases[] = {{2, 64}, {4, 45}, {8, 22}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer_limits limits = peer_plan_limits(cases[i].n_ranks, nothing);
        for (int rows = 1; rows <= 2 * PEER_BLOCKS; rows++)
            assert_int_equal(peer_plan_norms(&limits, cases[i].n_ranks, rows, HIDDEN), rows <= cases[i].rows);
    }
    peer_limits limits = peer_plan_limits(2, nothing);
    assert_false(peer_plan_norms(&limits, 2, 0, HIDDEN));
    assert_false(peer_plan_norms(&limits, 2, 1, HIDDEN + 1)); /* pairs */
    assert_false(peer_plan_norms(&limits, 2, 1, 0));
    assert_true(peer_plan_norms(&limits, 2, 1, PEER_NORM_HIDDEN));
    assert_false(peer_plan_norms(&limits, 2, 1, PEER_NORM_HIDDEN + 2));
}

static char *measuring(const char *name)
{
    static char once[] = "4096", twice[] = "100", move[] = "many";
    return strcmp(name, "GPTOSS_PEER_ONCE") == 0 ? once : strcmp(name, "GPTOSS_PEER_TWICE") == 0 ? twice : move;
}

static void the_environment_may_set_limits(void **state)
{
    (void)state;
    peer_limits usual = peer_plan_limits(4, nothing), limits = peer_plan_limits(4, measuring);
    assert_int_equal(limits.once, 4096);
    assert_int_equal(limits.twice, 4096); /* never under once */
    assert_int_equal(limits.move, usual.move);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_fit_and_cover_the_message),
        cmocka_unit_test(nccl_takes_whole_messages),
        cmocka_unit_test(size_decides_the_way),
        cmocka_unit_test(rows_to_norm_fit_a_block),
        cmocka_unit_test(decode_steps_of_the_model_are_normed_at_once),
        cmocka_unit_test(the_environment_may_set_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
