#include "comm/cuda/nccl_link.h"

#include <nccl.h>
#include <stdlib.h>
#include <time.h>

#include "comm/cuda/cuda_status.h"
#include "comm/mpi_status.h"

struct nccl_link {
    ncclComm_t ranks;
    cudaStream_t stream;
    int size, world_rank;
};

/* ---- errors ------------------------------------------------------------------------------------------------------- */

/* A remote or network error mostly means that a rank died a moment ago, which the watch reports better and on one rank
 * only: wait for it. */
static status describe(ncclResult_t result, ncclComm_t ranks, const char *call, status_detail *detail)
{
    bool peer = result == ncclRemoteError || result == ncclSystemError;
    if (peer) nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    const char *more = ncclGetLastError(ranks);
    return status_fail(detail, peer ? STATUS_PEER : STATUS_MACHINE,
                       "%s: NCCL says: %s%s%s; start again with NCCL_DEBUG=WARN to see why", call,
                       ncclGetErrorString(result), more && *more ? ": " : "", more ? more : "");
}

/* Of a call, or else of what NCCL's own threads met since. */
static status nccl_status(const nccl_link *link, ncclResult_t result, const char *call, status_detail *detail)
{
    if (result == ncclSuccess) {
        ncclResult_t later = ncclSuccess;
        result = ncclCommGetAsyncError(link->ranks, &later);
        if (result == ncclSuccess) result = later;
    }
    if (result == ncclSuccess) return STATUS_OK;
    return status_prefix(detail, describe(result, link->ranks, call, detail), "rank %d", link->world_rank);
}

/* ---- versions ----------------------------------------------------------------------------------------------------- */

/* NCCL's numbering since 2.9. */
static int major_of(int version) { return version / 10000; }
static int minor_of(int version) { return version / 100 % 100; }
static int patch_of(int version) { return version % 100; }

int nccl_link_version(void)
{
    int version = 0;
    return ncclGetVersion(&version) == ncclSuccess ? version : -1;
}

status nccl_link_check(status_detail *detail)
{
    int loaded = nccl_link_version(), built = NCCL_VERSION_CODE;
    /* A newer library of the same major version keeps every call of an older one. */
    if (loaded >= built && major_of(loaded) == major_of(built)) return STATUS_OK;
    return status_fail(detail, STATUS_MACHINE,
                       "NCCL %d.%d.%d is loaded, and this program was built for %d.%d.%d; put that library's directory first in "
                       "LD_LIBRARY_PATH, or build again",
                       major_of(loaded), minor_of(loaded), patch_of(loaded), major_of(built), minor_of(built), patch_of(built));
}

/* All ranks know all members, so these two answer alike everywhere. */
static status check_devices(const device_group *g, status_detail *detail)
{
    int first, second;
    if (!device_group_sharing(g, &first, &second)) return STATUS_OK;
    return status_fail(detail, STATUS_USAGE,
                       "cannot serve ranks %d and %d, which share GPU %s: NCCL wants a GPU for every rank; start at most one rank "
                       "per GPU",
                       g->members[first].world_rank, g->members[second].world_rank, g->members[first].pci);
}

static status check_versions(const device_group *g, status_detail *detail)
{
    int mine = g->members[0].nccl_version;
    for (int r = 1; r < g->size; r++) {
        int other = g->members[r].nccl_version;
        if (mine == other) continue;
        return status_fail(detail, STATUS_MACHINE,
                           "rank %d has NCCL %d.%d.%d and rank %d has %d.%d.%d; install the same version on every host",
                           g->members[0].world_rank, major_of(mine), minor_of(mine), patch_of(mine), g->members[r].world_rank,
                           major_of(other), minor_of(other), patch_of(other));
    }
    return STATUS_OK;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

/* The first rank makes the id and the group's own MPI communicator carries it: a world broadcast would serve one group only. */
static status share_id(const device_group *g, ncclUniqueId *id, status_detail *detail)
{
    status code = STATUS_OK;
    if (g->rank == 0) {
        ncclResult_t result = ncclGetUniqueId(id);
        if (result != ncclSuccess) code = describe(result, NULL, "ncclGetUniqueId", detail);
    }
    STATUS_TRY(device_group_agree(g->ranks, code, detail));
    return mpi_status(MPI_Bcast(id, sizeof *id, MPI_BYTE, 0, g->ranks), "NCCL's id", detail);
}

status nccl_link_open(const device_group *g, nccl_link **out, status_detail *detail)
{
    STATUS_TRY(check_devices(g, detail));
    STATUS_TRY(device_group_agree(g->ranks, nccl_link_check(detail), detail));
    STATUS_TRY(check_versions(g, detail));
    /* Read by NCCL at its start; what stands in the environment wins. NVLink multicast can leave GPUs that others share
     * unusable. And connections are made now, not by the first call that wants them: a step takes no memory. */
    setenv("NCCL_NVLS_ENABLE", "0", 0);
    setenv("NCCL_RUNTIME_CONNECT", "0", 0);

    ncclUniqueId id;
    STATUS_TRY(share_id(g, &id, detail));
    nccl_link *link = calloc(1, sizeof *link);
    status code = link ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "NCCL: out of memory");
    code = device_group_agree(g->ranks, code, detail);
    if (code != STATUS_OK) {
        free(link);
        return code;
    }
    link->stream = g->stream;
    link->size = g->size;
    link->world_rank = g->members[g->rank].world_rank;
    ncclResult_t result = ncclCommInitRank(&link->ranks, g->size, id, g->rank);
    if (result != ncclSuccess) code = describe(result, NULL, "ncclCommInitRank", detail);
    code = device_group_agree(g->ranks, code, detail);
    if (code != STATUS_OK) {
        if (result == ncclSuccess) ncclCommAbort(link->ranks);
        free(link);
        return code;
    }
    *out = link;
    return STATUS_OK;
}

void nccl_link_close(nccl_link *link)
{
    if (!link) return;
    cudaStreamSynchronize(link->stream);
    ncclCommDestroy(link->ranks);
    free(link);
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

status nccl_link_all_reduce(nccl_link *link, void *data, size_t count, dtype type, status_detail *detail)
{
    ncclDataType_t element = type == DTYPE_F32 ? ncclFloat32 : ncclBfloat16;
    return nccl_status(link, ncclAllReduce(data, data, count, element, ncclSum, link->ranks, link->stream), "ncclAllReduce",
                       detail);
}

status nccl_link_all_gather(nccl_link *link, const void *piece, size_t size, void *out, status_detail *detail)
{
    return nccl_status(link, ncclAllGather(piece, out, size, ncclUint8, link->ranks, link->stream), "ncclAllGather", detail);
}

status nccl_link_broadcast(nccl_link *link, void *data, size_t size, int root, status_detail *detail)
{
    return nccl_status(link, ncclBroadcast(data, data, size, ncclUint8, root, link->ranks, link->stream), "ncclBroadcast",
                       detail);
}

/* Whatever fails inside, the group must be ended. */
status nccl_link_all_to_all(nccl_link *link, size_t item_size, const void *from, transport_items send, void *to,
                            transport_items receive, status_detail *detail)
{
    ncclResult_t result = ncclGroupStart();
    if (result != ncclSuccess) return nccl_status(link, result, "ncclGroupStart", detail);
    for (int r = 0; r < link->size && result == ncclSuccess; r++) {
        const char *out = (const char *)from + (size_t)send.offsets[r] * item_size;
        char *in = (char *)to + (size_t)receive.offsets[r] * item_size;
        size_t outgoing = (size_t)send.counts[r] * item_size, incoming = (size_t)receive.counts[r] * item_size;
        if (outgoing) result = ncclSend(out, outgoing, ncclUint8, r, link->ranks, link->stream);
        if (incoming && result == ncclSuccess) result = ncclRecv(in, incoming, ncclUint8, r, link->ranks, link->stream);
    }
    ncclResult_t ended = ncclGroupEnd();
    return nccl_status(link, result != ncclSuccess ? result : ended, "ncclSend and ncclRecv", detail);
}
