#include "comm/cuda/device_group.h"

#include <stdlib.h>
#include <string.h>

#include "comm/cuda/cuda_status.h"
#include "comm/cuda/nccl_link.h"
#include "comm/mpi_status.h"

bool device_group_serves(const transport_group *group, status_detail *why)
{
    int devices = 0;
    if (group->options.host_memory) {
        status_fail(why, STATUS_USAGE, "moves device memory only, and these buffers are host memory");
        return false;
    }
    if (group->ranks == MPI_COMM_NULL) {
        status_fail(why, STATUS_USAGE, "wants an MPI launcher; start with mpirun");
        return false;
    }
    if (!group->options.stream) {
        status_fail(why, STATUS_USAGE, "wants a stream of the device to put its work on");
        return false;
    }
    cudaError_t code = cudaGetDeviceCount(&devices);
    if (code == cudaSuccess) return true;
    cudaGetLastError(); /* or the next call would find it */
    status_fail(why, STATUS_MACHINE, "finds no GPU here: %s", cudaGetErrorString(code));
    return false;
}

/* ---- agreement ---------------------------------------------------------------------------------------------------- */

typedef struct verdict {
    int32_t code;
    status_detail detail;
} verdict;

status device_group_agree(MPI_Comm ranks, status mine, status_detail *detail)
{
    struct {
        int severity, rank;
    } here = {.severity = mine == STATUS_OK ? 0 : mine == STATUS_USAGE ? 1 : 2}, worst;
    MPI_Comm_rank(ranks, &here.rank);
    STATUS_TRY(mpi_status(MPI_Allreduce(&here, &worst, 1, MPI_2INT, MPI_MAXLOC, ranks), "GPU transport", detail));
    if (worst.severity == 0) return STATUS_OK;
    verdict v;
    memset(&v, 0, sizeof v);
    v.code = mine;
    if (here.rank == worst.rank) {
        int world_rank;
        MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
        if (detail) v.detail = *detail;
        if (here.rank != 0) status_prefix(&v.detail, mine, "rank %d", world_rank);
    }
    STATUS_TRY(mpi_status(MPI_Bcast(&v, sizeof v, MPI_BYTE, worst.rank, ranks), "GPU transport", detail));
    if (detail) *detail = v.detail;
    return (status)v.code;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

/* The lowest group rank on this rank's host. Collective. */
static status find_host(const transport_group *group, int *lowest, status_detail *detail)
{
    MPI_Comm host = MPI_COMM_NULL;
    STATUS_TRY(mpi_status(MPI_Comm_split_type(group->ranks, MPI_COMM_TYPE_SHARED, group->rank, MPI_INFO_NULL, &host),
                          "GPU transport: MPI_Comm_split_type", detail));
    *lowest = group->rank;
    status code = mpi_status(MPI_Bcast(lowest, 1, MPI_INT, 0, host), "GPU transport: MPI_Bcast", detail);
    MPI_Comm_free(&host);
    return code;
}

static status describe_self(device_group *g, device_member *me, status_detail *detail)
{
    memset(me, 0, sizeof *me); /* travels whole */
    MPI_Comm_rank(MPI_COMM_WORLD, &me->world_rank);
    me->nccl_version = nccl_link_version();
    STATUS_TRY(cuda_status(cudaGetDevice(&g->device), "GPU transport: cudaGetDevice", detail));
    return cuda_status(cudaDeviceGetPCIBusId(me->pci, sizeof me->pci, g->device), "GPU transport: cudaDeviceGetPCIBusId",
                       detail);
}

status device_group_open(const transport_group *group, device_group *out, status_detail *detail)
{
    device_group g = {.ranks = group->ranks,
                      .rank = group->rank,
                      .size = group->size,
                      .stream = group->options.stream,
                      .members = calloc((size_t)group->size, sizeof *g.members)};
    device_member me;
    status code = describe_self(&g, &me, detail);
    if (code == STATUS_OK && !g.members) code = status_fail(detail, STATUS_MACHINE, "GPU transport: out of memory");
    code = device_group_agree(g.ranks, code, detail);
    if (code == STATUS_OK) code = find_host(group, &me.host, detail);
    if (code == STATUS_OK)
        code = mpi_status(MPI_Allgather(&me, sizeof me, MPI_BYTE, g.members, sizeof me, MPI_BYTE, g.ranks),
                          "GPU transport: MPI_Allgather", detail);
    if (code != STATUS_OK) {
        device_group_close(&g);
        return code;
    }
    *out = g;
    return STATUS_OK;
}

void device_group_close(device_group *g)
{
    free(g->members);
    g->members = NULL;
}

/* ---- what the ranks' GPUs are to each other ------------------------------------------------------------------------ */

bool device_group_on_one_host(const device_group *g)
{
    for (int r = 0; r < g->size; r++)
        if (g->members[r].host != g->members[0].host) return false;
    return true;
}

bool device_group_sharing(const device_group *g, int *first, int *second)
{
    for (int a = 0; a < g->size; a++)
        for (int b = a + 1; b < g->size; b++) {
            const device_member *x = &g->members[a], *y = &g->members[b];
            if (x->host != y->host || strcmp(x->pci, y->pci) != 0) continue;
            *first = a;
            *second = b;
            return true;
        }
    return false;
}
