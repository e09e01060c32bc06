/* What each rank's device memory is like, for rank 0 to tell whoever asks.
 *
 *   every rank: a thread looks now and then, and leaves a note ─► rank 0: the last note of each
 *
 * Nobody waits for anybody: a look takes the device's driver a moment, beside the loop, and a note travels over the watch (world_post_note). A rank that is
 * stopped, or whose driver does not answer, is told of no more. */
#ifndef RUNTIME_ENGINE_ENGINE_MEMORY_H
#define RUNTIME_ENGINE_ENGINE_MEMORY_H

#include "runtime/engine/engine.h"

typedef struct engine_memory_watch engine_memory_watch;

/* Looks at once, and then every `seconds`, from a thread of its own. `kv_cache`: bytes of it on this rank. Keeps `w` and `m`. On every rank, but not collective. */
status engine_memory_open(world *w, const model *m, int64_t kv_cache, double seconds, engine_memory_watch **out, status_detail *detail);
/* Waits for a look that is under way. NULL is allowed. */
void engine_memory_close(engine_memory_watch *m);

/* [rank 0, any thread] What `rank` said last; false: nothing, or longer ago than `most_seconds`. */
bool engine_memory_read(world *w, int rank, double most_seconds, engine_memory *out);

#endif
