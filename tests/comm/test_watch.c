/* The watch inside one process. Strangers are plain sockets. */
#include "tests/comm/watch_star.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "comm/watch_socket.h"

static void wakes_pass_over_both_kinds_of_socket(void **state)
{
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        watch_star s;
        watch_star_start(&s, 4, tcp);
        watch_star_join(&s, !tcp);
        for (int i = 0; i < 100; i++) watch_wake(s.ranks[0]);
        for (int r = 1; r < s.size; r++)
            for (int i = 0; i < 100; i++) watch_park(s.ranks[r]);
        watch_star_leave(&s);
    }
}

static void die(watch_star *s, int rank)
{
    watch_stop(s->ranks[rank]);
    watch_close(s->ranks[rank]);
    s->ranks[rank] = NULL;
}

static void a_death_is_seen_by_all_and_told_by_one(void **state)
{
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++)
        for (int dead = 0; dead < 4; dead++) {
            watch_star s;
            watch_star_start(&s, 4, tcp);
            watch_star_join(&s, !tcp);
            double start = ranks_now();
            die(&s, dead);
            int speakers = 0;
            for (int r = 0; r < s.size; r++) {
                if (r == dead) continue;
                while (!atomic_load(&s.seen[r].calls) && ranks_now() < start + 5) ranks_sleep(0.001);
                assert_int_equal(atomic_load(&s.seen[r].calls), 1);
                assert_int_equal(atomic_load(&s.seen[r].lost), dead);
                speakers += atomic_load(&s.seen[r].speaks);
            }
            assert_true(ranks_now() - start < 1);
            assert_int_equal(speakers, 1);
            for (int r = 0; r < s.size; r++) watch_close(s.ranks[r]);
        }
}

/* Rank `failed` says so and ends: the others notice it, and nobody speaks. */
static void a_failure_that_was_said_is_told_by_nobody(void **state)
{
    (void)state;
    for (int failed = 0; failed < 4; failed++) {
        watch_star s;
        watch_star_start(&s, 4, false);
        watch_star_join(&s, true);
        watch_say_failed(s.ranks[failed]);
        ranks_sleep(0.02);
        for (int r = 0; r < s.size; r++) assert_int_equal(atomic_load(&s.seen[r].calls), 0); /* it may take its time to leave */
        die(&s, failed);
        double give_up = ranks_now() + 5;
        for (int r = 0; r < s.size; r++) {
            if (r == failed) continue;
            while (!atomic_load(&s.seen[r].calls) && ranks_now() < give_up) ranks_sleep(0.001);
            assert_int_equal(atomic_load(&s.seen[r].calls), 1);
            assert_int_equal(atomic_load(&s.seen[r].lost), failed);
            assert_int_equal(atomic_load(&s.seen[r].speaks), 0);
        }
        for (int r = 0; r < s.size; r++) watch_close(s.ranks[r]);
    }
}

/* A failing rank 0 sends the others away and leaves last: it is not told of them, but of one that only died it is. */
static void a_failing_rank_0_is_not_hurried_by_those_it_sent_away(void **state)
{
    (void)state;
    watch_star s;
    watch_star_start(&s, 4, false);
    watch_star_join(&s, true);
    for (int r = 0; r < 3; r++) watch_say_failed(s.ranks[r]);
    for (int r = 1; r < 3; r++) die(&s, r);
    ranks_sleep(0.05);
    assert_int_equal(atomic_load(&s.seen[0].calls), 0);
    die(&s, 3);
    for (double give_up = ranks_now() + 5; !atomic_load(&s.seen[0].calls) && ranks_now() < give_up;) ranks_sleep(0.001);
    assert_int_equal(atomic_load(&s.seen[0].calls), 1);
    assert_int_equal(atomic_load(&s.seen[0].lost), 3);
    assert_int_equal(atomic_load(&s.seen[0].speaks), 1);
    watch_close(s.ranks[0]);
}

/* Whoever stays after all leaves as usual; those who left before are not waited for. */
static void a_failure_that_was_said_does_not_end_the_watch(void **state)
{
    (void)state;
    watch_star s;
    watch_star_start(&s, 3, false);
    watch_star_join(&s, true);
    for (int r = 0; r < s.size; r++) watch_say_failed(s.ranks[r]);
    watch_wake(s.ranks[0]);
    for (int r = 1; r < s.size; r++) watch_park(s.ranks[r]);
    die(&s, 2);
    s.size = 2;
    watch_star_leave(&s);
}

static void the_death_of_a_rank_that_waits_to_leave_is_not_one(void **state)
{
    (void)state;
    watch_star s;
    status_detail detail;
    watch_star_start(&s, 2, false);
    int fd;
    ranks_assert_ok(watch_socket_join(&s.card, 1, true, WATCH_STAR_LIMIT_MS, &fd, &detail), &detail);
    ranks_assert_ok(watch_wait_joined(s.ranks[0], WATCH_STAR_LIMIT_MS, &detail), &detail);
    assert_int_equal(send(fd, "G", 1, 0), 1);
    close(fd);
    ranks_sleep(0.05);
    watch_goodbye(s.ranks[0]);
    watch_close(s.ranks[0]);
    assert_int_equal(atomic_load(&s.seen[0].calls), 0);
}

/* ---- strangers ---------------------------------------------------------------------------------------------------- */

static int stranger(const watch_card *card, sa_family_t family)
{
    for (int i = 0; i < card->n_addresses; i++) {
        const watch_address *a = &card->addresses[i];
        if (a->where.ss_family != family) continue;
        int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (const struct sockaddr *)&a->where, a->size) == 0) return fd;
        close(fd);
    }
    return -1;
}

static bool is_dropped(int fd)
{
    struct timeval limit = {.tv_sec = 3};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

static void strangers_are_dropped(void **state)
{
    (void)state;
    watch_star s;
    watch_star_start(&s, 3, true);
    watch_card wrong = s.card;
    wrong.token[WATCH_TOKEN_SIZE - 1] ^= 1;
    for (int family = 0; family < 2; family++) {
        uint8_t hellos[5][WATCH_HELLO_SIZE];
        memset(hellos[0], 'x', WATCH_HELLO_SIZE);
        watch_card_hello(&wrong, 1, hellos[1]);
        watch_card_hello(&s.card, 0, hellos[2]);
        watch_card_hello(&s.card, 3, hellos[3]);
        watch_card_hello(&s.card, -1, hellos[4]);
        for (int i = 0; i < 5; i++) {
            int fd = stranger(&s.card, family ? AF_UNIX : AF_INET);
            if (fd < 0) continue; /* a host without IPv4 */
            assert_int_equal(send(fd, hellos[i], WATCH_HELLO_SIZE, MSG_NOSIGNAL), WATCH_HELLO_SIZE);
            assert_true(is_dropped(fd));
            close(fd);
        }
    }
    watch_star_join(&s, true);
    assert_int_equal(stranger(&s.card, AF_UNIX), -1); /* the door is closed now */
    assert_int_equal(stranger(&s.card, AF_INET), -1);
    watch_star_leave(&s);
}

/* More silent, slow and half-way connections than there is room for, while the ranks join. */
static void a_crowd_at_the_door_keeps_nobody_out(void **state)
{
    (void)state;
    enum { CROWD = 200 };
    watch_star s;
    watch_star_start(&s, WATCH_STAR_RANKS, true);
    int fds[CROWD];
    uint8_t hello[WATCH_HELLO_SIZE];
    for (int i = 0; i < CROWD; i++) {
        fds[i] = stranger(&s.card, AF_UNIX);
        assert_true(fds[i] >= 0);
        watch_card_hello(&s.card, 1 + i % (WATCH_STAR_RANKS - 1), hello);
        /* nothing; a part of a good hello; all of it, but never the confirmation */
        size_t n = i % 3 == 0 ? 0 : i % 3 == 1 ? WATCH_HELLO_SIZE - 1 : WATCH_HELLO_SIZE;
        ssize_t sent = send(fds[i], hello, n, MSG_NOSIGNAL);
        assert_true(sent == (ssize_t)n || sent < 0); /* dropped already */
    }
    double start = ranks_now();
    watch_star_join(&s, true);
    assert_true(ranks_now() - start < 3);
    for (int i = 0; i < CROWD; i++) close(fds[i]);
    watch_star_leave(&s);
}

/* Somebody else listens at the address: without the answer token it is not rank 0. */
static void an_impostor_is_not_joined(void **state)
{
    (void)state;
    watch_star s;
    status_detail detail;
    watch_star_start(&s, 2, false);
    watch_card other = s.card;
    other.answer[0] ^= 1;
    watch *w = NULL;
    assert_int_equal(watch_join(1, &other, true, 300, watch_star_lost, &s.seen[1], &w, &detail), STATUS_PEER);
    assert_null(w);
    watch_star_join(&s, true); /* the unconfirmed connection was no death */
    watch_star_leave(&s);
}

static void an_unreachable_rank_0_is_named(void **state)
{
    (void)state;
    status_detail detail;
    watch_card card = {.n_ranks = 2, .n_addresses = 2};
    struct sockaddr_in *a = (struct sockaddr_in *)&card.addresses[0].where;
    struct sockaddr_in6 *b = (struct sockaddr_in6 *)&card.addresses[1].where;
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *b = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(1), .sin6_addr = in6addr_loopback};
    card.addresses[0].size = sizeof *a;
    card.addresses[1].size = sizeof *b;
    double start = ranks_now();
    watch *w = NULL;
    assert_int_equal(watch_join(1, &card, true, 300, watch_star_lost, NULL, &w, &detail), STATUS_PEER);
    assert_true(ranks_now() - start < 2);
    assert_non_null(strstr(detail.text, "127.0.0.1:1, [::1]:1"));
}

static void missing_ranks_are_counted(void **state)
{
    (void)state;
    watch_star s;
    status_detail detail;
    watch_star_start(&s, 3, false);
    ranks_assert_ok(watch_join(2, &s.card, true, WATCH_STAR_LIMIT_MS, watch_star_lost, &s.seen[2], &s.ranks[2], &detail), &detail);
    assert_int_equal(watch_wait_joined(s.ranks[0], 200, &detail), STATUS_PEER);
    assert_non_null(strstr(detail.text, "1 of 2 ranks"));
    watch_stop(s.ranks[0]);
    watch_stop(s.ranks[2]);
    for (int r = 0; r < 3; r++) watch_close(s.ranks[r]);
}

/* A rank that is stopped (by a debugger, say) reads nothing: waking does not block, and every wake arrives in the end. */
static void wakes_for_a_rank_that_does_not_read_are_kept(void **state)
{
    (void)state;
    enum { WAKES = 1000000 };
    watch_star s;
    status_detail detail;
    int fd;
    watch_star_start(&s, 2, false);
    ranks_assert_ok(watch_socket_join(&s.card, 1, true, WATCH_STAR_LIMIT_MS, &fd, &detail), &detail);
    ranks_assert_ok(watch_wait_joined(s.ranks[0], WATCH_STAR_LIMIT_MS, &detail), &detail);
    for (int i = 0; i < WAKES; i++) watch_wake(s.ranks[0]);
    static char bytes[65536];
    long got = 0;
    double give_up = ranks_now() + 20;
    while (got < WAKES && ranks_now() < give_up) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++) assert_int_equal(bytes[i], 'W');
        if (n > 0)
            got += n;
        else
            ranks_sleep(0.001);
    }
    assert_int_equal(got, WAKES);
    ranks_sleep(0.05);
    assert_int_equal(recv(fd, bytes, 1, MSG_DONTWAIT), -1);
    assert_int_equal(send(fd, "G", 1, 0), 1);
    watch_goodbye(s.ranks[0]);
    watch_close(s.ranks[0]);
    close(fd);
}

/* ---- the hello as a pure function --------------------------------------------------------------------------------- */

static void every_prefix_and_every_flipped_bit_is_judged(void **state)
{
    (void)state;
    watch_card card = {.n_ranks = 300};
    uint64_t seed = 1;
    for (int i = 0; i < WATCH_TOKEN_SIZE; i++) card.token[i] = (uint8_t)ranks_random(&seed);
    uint8_t hello[WATCH_HELLO_SIZE];
    int rank = 0;
    watch_card_hello(&card, 299, hello);
    for (size_t n = 0; n < WATCH_HELLO_SIZE; n++) assert_int_equal(watch_card_judge(&card, hello, n, &rank), WATCH_MORE);
    assert_int_equal(rank, 0);
    assert_int_equal(watch_card_judge(&card, hello, WATCH_HELLO_SIZE, &rank), WATCH_MEMBER);
    assert_int_equal(rank, 299);
    for (int bit = 0; bit < 8 * (WATCH_HELLO_SIZE - 4); bit++) {
        hello[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(watch_card_judge(&card, hello, WATCH_HELLO_SIZE, &rank), WATCH_STRANGER);
        hello[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wakes_pass_over_both_kinds_of_socket),
        cmocka_unit_test(a_death_is_seen_by_all_and_told_by_one),
        cmocka_unit_test(a_failure_that_was_said_is_told_by_nobody),
        cmocka_unit_test(a_failing_rank_0_is_not_hurried_by_those_it_sent_away),
        cmocka_unit_test(a_failure_that_was_said_does_not_end_the_watch),
        cmocka_unit_test(the_death_of_a_rank_that_waits_to_leave_is_not_one),
        cmocka_unit_test(strangers_are_dropped),
        cmocka_unit_test(a_crowd_at_the_door_keeps_nobody_out),
        cmocka_unit_test(an_impostor_is_not_joined),
        cmocka_unit_test(an_unreachable_rank_0_is_named),
        cmocka_unit_test(missing_ranks_are_counted),
        cmocka_unit_test(wakes_for_a_rank_that_does_not_read_are_kept),
        cmocka_unit_test(every_prefix_and_every_flipped_bit_is_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
