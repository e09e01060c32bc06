#include "tests/comm/ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void lost(void *user, int rank, bool speaks)
{
    (void)user;
    if (speaks) fprintf(stderr, "rank %d was lost\n", rank);
    _exit(5);
}

int ranks_setup(void **state)
{
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    alarm(120);
    status_detail detail;
    world *w;
    if (world_open(lost, NULL, &w, &detail) != STATUS_OK) {
        fprintf(stderr, "%s\n", detail.text);
        return -1;
    }
    *state = w;
    return 0;
}

int ranks_teardown(void **state)
{
    world_close(*state);
    return 0;
}

double ranks_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void ranks_sleep(double seconds)
{
    double end = ranks_now() + seconds;
    for (double left; (left = end - ranks_now()) > 0;) {
        struct timespec t = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
        nanosleep(&t, NULL);
    }
}

uint64_t ranks_random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int ranks_below(uint64_t *seed, int n) { return (int)((ranks_random(seed) >> 32) * (uint64_t)n >> 32); }

void ranks_assert_ok(status code, const status_detail *detail)
{
    if (code != STATUS_OK) fail_msg("status %d: %s", (int)code, detail->text);
}
