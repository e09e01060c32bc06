/* One rank of test_lost.c: waits in some way until a rank ends the job in some way.
 *
 *     lost_victim WAY RANK RECORD
 *
 * WAY: parked, barrier, all-reduce: rank RANK kills itself meanwhile; exit: it calls exit() while the others are in a
 * barrier; failed: likewise, after it has printed why and said that it failed; orderly: all leave at different times, RANK
 * last. The file RECORD gets a line for each end and each callback. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"
#include "tests/comm/ranks.h"

typedef struct victim {
    world *w;
    int record; /* the file, to append to */
    int rank;
} victim;

static void record(const victim *v, const char *what, int number, bool speaks)
{
    char line[128];
    int length = snprintf(line, sizeof line, "%s %d %d %d %.6f\n", what, v->rank, number, speaks, ranks_now());
    if (write(v->record, line, (size_t)length) != length) abort();
}

static void on_lost(void *user, int lost_rank, bool speaks)
{
    const victim *v = user;
    record(v, "lost", lost_rank, speaks);
    if (speaks) fprintf(stderr, "rank %d was lost\n", lost_rank);
    _exit(5);
}

static void *kill_self(void *user)
{
    const victim *v = user;
    ranks_sleep(0.3);
    record(v, "end", v->rank, false);
    kill(getpid(), SIGKILL);
    return NULL;
}

static void wait_parked(world *w)
{
    for (;;) {
        if (world_rank(w) == 0)
            ranks_sleep(60);
        else
            world_park(w);
    }
}

static void reduce_forever(world *w)
{
    enum { COUNT = 2880 };
    float data[COUNT] = {0};
    comm *c;
    status_detail detail;
    comm_options options = {.transport = "auto", .host_memory = true};
    ranks_assert_ok(comm_open(w, 0, &options, &c, &detail), &detail);
    for (;;) ranks_assert_ok(comm_all_reduce(c, data, COUNT, DTYPE_F32, &detail), &detail);
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    const char *way = argv[1];
    int chosen = atoi(argv[2]);
    status_detail detail;
    victim v = {.record = open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)};
    signal(SIGTERM, SIG_IGN); /* mpirun's, when it sees the death: the watch shall act, not that */
    alarm(60);
    if (world_open(on_lost, &v, &v.w, &detail) != STATUS_OK) {
        fprintf(stderr, "%s\n", detail.text);
        return 3;
    }
    v.rank = world_rank(v.w);
    bool is_chosen = v.rank == chosen;
    if (strcmp(way, "orderly") == 0) {
        ranks_sleep(is_chosen ? 0.5 : 0.1 * v.rank);
        world_close(v.w);
        return 0;
    }
    bool fails = strcmp(way, "failed") == 0;
    if ((fails || strcmp(way, "exit") == 0) && is_chosen) {
        ranks_sleep(0.3);
        if (fails) {
            world_say_failed(v.w);
            ranks_sleep(0.1); /* nobody leaves before this rank does */
            fprintf(stderr, "rank %d: the victim failed\n", v.rank);
        }
        record(&v, "end", v.rank, false);
        exit(0);
    }
    pthread_t thread;
    if (is_chosen && pthread_create(&thread, NULL, kill_self, &v) != 0) return 3;
    if (strcmp(way, "parked") == 0) wait_parked(v.w);
    if (strcmp(way, "all-reduce") == 0) reduce_forever(v.w);
    if (!is_chosen) world_barrier(v.w);
    ranks_sleep(60);
    return 1;
}
