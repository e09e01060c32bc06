/* Signals: SIGTERM, SIGINT and SIGUSR1 at any rank drain the whole job; a second one cuts what runs; a third leaves at once.
 *
 * One thread per rank waits for them; no handler runs anywhere. Ranks other than 0 tell rank 0, which counts per rank and acts on the
 * largest count: mpirun passes one signal to all ranks, and that is still one signal.
 */
#ifndef LAUNCH_SHUTDOWN_H
#define LAUNCH_SHUTDOWN_H

#include <stdbool.h>

#include "comm/comm.h"
#include "runtime/base/status.h"
#include "runtime/engine/engine.h"

typedef struct shutdown_watch shutdown_watch;

/* Call before any other thread exists: blocks the signals in the calling thread, and so in all it makes, and starts the waiting one, which reads
 * no environment: setenv() is still safe. Until an engine runs, a first signal is only remembered and a second one leaves at once. */
status shutdown_open(shutdown_watch **out, status_detail *detail);
/* From here on signals reach rank 0. `w` must stay open until shutdown_detach(). */
status shutdown_attach(shutdown_watch *s, world *w, status_detail *detail);
/* Whether this rank (on rank 0: any rank) had a signal. */
bool shutdown_asked(shutdown_watch *s);
/* [rank 0] Signals now end engine_run; one that was remembered does so at once. NULL: the engine is about to go. */
void shutdown_serve(shutdown_watch *s, engine *e, double drain_seconds);
/* The world is about to be closed. */
void shutdown_detach(shutdown_watch *s);
/* Ends the thread. NULL is allowed. */
void shutdown_close(shutdown_watch *s);

#endif
