#include "comm/note_board.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/comm.h"

typedef struct note {
    uint8_t bytes[WORLD_NOTE_SIZE];
    size_t size; /* 0: none */
    double at;   /* CLOCK_MONOTONIC seconds */
} note;

struct note_board {
    pthread_mutex_t lock;
    int n_ranks;
    note notes[]; /* [n_ranks] */
};

static double monotonic_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

note_board *note_board_open(int n_ranks)
{
    note_board *b = calloc(1, sizeof *b + (size_t)n_ranks * sizeof *b->notes);
    if (!b) return NULL;
    b->n_ranks = n_ranks;
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

void note_board_close(note_board *b)
{
    if (!b) return;
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void note_board_put(note_board *b, int rank, const void *bytes, size_t size)
{
    if (rank < 0 || rank >= b->n_ranks || size > WORLD_NOTE_SIZE) return;
    pthread_mutex_lock(&b->lock);
    note *n = &b->notes[rank];
    memcpy(n->bytes, bytes, size);
    n->size = size;
    n->at = monotonic_seconds();
    pthread_mutex_unlock(&b->lock);
}

bool note_board_get(note_board *b, int rank, void *bytes, size_t size, double *age)
{
    if (rank < 0 || rank >= b->n_ranks) return false;
    pthread_mutex_lock(&b->lock);
    const note *n = &b->notes[rank];
    bool there = n->size > 0 && n->size == size;
    if (there) {
        memcpy(bytes, n->bytes, size);
        *age = monotonic_seconds() - n->at;
    }
    pthread_mutex_unlock(&b->lock);
    return there;
}
