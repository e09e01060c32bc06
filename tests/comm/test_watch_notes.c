/* Notes over the watch, inside one process. */
#include "tests/comm/watch_star.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "comm/watch_socket.h"

typedef struct figure {
    int rank, number;
    char filling[WORLD_NOTE_SIZE - 2 * sizeof(int)];
} figure;

static figure figure_of(int rank, int number)
{
    figure f = {.rank = rank, .number = number};
    memset(f.filling, number, sizeof f.filling);
    return f;
}

/* Whether the last note of `rank` is a whole figure; its number then. */
static bool read_figure(note_board *notes, int rank, int *number)
{
    figure f, wanted;
    double age;
    if (!note_board_get(notes, rank, &f, sizeof f, &age)) return false;
    wanted = figure_of(rank, f.number);
    assert_memory_equal(&f, &wanted, sizeof f);
    assert_true(age >= 0 && age < 60);
    *number = f.number;
    return true;
}

static void wait_for_figure(note_board *notes, int rank, int number)
{
    int found = -1;
    for (double give_up = ranks_now() + 5; found != number && ranks_now() < give_up;) {
        (void)read_figure(notes, rank, &found);
        ranks_sleep(0.001);
    }
    assert_int_equal(found, number);
}

static void the_last_note_of_each_is_kept(void **state)
{
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        watch_star s;
        int number;
        note_board *notes = note_board_open(4);
        watch_star_start(&s, 4, tcp);
        watch_keep_notes(s.ranks[0], notes);
        watch_star_join(&s, !tcp);
        assert_false(read_figure(notes, 1, &number));
        for (int i = 0; i < 300; i++)
            for (int r = 1; r < 4; r++) {
                figure f = figure_of(r, i);
                watch_post_note(s.ranks[r], &f, sizeof f);
                if (i % 50 == 0) watch_wake(s.ranks[0]); /* what else travels is not disturbed */
            }
        for (int r = 1; r < 4; r++) {
            wait_for_figure(notes, r, 299);
            for (int i = 0; i < 18; i++) watch_park(s.ranks[r]);
        }
        double age;
        char one = 'x', got = 0;
        watch_post_note(s.ranks[2], &one, 1);
        watch_post_note(s.ranks[2], &one, 0);
        watch_post_note(s.ranks[2], notes, WORLD_NOTE_SIZE + 1);
        for (double give_up = ranks_now() + 5; !note_board_get(notes, 2, &got, 1, &age) && ranks_now() < give_up;) ranks_sleep(0.001);
        assert_int_equal(got, 'x');
        assert_false(read_figure(notes, 2, &number)); /* of another size */
        watch_star_leave(&s);
        note_board_close(notes);
    }
}

typedef struct stopped {
    atomic_int signals;
    atomic_bool go_on;
} stopped;

static void stand_still(void *user, int from_rank)
{
    stopped *s = user;
    (void)from_rank;
    atomic_fetch_add(&s->signals, 1);
    while (!atomic_load(&s->go_on)) ranks_sleep(0.001);
}

/* Rank 0's thread stands still until the connection is full: leaving a note does not block, nothing between the notes is lost or torn, and the last one arrives. */
static void notes_for_a_rank_0_that_does_not_read_give_way(void **state)
{
    (void)state;
    enum { NOTES = 20000, SIGNALS = 100 };
    for (int tcp = 0; tcp < 2; tcp++) {
        watch_star s;
        stopped stop;
        atomic_init(&stop.signals, 0);
        atomic_init(&stop.go_on, false);
        note_board *notes = note_board_open(2);
        watch_star_start(&s, 2, tcp);
        watch_keep_notes(s.ranks[0], notes);
        watch_star_join(&s, !tcp);
        watch_on_signal(s.ranks[0], stand_still, &stop);
        watch_signal_zero(s.ranks[1]);
        while (!atomic_load(&stop.signals)) ranks_sleep(0.001);
        double start = ranks_now();
        for (int i = 0; i < NOTES; i++) {
            figure f = figure_of(1, i);
            watch_post_note(s.ranks[1], &f, sizeof f);
            if (i % (NOTES / SIGNALS) == 0) watch_signal_zero(s.ranks[1]);
        }
        assert_true(ranks_now() - start < 5);
        int number = -1;
        (void)read_figure(notes, 1, &number);
        assert_true(number < NOTES - 1);
        atomic_store(&stop.go_on, true);
        wait_for_figure(notes, 1, NOTES - 1);
        for (double give_up = ranks_now() + 5; atomic_load(&stop.signals) < 1 + SIGNALS && ranks_now() < give_up;) ranks_sleep(0.001);
        assert_int_equal(atomic_load(&stop.signals), 1 + SIGNALS);
        watch_star_leave(&s);
        note_board_close(notes);
    }
}

/* Byte by byte it is the same note; a size that no note has is no rank of ours. */
static void a_note_in_pieces_and_one_that_makes_no_sense(void **state)
{
    (void)state;
    for (int size = 0; size < 256; size += 15) {
        watch_star s;
        status_detail detail;
        int fd;
        note_board *notes = note_board_open(2);
        char note[256], got[256];
        double age;
        watch_star_start(&s, 2, false);
        watch_keep_notes(s.ranks[0], notes);
        ranks_assert_ok(watch_socket_join(&s.card, 1, true, WATCH_STAR_LIMIT_MS, &fd, &detail), &detail);
        ranks_assert_ok(watch_wait_joined(s.ranks[0], WATCH_STAR_LIMIT_MS, &detail), &detail);
        memset(note, 'N', sizeof note); /* as the mark */
        bool good = size > 0 && size <= WORLD_NOTE_SIZE;
        uint8_t head[2] = {'N', (uint8_t)size};
        assert_int_equal(send(fd, head, 2, 0), 2);
        for (int i = 0; good && i < size; i++) {
            assert_false(note_board_get(notes, 1, got, (size_t)size, &age));
            assert_int_equal(send(fd, note + i, 1, 0), 1);
        }
        double give_up = ranks_now() + 5;
        if (good) {
            while (!note_board_get(notes, 1, got, (size_t)size, &age) && ranks_now() < give_up) ranks_sleep(0.001);
            assert_memory_equal(got, note, (size_t)size);
            assert_int_equal(send(fd, "G", 1, 0), 1);
            watch_goodbye(s.ranks[0]);
        } else {
            while (!atomic_load(&s.seen[0].calls) && ranks_now() < give_up) ranks_sleep(0.001);
        }
        assert_int_equal(atomic_load(&s.seen[0].calls), !good);
        watch_close(s.ranks[0]);
        close(fd);
        note_board_close(notes);
    }
}

int main(void)
{
    alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_note_of_each_is_kept),
        cmocka_unit_test(notes_for_a_rank_0_that_does_not_read_give_way),
        cmocka_unit_test(a_note_in_pieces_and_one_that_makes_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
