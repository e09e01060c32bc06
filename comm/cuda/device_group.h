/* The GPUs of a group of ranks: which rank has which, and agreement among the ranks while a transport opens. */
#ifndef COMM_CUDA_DEVICE_GROUP_H
#define COMM_CUDA_DEVICE_GROUP_H

#include <cuda_runtime_api.h>

#include "comm/transport.h"

typedef struct device_member {
    int world_rank;
    int host;         /* lowest group rank on the same host */
    int nccl_version; /* of the library it loaded; 0: its build has none */
    char pci[32];     /* bus id of its GPU, which is unique on its host */
} device_member;

typedef struct device_group {
    MPI_Comm ranks; /* not owned */
    int rank, size;
    int device; /* the calling thread's current device when it was opened; the stream's */
    cudaStream_t stream;
    device_member *members; /* [size] owned; the same on all ranks */
} device_group;

/* What serves() of every transport on device memory asks; local. If not, *why tells. */
bool device_group_serves(const transport_group *group, status_detail *why);

/* Learns of all ranks. Collective over the group; fails on all ranks or none. */
status device_group_open(const transport_group *group, device_group *out, status_detail *detail);
void device_group_close(device_group *g); /* local */

/* Every rank passes its own status and all get the worst: STATUS_OK from all, else STATUS_USAGE (this group cannot be
 * served), else any other. The detail is that of the lowest rank that passed it, with "rank N: " in front unless it is the
 * group's first, whom world_agree() names. Collective over the group, and so a barrier. */
status device_group_agree(MPI_Comm ranks, status mine, status_detail *detail);

bool device_group_on_one_host(const device_group *g);

/* The lowest two group ranks that have the same GPU; false: nobody shares. */
bool device_group_sharing(const device_group *g, int *first, int *second);

#endif
