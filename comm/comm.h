/* Bytes between ranks. Knows no model: rows, element types and counts are all it sees.
 *
 * Two things live here. A `world` is the job: rank 0's small host messages, waiting without spinning, and noticing that a rank died.
 * A `comm` is a group of ranks that exchange tensors, over one of several transports behind one table of entries (transport.h).
 */
#ifndef COMM_COMM_H
#define COMM_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

/* ---- the job ---------------------------------------------------------------------------------------------------- */

typedef struct world world;

/* Called once, from a thread of the world's own, when a rank vanished without saying goodbye. `speaks` is true on exactly one of the
 * ranks left. It should log one line if it speaks, and leave the process with code 5; it must not call back into comm. */
typedef void (*world_lost_fn)(void *user, int lost_rank, bool speaks);

/* Joins the job: MPI when a launcher started us (OMPI_COMM_WORLD_SIZE, PMIX_RANK, PMI_RANK or SLURM_PROCID in the environment),
 * otherwise a world of one without MPI. Connects every rank with rank 0 by a watch socket, over loopback or a Unix socket on one
 * host and TCP between hosts. Collective. The calling thread becomes the one that may call comm (MPI_THREAD_FUNNELED).
 * A failure is the same on all ranks; the detail is empty on all but the one that should print it. Once per process. */
status world_open(world_lost_fn lost, void *user, world **out, status_detail *detail);
/* Says goodbye and finalises MPI. Collective. NULL is allowed. */
void world_close(world *w);

int world_rank(const world *w);
int world_size(const world *w);
/* Rank among the processes on this host, and how many there are: which GPU to take. */
int world_local_rank(const world *w);
int world_local_size(const world *w);

/* Host messages. Blocking and collective; every rank names the same size. */
status world_broadcast(world *w, void *data, size_t size, status_detail *detail); /* from rank 0 */
/* Every rank gives `each` bytes; rank 0 gets world_size * each bytes in `all`, in rank order (others may pass NULL). */
status world_gather(world *w, const void *mine, size_t each, void *all, status_detail *detail);
status world_min_i64(world *w, int64_t *value, status_detail *detail); /* in place, on every rank */
void world_barrier(world *w);

/* Agreement on success: every rank passes its own status; all get STATUS_OK when all did. Otherwise every rank gets the status and the
 * detail of the lowest failing rank ("rank N: " in front unless N is 0), and *speaks is true on rank 0 alone, so that exactly one line
 * is printed. */
status world_agree(world *w, status mine, status_detail *detail, bool *speaks);

/* Waiting without spinning. Ranks other than 0 call world_park() and sleep in the kernel until rank 0 calls world_wake(), which wakes
 * them all and never blocks. A wake that comes before the park is not lost. One wake answers one park. */
void world_park(world *w);
void world_wake(world *w);

/* A rank tells rank 0 that it got a signal. Async-signal-safe, never blocks; on rank 0 itself it does nothing. Notices are not merged: `fn` runs
 * on rank 0 once for each, on the watch's thread, with the rank it came from. */
void world_signal_zero(world *w);
/* [rank 0] Sets what runs; notices that came before are delivered then. NULL ends it: no call of `fn` is under way once it returns. */
void world_on_signal(world *w, void (*fn)(void *user, int from_rank), void *user);

/* A note: a few bytes that a rank leaves for rank 0 in the place of its last one, for figures that nobody waits for. It travels beside MPI and the transports,
 * whatever these do. All ranks run one program, so it may be a struct without pointers; what is in it is not looked at. */
enum { WORLD_NOTE_SIZE = 200 };
/* [any thread] `size`: 1 to WORLD_NOTE_SIZE, others are dropped. Never blocks: what the connection does not take goes later, or gives way to a newer note. */
void world_post_note(world *w, const void *note, size_t size);
/* [rank 0, any thread] The last note of `rank` that has come; false: none has, or its size is another. *age: seconds since. Never blocks. */
bool world_read_note(world *w, int rank, void *note, size_t size, double *age);

/* For a rank that failed, before it leaves: why is told here, or was told already, so no other rank shall print that this one was lost. The
 * others' callbacks run as for any loss, with `speaks` false; this rank's own does not run for ranks that leave in the same way. Never blocks. */
void world_say_failed(world *w);

/* ---- a group of ranks ------------------------------------------------------------------------------------------- */

typedef struct comm comm;

typedef struct comm_options {
    const char *transport; /* "auto", or one of the table: "self", "mpi", and in builds with CUDA "peer", "nccl" */
    bool host_memory;      /* whether buffers can be dereferenced by the host; "mpi" needs it */
    void *stream;          /* what the work is ordered on; NULL for host memory, where every call blocks until done */
    size_t max_bytes;      /* largest all-reduce or all-gather piece, for workspaces taken at open */
} comm_options;

/* The group of the ranks that pass the same `color`, ordered by world rank. Collective over the world. */
status comm_open(world *w, int color, const comm_options *options, comm **out, status_detail *detail);
void comm_close(comm *c); /* collective over the group; NULL is allowed */
int comm_rank(const comm *c);
int comm_size(const comm *c);
const char *comm_transport(const comm *c);

/* data[i] = sum over ranks of data[i], in place; F32 or BF16. All ranks get identical bits. The transports here add in F32 and in rank
 * order, and round once, whatever `count` is, so an element's sum does not depend on its neighbours. NCCL, and so "nccl" and large
 * messages of "peer", adds in an order that depends on `count`, and may round BF16 at each addition. */
status comm_all_reduce(comm *c, void *data, size_t count, dtype type, status_detail *detail);

/* What the next call works on; device memory, if it is that, aligned to 4 bytes. */
typedef struct comm_add_norm {
    void *delta;      /* [rows, hidden] this rank's part of what x grows by; undefined afterwards */
    void *x;          /* [rows, hidden] the same on all ranks */
    const void *norm; /* [hidden] BF16 */
    void *normed;     /* [rows, hidden] */
    int rows, hidden;
    float eps;
    dtype type; /* of delta, x and normed: F32 or BF16 */
} comm_add_norm;

/* delta = sum over ranks of delta; x += delta; normed = x / sqrt(mean(x^2) + eps) * norm, in one go where the transport has a
 * kernel for so many rows: then *done, and x and normed have the bits that comm_all_reduce() and the backend's add_norm would
 * leave. Otherwise *done is false and nothing was touched. Which of the two depends on rows, hidden and type alone, so that all
 * ranks get the same answer. */
status comm_all_reduce_add_norm(comm *c, const comm_add_norm *what, bool *done, status_detail *detail);

/* out = the pieces of all ranks, in rank order, `count` elements each. `piece` may be inside `out` at its own place. */
status comm_all_gather(comm *c, const void *piece, size_t count, dtype type, void *out, status_detail *detail);

/* data of group rank `root` to all. */
status comm_broadcast(comm *c, void *data, size_t count, dtype type, int root, status_detail *detail);

/* ---- expert exchange -------------------------------------------------------------------------------------------- */

/* Tokens travel to the ranks that hold their experts, and weighted sums travel back.
 *
 * dispatch: a row goes once to every distinct rank among the owners of its top_k experts, together with the ids and weights of the
 * experts there. combine: each owner returns one row per row it received, already the weighted sum over its experts; the source
 * adds the at most top_k rows in F32, in rank order, and rounds once. Experts are owned in contiguous ranges: group rank r owns
 * [r*E/n, (r+1)*E/n). */
typedef struct exchange exchange;

typedef struct exchange_shape {
    int max_rows;    /* rows that one rank may dispatch at once */
    int row_size;    /* elements per row */
    dtype type;      /* of rows, F32 or BF16 */
    int top_k;
    int n_experts;   /* must be a multiple of the group's size */
} exchange_shape;

/* What a rank received. Buffers belong to the exchange and live until its next dispatch. */
typedef struct exchange_rows {
    int n_rows;               /* at most max_rows * group size; on a device just that, as the host does not learn what came: rows
                               * that were not meant for us have only -1 as experts, and are finite if rows are */
    const void *rows;         /* [n_rows, row_size] by sender, in rank order, and then as they were sent */
    const int32_t *experts;   /* [n_rows, top_k] global expert ids; -1: not ours */
    const float *weights;     /* [n_rows, top_k]; 0 where experts is -1 */
} exchange_rows;

/* Collective over the group; so are dispatch and combine, even for a rank with n_rows 0. */
status exchange_open(comm *c, const exchange_shape *shape, exchange **out, status_detail *detail);
void exchange_close(exchange *x);
/* max_rows: no rank of the group has more rows in this call; all pass the same. It decides what travels on a device. */
status exchange_dispatch(exchange *x, int n_rows, int max_rows, const void *rows, const int32_t *experts, const float *weights,
                         exchange_rows *received, status_detail *detail);
/* `returned`: [received.n_rows, row_size]; `out`: [n_rows, row_size] of the last dispatch, overwritten. */
status exchange_combine(exchange *x, const void *returned, void *out, status_detail *detail);

#endif
