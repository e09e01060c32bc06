/* Rank 0's door while the job assembles: takes connections, lets in who shows the token, drops the rest.
 *
 * Nothing a stranger does can block it, grow it, or keep a member out for good: reads never wait, at most WATCH_PENDING
 * connections are undecided, each for at most WATCH_PATIENCE_MS, and members try again. */
#ifndef COMM_WATCH_GATE_H
#define COMM_WATCH_GATE_H

#include <poll.h>
#include <stdint.h>

#include "comm/watch_card.h"
#include "comm/watch_socket.h"

#define WATCH_PENDING 32
#define WATCH_PATIENCE_MS 5000
#define WATCH_GATE_POLLS (WATCH_LISTENERS + WATCH_PENDING)

typedef struct watch_pending {
    int fd; /* -1: free */
    int rank; /* 0: the hello is not complete; otherwise the confirmation is awaited */
    size_t n_read;
    uint8_t read[WATCH_HELLO_SIZE];
    int64_t since_ms;
} watch_pending;

typedef struct watch_gate {
    const watch_card *card; /* the owner's */
    int listeners[WATCH_LISTENERS];
    int n_listeners; /* 0: closed */
    watch_pending pending[WATCH_PENDING];
} watch_gate;

typedef void (*watch_gate_entered)(void *user, int rank, int fd); /* `fd` is the callee's from now on */

/* Takes over the listeners. `card` must outlive the gate. */
void watch_gate_open(watch_gate *g, const watch_card *card, const int *listeners, int n_listeners);
/* What to wait for: fills `polls` (room for WATCH_GATE_POLLS) and returns how many; lowers *timeout_ms (-1: none). */
int watch_gate_polls(const watch_gate *g, struct pollfd *polls, int *timeout_ms);
/* After poll() on those: serves what is ready; `entered` is called for each new member. */
void watch_gate_step(watch_gate *g, const struct pollfd *polls, int n_polls, watch_gate_entered entered, void *user);
/* Closes listeners and undecided connections; allowed twice. */
void watch_gate_close(watch_gate *g);

#endif
