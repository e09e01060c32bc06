/* What a transport is: one file with one `const transport`, and one row in the table of comm.c.
 *
 * Entries are collective over the group unless they say otherwise; all ranks call them in the same order with the same
 * sizes. comm.c and exchange.c have checked the arguments: pointers are there, types and roots are right, counts are > 0.
 * Errors: STATUS_PEER when another rank failed, STATUS_MACHINE when something is missing here; both with a detail.
 *
 * On host memory (`options.host_memory`) an entry blocks until the rank's own buffers may be used again. On a device it
 * puts its work on `options.stream`, in order with what is there, and returns without waiting; buffers are device memory. */
#ifndef COMM_TRANSPORT_H
#define COMM_TRANSPORT_H

#include <mpi.h>

#include "comm/comm.h"

/* The group that a transport is asked to serve. Valid during the call; a transport copies what it keeps. */
typedef struct transport_group {
    MPI_Comm ranks; /* the group's own, errors return; lives until after close(); MPI_COMM_NULL without a launcher */
    int rank, size;
    comm_options options; /* max_bytes is never 0 */
} transport_group;

/* Items of equal size to or from each rank of the group; they lie in rank order without gaps. */
typedef struct transport_items {
    const int *counts;  /* [group size] */
    const int *offsets; /* [group size] items before those of rank r */
} transport_items;

/* How the ranks of a transport exchange rows; see comm.h for what the calls mean. */
typedef struct transport_exchange transport_exchange;

typedef struct transport {
    const char *name;

    /* Whether this rank could serve the group. Local: asks no other rank, takes nothing. If not, writes why. Not NULL. */
    bool (*serves)(const transport_group *group, status_detail *why);

    /* Takes workspaces and connections. *state is the transport's own; untouched on failure. A failure of one rank must not
     * keep others waiting: what only this rank can know is checked before anything collective. STATUS_USAGE, from all ranks
     * alike, says what serves() could not know alone: that this group cannot be served; the next transport is tried. Not
     * NULL. */
    status (*open)(const transport_group *group, void **state, status_detail *detail);
    /* Gives all of it back. Not NULL. */
    void (*close)(void *state);

    /* As comm_all_reduce(), comm_all_gather(), comm_broadcast(). `size` is in bytes, of one piece for all_gather. Not NULL. */
    status (*all_reduce)(void *state, void *data, size_t count, dtype type, status_detail *detail);
    status (*all_gather)(void *state, const void *piece, size_t size, void *out, status_detail *detail);
    status (*broadcast)(void *state, void *data, size_t size, int root, status_detail *detail);

    /* As comm_all_reduce_add_norm(); *done is false before. May be NULL: it is never done in one go. */
    status (*all_reduce_add_norm)(void *state, const comm_add_norm *what, bool *done, status_detail *detail);

    /* Sends `send.counts[r]` items to each rank r and receives `receive.counts[r]`; these may differ from rank to rank, be 0,
     * and concern the rank itself. `from` and `to` do not overlap. On a device a transport may want all counts, on all ranks,
     * to be the same. NULL if `exchange` does not use it. */
    status (*all_to_all)(void *state, size_t item_size, const void *from, transport_items send, void *to,
                         transport_items receive, status_detail *detail);

    /* The expert exchange: exchange_host over all_to_all, or exchange_device over all_gather and all_to_all; NULL: none. On a
     * device the number of rows received is unknown to the host, so it is fixed: n_rows is the call's max_rows * group size,
     * and rows that are not for this rank have -1 for every expert. */
    const transport_exchange *exchange;
} transport;

/* The exchange's side of it. `exchange_shape` is checked; so are the other arguments, on this rank. */
struct transport_exchange {
    /* Takes all buffers. `t` and `state` outlive the exchange. *made is the exchange's own; untouched on failure. A failure
     * of one rank must not keep others waiting; exchange.c agrees on success afterwards. Not NULL. */
    status (*open)(const transport *t, void *state, const transport_group *group, const exchange_shape *shape, void **made,
                   status_detail *detail);
    void (*close)(void *made); /* not NULL */
    /* `refused`: this rank's arguments are wrong (n_rows is 0 then). The call still takes part, and fails on every rank where
     * the host learns of it. Buffers of *received are the exchange's. Not NULL. */
    status (*dispatch)(void *made, bool refused, int n_rows, int max_rows, const void *rows, const int32_t *experts,
                       const float *weights, exchange_rows *received, status_detail *detail);
    /* After a dispatch that succeeded. Not NULL. */
    status (*combine)(void *made, const void *returned, void *out, status_detail *detail);
};

extern const transport transport_self;          /* groups of one rank */
extern const transport transport_mpi;           /* host memory, any group */
extern const transport transport_peer;          /* device memory, ranks of one host; in builds with CUDA, as the next */
extern const transport transport_nccl;          /* device memory, a GPU for each rank */
extern const transport_exchange exchange_host;  /* host memory, over all_to_all */
extern const transport_exchange exchange_device; /* device memory, over all_gather and all_to_all; in builds with CUDA */

#endif
