#include "tests/comm/watch_star.h"

#include <pthread.h>
#include <string.h>

void watch_star_lost(void *user, int rank, bool speaks)
{
    watch_witness *w = user;
    atomic_store(&w->lost, rank);
    atomic_store(&w->speaks, speaks);
    atomic_fetch_add(&w->calls, 1);
}

void watch_star_start(watch_star *s, int size, bool between_hosts)
{
    status_detail detail;
    memset(s, 0, sizeof *s);
    s->size = size;
    ranks_assert_ok(watch_listen(size, between_hosts, watch_star_lost, &s->seen[0], &s->ranks[0], &s->card, &detail), &detail);
}

void watch_star_join(watch_star *s, bool same_host)
{
    status_detail detail;
    for (int r = 1; r < s->size; r++)
        ranks_assert_ok(
            watch_join(r, &s->card, same_host, WATCH_STAR_LIMIT_MS, watch_star_lost, &s->seen[r], &s->ranks[r], &detail), &detail);
    ranks_assert_ok(watch_wait_joined(s->ranks[0], WATCH_STAR_LIMIT_MS, &detail), &detail);
}

static void *say_goodbye(void *rank)
{
    watch_goodbye(rank);
    return NULL;
}

void watch_star_leave(watch_star *s)
{
    pthread_t threads[WATCH_STAR_RANKS];
    for (int r = s->size - 1; r >= 0; r--) {
        pthread_create(&threads[r], NULL, say_goodbye, s->ranks[r]);
        ranks_sleep(0.02);
    }
    for (int r = 0; r < s->size; r++) pthread_join(threads[r], NULL);
    for (int r = 0; r < s->size; r++) {
        watch_close(s->ranks[r]);
        assert_int_equal(atomic_load(&s->seen[r].calls), 0);
    }
}
