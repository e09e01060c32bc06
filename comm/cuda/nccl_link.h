/* One NCCL communicator for a group of ranks, with errors as status lines. nccl_link.c over NCCL, or nccl_link_absent.c in
 * a build without it.
 *
 * Everything is put on the group's stream, may be captured into a graph, and returns without waiting. Buffers are device
 * memory; sizes are in bytes unless said otherwise. */
#ifndef COMM_CUDA_NCCL_LINK_H
#define COMM_CUDA_NCCL_LINK_H

#include "comm/cuda/device_group.h"

typedef struct nccl_link nccl_link;

/* Of the library loaded, as NCCL numbers it (22809 is 2.28.9); 0: none in this build. */
int nccl_link_version(void);

/* Whether this build and this process have an NCCL that fits; local. STATUS_USAGE: not in the build; STATUS_MACHINE: the
 * library loaded is older than the header, or of another major version. */
status nccl_link_check(status_detail *detail);

/* Collective over the group; fails on all ranks or none. STATUS_USAGE when two ranks have one GPU, which NCCL refuses. */
status nccl_link_open(const device_group *g, nccl_link **out, status_detail *detail);
void nccl_link_close(nccl_link *link); /* collective; waits for the stream; NULL is allowed */

/* In NCCL's own order, which depends on `count`; the same bits on all ranks. F32 or BF16; BF16 may be rounded at each addition. */
status nccl_link_all_reduce(nccl_link *link, void *data, size_t count, dtype type, status_detail *detail);
status nccl_link_all_gather(nccl_link *link, const void *piece, size_t size, void *out, status_detail *detail);
status nccl_link_broadcast(nccl_link *link, void *data, size_t size, int root, status_detail *detail);
status nccl_link_all_to_all(nccl_link *link, size_t item_size, const void *from, transport_items send, void *to,
                            transport_items receive, status_detail *detail);

#endif
