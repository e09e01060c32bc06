/* What passes between rank 0's engine loop and the other threads: requests and cancellations in, events out, a request to shut down.
 *
 * One mutex guards all of it; nobody holds it for longer than a few copies. Two eventfds carry wake-ups: one tells the poller that
 * events wait, one ends the loop's sleep. The loop's is written by submitters only while the loop sleeps, and by
 * engine_queue_shutdown() always, since writing to it is all that a signal handler may do.
 */
#ifndef RUNTIME_ENGINE_ENGINE_QUEUE_H
#define RUNTIME_ENGINE_ENGINE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/engine/engine.h"
#include "runtime/engine/sequence.h"

typedef struct engine_queue engine_queue;

/* `max_open`: requests that have no FINISH event yet. */
status engine_queue_open(int max_open, engine_queue **out, status_detail *detail);
/* Frees sequences that were never taken; NULL is allowed. No other thread may use the queue any more. */
void engine_queue_close(engine_queue *q);

/* ---- [any thread] ------------------------------------------------------------------------------------------------ */

/* Hands `s` over and gives it its id. STATUS_BUSY: max_open reached, shutting down, or closed; `s` then stays the caller's. */
status engine_queue_submit(engine_queue *q, sequence *s, uint64_t *id, status_detail *detail);
void engine_queue_cancel(engine_queue *q, uint64_t id);
/* [async-signal-safe] */
void engine_queue_shutdown(engine_queue *q, double drain_seconds);
int engine_queue_event_fd(const engine_queue *q);
int engine_queue_poll(engine_queue *q, engine_event *out, int max);
/* The figures last put, with requests not taken yet counted as waiting. */
void engine_queue_get_stats(engine_queue *q, engine_stats *out);

/* ---- [engine loop] ------------------------------------------------------------------------------------------------ */

/* Takes what came in since the last call: new sequences, oldest first, linked by next_inbox; and ones to cancel, linked by
 * next_cancel (a sequence may be in both). */
void engine_queue_take(engine_queue *q, sequence **fresh, sequence **cancelled);
/* How often a shutdown was asked for, and the drain time of the first. */
int engine_queue_shutdowns(const engine_queue *q, double *drain_seconds);
/* Sleeps until there is something to take or a shutdown was asked for that `shutdowns_seen` does not count. */
void engine_queue_wait(engine_queue *q, int shutdowns_seen);

/* Delivers events in order. `finished` requests among them are closed: their ids are unknown from here on. STATUS_MACHINE when memory
 * ran out, and nothing was delivered; a FINISH alone always finds room. */
status engine_queue_emit(engine_queue *q, const engine_event *events, int n, status_detail *detail);
void engine_queue_put_stats(engine_queue *q, const engine_stats *stats);
/* No request is taken any more; those submitted and not yet taken come back as from engine_queue_take(). */
void engine_queue_end(engine_queue *q, sequence **fresh, sequence **cancelled);

#endif
