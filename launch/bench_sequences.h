/* Sequences for benchmarks: random prompts over blocks of their own, stepped through the model as the engine would.
 *
 * The KV cache of decoding sequences is filled by a real prefill, so that what experts and attention see is no garbage. A decode step feeds the
 * token drawn last, at the last position of the context; all its steps are at that position, so that they cost the same and no
 * memory is needed for more, but each draw has another key, so tokens go on changing.
 *
 * Blocks: decoding sequence s has its own for the whole context in the full layers, and for the last window in the sliding ones. What lies
 * before that window is needed only while filling, and prompts only while they are measured: those lie in a scratch part.
 */
#ifndef LAUNCH_BENCH_SEQUENCES_H
#define LAUNCH_BENCH_SEQUENCES_H

#include "runtime/model/model.h"

typedef struct bench_sequences bench_sequences;

typedef struct bench_shape {
    int slots;      /* sequences that decode in one group; may be 0 */
    int context;    /* keys that a decode step looks at, the token fed included; at least 2 */
    int prompt;     /* tokens of the longest prompt; may be 0 */
    int max_tokens; /* of a step */
} bench_shape;

/* Bytes of KV cache per rank that the shape takes. */
int64_t bench_sequences_bytes(const model *m, const bench_shape *shape);

/* Reserves the KV cache. Collective, as all that follow: ranks of one group compute the same, groups step together. */
status bench_sequences_open(model *m, const bench_shape *shape, bench_sequences **out, status_detail *detail);
void bench_sequences_close(bench_sequences *s); /* NULL is allowed */
int64_t bench_sequences_kv_bytes(const bench_sequences *s); /* reserved on this rank */

/* Brings the context of slots 0..count-1 into the cache, those that were not there yet. Returns when it is done. */
status bench_sequences_fill(bench_sequences *s, int count, status_detail *detail);

/* Readies decode steps of slots 0..rows-1 (0: this group has none), while the largest group has `most`. They must be filled. */
void bench_sequences_start_decode(bench_sequences *s, int rows, int most);
/* Launches a step; where the backend runs ahead, waits for the one before it, elsewhere for the step itself. */
status bench_sequences_decode(bench_sequences *s, status_detail *detail);
/* Waits for what is in flight. */
status bench_sequences_drain(bench_sequences *s, status_detail *detail);

/* A prompt of n tokens in chunks of max_tokens, up to its first token drawn. Overwrites what was filled: no decoding afterwards. */
status bench_sequences_prefill(bench_sequences *s, int n, status_detail *detail);

#endif
