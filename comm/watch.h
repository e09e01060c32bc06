/* The watch: a star of connections to rank 0, one thread per rank that sleeps in poll() on them.
 *
 *                   rank 1 ──┐
 *                   rank 2 ──┼── rank 0        a connection that ends without goodbye is a death
 *                   rank 3 ──┘
 *
 * The thread works whatever the rank's main thread does: blocked in MPI, parked, computing. What travels, one byte each but where more is said:
 *
 *   'W'  0 -> r   one wake for a parked rank
 *   'S'  r -> 0   the rank got a signal
 *   'G'  r -> 0   goodbye: the rank wants to leave and waits; 0 -> r, after all have said so: leave
 *   'F'  both     the rank failed, and nobody else need say so: its end, which follows, is a death that nobody speaks of
 *   'L'  0 -> r   a rank died; four bytes follow with its number, most significant first
 *   'N'  r -> 0   a note, which follows (watch_note.h)
 *
 * Rank 0 sees the death of any other and tells the rest; all see the death of rank 0, and rank 1 speaks then. Two ranks that
 * both said 'F' do not report each other: each has its own line to print, and leaves by itself. If ranks 0
 * and 1 die in the same moment (their host, say), nobody speaks. Knows no MPI, so tests run it inside one process. */
#ifndef COMM_WATCH_H
#define COMM_WATCH_H

#include <stdbool.h>

#include "comm/note_board.h"
#include "comm/watch_card.h"
#include "runtime/base/status.h"

typedef struct watch watch;

/* As world_lost_fn: called at most once, on the watch's thread, which takes no signals from outside. The watch
 * only waits for watch_close() after it. */
typedef void (*watch_lost_fn)(void *user, int lost_rank, bool speaks);

/* [rank 0] Listens and starts the thread, which lets the others in. *card is for them, by a channel that strangers do not
 * read. `between_hosts`: TCP too, otherwise a Unix socket only. */
status watch_listen(int size, bool between_hosts, watch_lost_fn lost, void *user, watch **out, watch_card *card,
                    status_detail *detail);
/* [rank 0] Blocks until all have joined; then the listeners are closed. STATUS_PEER after `limit_ms`. */
status watch_wait_joined(watch *w, int limit_ms, status_detail *detail);

/* [others] Connects with rank 0 and starts the thread. Blocks for `limit_ms` at most. */
status watch_join(int rank, const watch_card *card, bool same_host, int limit_ms, watch_lost_fn lost, void *user,
                  watch **out, status_detail *detail);

/* As world_say_failed(): an 'F' on every connection. */
void watch_say_failed(watch *w);

/* The goodbye: returns once every rank has called it, or after the lost callback returned. From then on ends of
 * connections mean nothing. Collective. */
void watch_goodbye(watch *w);
/* Stops the thread at once, without goodbye; connections stay open until watch_close(), so that the others notice nothing
 * before. For an opening that failed. */
void watch_stop(watch *w);
/* Stops the thread if it runs, closes the connections, frees. NULL is allowed. */
void watch_close(watch *w);

/* [rank 0] One wake for every other rank. Never blocks: what a connection does not take now, the thread sends later. */
void watch_wake(watch *w);
/* [others] Sleeps until a wake comes that no park has taken yet. */
void watch_park(watch *w);

/* [rank 0] Where the notes of the others go from now on; it must live until watch_close(). Those that come before are dropped. */
void watch_keep_notes(watch *w, note_board *notes);
/* [others] As world_post_note(). */
void watch_post_note(watch *w, const void *note, size_t size);

/* [others] Tells rank 0 of a signal. Async-signal-safe, never blocks. */
void watch_signal_zero(watch *w);
/* [rank 0] What runs for each such notice, on the watch's thread. NULL ends it: no call is under way on return. Must not be
 * called by `fn`. */
void watch_on_signal(watch *w, void (*fn)(void *user, int from_rank), void *user);

#endif
