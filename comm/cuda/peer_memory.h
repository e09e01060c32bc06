/* The inboxes of a group's ranks, each mapped into every process by CUDA IPC. */
#ifndef COMM_CUDA_PEER_MEMORY_H
#define COMM_CUDA_PEER_MEMORY_H

#include "comm/cuda/device_group.h"
#include "comm/cuda/peer_kernels.h"

typedef struct peer_memory {
    peer_view view;
    MPI_Comm ranks;                /* not owned */
    cudaStream_t stream;
    bool mapped[PEER_MAX_RANKS];   /* whether inboxes[r] is another rank's */
} peer_memory;

/* Collective over the group; fails on all ranks or none. STATUS_USAGE when the ranks cannot reach each other's memory:
 * several hosts, too many ranks, no peer access between two GPUs, no CUDA IPC in this container. */
status peer_memory_open(const device_group *g, peer_memory *out, status_detail *detail);
/* Collective; waits for the stream. */
void peer_memory_close(peer_memory *m);

#endif
