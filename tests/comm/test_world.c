/* The job as its ranks see it: host messages, agreement, parking, signal notices. Runs at any number of ranks. */
#include "tests/comm/ranks.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void ranks_and_hosts_are_consistent(void **state)
{
    world *w = *state;
    assert_in_range(world_rank(w), 0, world_size(w) - 1);
    assert_int_equal(world_local_size(w), world_size(w)); /* the tests run on one host */
    assert_int_equal(world_local_rank(w), world_rank(w));
}

static void broadcast_carries_every_size(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 4096, 1000003};
    world *w = *state;
    status_detail detail;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        unsigned char *data = malloc(sizes[s] + 1);
        uint64_t seed = s;
        for (size_t i = 0; i <= sizes[s]; i++) data[i] = world_rank(w) == 0 ? (unsigned char)ranks_random(&seed) : 0xee;
        unsigned char guard = data[sizes[s]];
        ranks_assert_ok(world_broadcast(w, data, sizes[s], &detail), &detail);
        seed = s;
        for (size_t i = 0; i < sizes[s]; i++) assert_int_equal(data[i], (unsigned char)ranks_random(&seed));
        assert_int_equal(data[sizes[s]], guard);
        free(data);
    }
}

static void gather_keeps_rank_order(void **state)
{
    world *w = *state;
    status_detail detail;
    int64_t mine[2] = {world_rank(w) * 1000, -world_rank(w)}, all[128];
    bool zero = world_rank(w) == 0;
    ranks_assert_ok(world_gather(w, mine, sizeof mine, zero ? all : NULL, &detail), &detail);
    for (int r = 0; zero && r < world_size(w); r++) {
        assert_int_equal(all[2 * r], r * 1000);
        assert_int_equal(all[2 * r + 1], -r);
    }
}

static void minimum_reaches_every_rank(void **state)
{
    world *w = *state;
    status_detail detail;
    for (int least = 0; least < world_size(w); least++) {
        int64_t value = world_rank(w) == least ? INT64_MIN + least : INT64_MAX - world_rank(w);
        ranks_assert_ok(world_min_i64(w, &value, &detail), &detail);
        assert_true(value == INT64_MIN + least);
    }
}

static void agreement_is_ok_when_all_are(void **state)
{
    status_detail detail = {"untouched"};
    bool speaks = true;
    assert_int_equal(world_agree(*state, STATUS_OK, &detail, &speaks), STATUS_OK);
    assert_false(speaks);
    assert_string_equal(detail.text, "untouched");
}

/* Every set of failing ranks, as bits. */
static void agreement_takes_the_lowest_failure(void **state)
{
    static const status codes[] = {STATUS_MODEL, STATUS_MACHINE, STATUS_USAGE, STATUS_INTERNAL};
    world *w = *state;
    int rank = world_rank(w);
    for (int failing = 1; failing < 1 << world_size(w); failing++) {
        status_detail detail = {""};
        bool speaks = false;
        status mine = STATUS_OK;
        if (failing >> rank & 1) mine = status_fail(&detail, codes[rank % 4], "told by %d", rank);
        int lowest = 0;
        while (!(failing >> lowest & 1)) lowest++;
        assert_int_equal(world_agree(w, mine, &detail, &speaks), codes[lowest % 4]);
        char wanted[64];
        if (lowest)
            snprintf(wanted, sizeof wanted, "rank %d: told by %d", lowest, lowest);
        else
            snprintf(wanted, sizeof wanted, "told by 0");
        assert_string_equal(detail.text, wanted);
        assert_int_equal(speaks, rank == 0);
        assert_int_equal(world_agree(w, mine, NULL, NULL), codes[lowest % 4]);
    }
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void wakes_before_parks_are_kept_and_counted(void **state)
{
    enum { WAKES = 50 };
    world *w = *state;
    world_barrier(w);
    if (world_rank(w) == 0) {
        for (int i = 0; i < WAKES; i++) world_wake(w);
    } else {
        ranks_sleep(0.1);
        for (int i = 0; i < WAKES; i++) world_park(w);
    }
    world_barrier(w);
}

/* Follows the test above: a wake too many there would end the first park here early. */
static void parked_ranks_use_no_processor(void **state)
{
    world *w = *state;
    world_barrier(w);
    double cpu = cpu_seconds(), start = ranks_now();
    if (world_rank(w) == 0) {
        ranks_sleep(2);
        world_wake(w);
    } else {
        world_park(w);
    }
    double used = cpu_seconds() - cpu, took = ranks_now() - start;
    assert_true(took > 1.9);
    print_message("rank %d: %.2f ms of processor time in %.1f s idle\n", world_rank(w), used * 1e3, took);
    assert_true(used < 0.005);
    world_barrier(w);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest of the ranks' values, on rank 0; the others get 0. */
static double slowest(world *w, double mine)
{
    status_detail detail;
    double all[64], most = 0;
    ranks_assert_ok(world_gather(w, &mine, sizeof mine, all, &detail), &detail);
    for (int r = 0; world_rank(w) == 0 && r < world_size(w); r++)
        if (all[r] > most) most = all[r];
    return most;
}

/* How late this rank runs after a plain sleep: what the machine's other work does to any wake-up. */
static double lateness(void)
{
    enum { MICROSECONDS = 2000 };
    double start = ranks_now();
    usleep(MICROSECONDS);
    return ranks_now() - start - 1e-6 * MICROSECONDS;
}

/* A wake goes through two sleepers, the watch's thread and the parked one: each may be as late as the machine makes it. */
static void a_wake_arrives_within_a_millisecond(void **state)
{
    enum { ROUNDS = 41 };
    world *w = *state;
    double latency[ROUNDS], late[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        late[i] = slowest(w, lateness());
        double sent = 0;
        world_barrier(w);
        if (world_rank(w) == 0) {
            ranks_sleep(0.02);
            sent = ranks_now();
            world_wake(w);
        } else {
            world_park(w);
        }
        double awake = ranks_now();
        latency[i] = slowest(w, awake) - sent;
    }
    qsort(latency, ROUNDS, sizeof *latency, by_value);
    qsort(late, ROUNDS, sizeof *late, by_value);
    double median = latency[ROUNDS / 2], allowance = 2 * late[ROUNDS * 9 / 10];
    if (world_rank(w) != 0) return;
    print_message("wake to last rank: median %.0f us, worst %.0f us; the machine's own lateness twice: %.0f us\n",
                  median * 1e6, latency[ROUNDS - 1] * 1e6, allowance * 1e6);
    assert_true(median < 1e-3 + allowance);
}

static void park_and_wake_of_the_other_side_do_nothing(void **state)
{
    world *w = *state;
    if (world_rank(w) == 0)
        world_park(w);
    else
        world_wake(w);
    world_barrier(w);
}

/* ---- signal notices ----------------------------------------------------------------------------------------------- */

static world *signalled; /* a handler has no other way to it */

static void on_usr1(int number)
{
    (void)number;
    world_signal_zero(signalled);
}

typedef struct notices {
    atomic_int from[64];
} notices;

static void count_notice(void *user, int from_rank)
{
    notices *n = user;
    atomic_fetch_add(&n->from[from_rank], 1);
}

/* Rank r raises r signals before anybody listens and 5 after. */
static void signal_notices_reach_rank_0_each(void **state)
{
    world *w = *state;
    notices seen;
    memset(&seen, 0, sizeof seen);
    signalled = w;
    signal(SIGUSR1, on_usr1);
    for (int i = 0; i < world_rank(w); i++) raise(SIGUSR1);
    world_barrier(w);
    ranks_sleep(0.05);
    if (world_rank(w) == 0) world_on_signal(w, count_notice, &seen);
    world_barrier(w);
    for (int i = 0; i < 5; i++) raise(SIGUSR1);
    world_barrier(w);
    if (world_rank(w) == 0) {
        double give_up = ranks_now() + 5;
        for (int r = 1; r < world_size(w); r++)
            while (atomic_load(&seen.from[r]) < r + 5 && ranks_now() < give_up) ranks_sleep(0.001);
        ranks_sleep(0.05); /* one too many would come now */
        world_on_signal(w, NULL, NULL);
        assert_int_equal(atomic_load(&seen.from[0]), 0);
        for (int r = 1; r < world_size(w); r++) assert_int_equal(atomic_load(&seen.from[r]), r + 5);
    }
    signal(SIGUSR1, SIG_DFL);
    world_barrier(w);
}

static void *post_notes(void *user)
{
    world *w = user;
    for (int i = 0; i < 100; i++) {
        int64_t note[2] = {world_rank(w), i};
        world_post_note(w, note, sizeof note);
    }
    return NULL;
}

/* From a thread of their own, while the main thread is inside MPI. */
static void notes_reach_rank_0_from_any_thread(void **state)
{
    world *w = *state;
    pthread_t thread;
    int64_t note[2] = {-1, -1};
    double age = -1, give_up = ranks_now() + 10;
    assert_false(world_read_note(w, 0, note, sizeof note, &age));
    world_barrier(w); /* none is left before rank 0 has looked */
    assert_int_equal(pthread_create(&thread, NULL, post_notes, w), 0);
    world_barrier(w);
    pthread_join(thread, NULL);
    for (int r = 0; r < world_size(w) && world_rank(w) == 0; r++) {
        while ((!world_read_note(w, r, note, sizeof note, &age) || note[1] < 99) && ranks_now() < give_up) ranks_sleep(0.001);
        assert_true(note[0] == r && note[1] == 99 && age >= 0 && age < 10);
    }
    assert_false(world_read_note(w, world_size(w), note, sizeof note, &age));
    assert_false(world_read_note(w, -1, note, sizeof note, &age));
    assert_true(world_rank(w) == 0 || !world_read_note(w, world_rank(w), note, sizeof note, &age));
    world_barrier(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_and_hosts_are_consistent),
        cmocka_unit_test(broadcast_carries_every_size),
        cmocka_unit_test(gather_keeps_rank_order),
        cmocka_unit_test(minimum_reaches_every_rank),
        cmocka_unit_test(agreement_is_ok_when_all_are),
        cmocka_unit_test(agreement_takes_the_lowest_failure),
        cmocka_unit_test(wakes_before_parks_are_kept_and_counted),
        cmocka_unit_test(parked_ranks_use_no_processor),
        cmocka_unit_test(a_wake_arrives_within_a_millisecond),
        cmocka_unit_test(park_and_wake_of_the_other_side_do_nothing),
        cmocka_unit_test(signal_notices_reach_rank_0_each),
        cmocka_unit_test(notes_reach_rank_0_from_any_thread),
    };
    return cmocka_run_group_tests(tests, ranks_setup, ranks_teardown);
}
