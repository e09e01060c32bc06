/* The watches of a whole job inside one process: every rank is an object with its own thread. */
#ifndef TESTS_COMM_WATCH_STAR_H
#define TESTS_COMM_WATCH_STAR_H

#include "tests/comm/ranks.h"

#include <stdatomic.h>

#include "comm/watch.h"

enum { WATCH_STAR_RANKS = 5, WATCH_STAR_LIMIT_MS = 5000 };

/* What the lost callback of one rank saw. */
typedef struct watch_witness {
    atomic_int calls, lost, speaks;
} watch_witness;

typedef struct watch_star {
    int size;
    watch_card card;
    watch *ranks[WATCH_STAR_RANKS];
    watch_witness seen[WATCH_STAR_RANKS];
} watch_star;

/* A watch_lost_fn; user is a watch_witness. */
void watch_star_lost(void *user, int rank, bool speaks);
/* Rank 0 listens. */
void watch_star_start(watch_star *s, int size, bool between_hosts);
/* The others join. `same_host` false leaves only the TCP addresses. */
void watch_star_join(watch_star *s, bool same_host);
/* All say goodbye, the last rank first, and are closed; none may have been told of a loss. */
void watch_star_leave(watch_star *s);

#endif
