/* The sockets of the watch: listening at rank 0, connecting from the others. All are close-on-exec and non-blocking. */
#ifndef COMM_WATCH_SOCKET_H
#define COMM_WATCH_SOCKET_H

#include <stdbool.h>

#include "comm/watch_card.h"
#include "runtime/base/status.h"

#define WATCH_LISTENERS 2

/* Fills `card` (tokens, addresses; n_ranks as given) and opens the listeners it names: an abstract Unix socket, which
 * vanishes with the process, and with `between_hosts` a TCP port on every interface. The caller closes fds[0 .. *n_fds). */
status watch_socket_listen(int n_ranks, bool between_hosts, watch_card *card, int fds[WATCH_LISTENERS], int *n_fds,
                           status_detail *detail);

/* Makes `rank` a member: tries the card's addresses in turn (Unix ones only if `same_host`) until one works or `limit_ms`
 * have passed. *fd is the confirmed connection and the caller's. STATUS_PEER names the addresses and the last error. */
status watch_socket_join(const watch_card *card, int rank, bool same_host, int limit_ms, int *fd, status_detail *detail);

/* A non-blocking connection from a listener, or -1 when none is waiting. */
int watch_socket_accept(int listener);

#endif
