#include "comm/cuda/peer_memory.h"

#include <string.h>

#include "comm/cuda/cuda_status.h"
#include "comm/mpi_status.h"

/* ---- who reaches whom ----------------------------------------------------------------------------------------------- */

/* A GPU that this process does not see (CUDA_VISIBLE_DEVICES) may be reached all the same: mapping its memory tells. */
static status check_access(const device_group *g, int other, status_detail *detail)
{
    const device_member *me = &g->members[g->rank], *they = &g->members[other];
    int device, reaches = 0;
    if (strcmp(me->pci, they->pci) == 0) return STATUS_OK;
    if (cudaDeviceGetByPCIBusId(&device, they->pci) != cudaSuccess) {
        cudaGetLastError(); /* not this call's to report */
        return STATUS_OK;
    }
    STATUS_TRY(cuda_status(cudaDeviceCanAccessPeer(&reaches, g->device, device), "cudaDeviceCanAccessPeer", detail));
    if (reaches) return STATUS_OK;
    return status_fail(detail, STATUS_USAGE, "cannot serve: GPU %s has no peer access to GPU %s of rank %d", me->pci, they->pci,
                       they->world_rank);
}

static status check_reach(const device_group *g, status_detail *detail)
{
    if (g->size > PEER_MAX_RANKS)
        return status_fail(detail, STATUS_USAGE, "serves up to %d ranks, and the group has %d", PEER_MAX_RANKS, g->size);
    if (!device_group_on_one_host(g))
        return status_fail(detail, STATUS_USAGE, "serves ranks on one host, and the group's are on several");
    for (int r = 0; r < g->size; r++) STATUS_TRY(check_access(g, r, detail));
    return STATUS_OK;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

/* This rank's own inbox and counters, ready to be written to; what it took stays in *m for let_go(). */
static status take_own(peer_memory *m, status_detail *detail)
{
    uint32_t first[PEER_BLOCKS];
    for (int b = 0; b < PEER_BLOCKS; b++) first[b] = PEER_FIRST_STEP;
    void **own = &m->view.inboxes[m->view.rank];
    STATUS_TRY(cuda_status(cudaMalloc(own, PEER_INBOX_BYTES), "transport peer: inbox", detail));
    STATUS_TRY(cuda_status(cudaMalloc((void **)&m->view.steps, sizeof first), "transport peer: counters", detail));
    STATUS_TRY(cuda_status(cudaMemsetAsync(*own, 0, PEER_INBOX_BYTES, m->stream), "transport peer: inbox", detail));
    STATUS_TRY(cuda_status(cudaMemcpyAsync(m->view.steps, first, sizeof first, cudaMemcpyHostToDevice, m->stream),
                           "transport peer: counters", detail));
    return cuda_status(cudaStreamSynchronize(m->stream), "transport peer: inbox", detail);
}

/* In containers and virtual machines CUDA IPC may be missing: then another transport may serve. */
static status ipc_status(cudaError_t code, const char *call, status_detail *detail)
{
    if (code == cudaSuccess) return STATUS_OK;
    cudaGetLastError();
    return status_fail(detail, STATUS_USAGE, "cannot serve: %s says %s: %s", call, cudaGetErrorName(code),
                       cudaGetErrorString(code));
}

static status map_others(peer_memory *m, const cudaIpcMemHandle_t *handles, status_detail *detail)
{
    for (int r = 0; r < m->view.n_ranks; r++) {
        if (r == m->view.rank) continue;
        cudaError_t code = cudaIpcOpenMemHandle(&m->view.inboxes[r], handles[r], cudaIpcMemLazyEnablePeerAccess);
        STATUS_TRY(ipc_status(code, "cudaIpcOpenMemHandle", detail));
        m->mapped[r] = true;
    }
    return STATUS_OK;
}

/* An inbox goes when nobody has it mapped any more. */
static void let_go(peer_memory *m)
{
    for (int r = 0; r < m->view.n_ranks; r++)
        if (m->mapped[r]) cudaIpcCloseMemHandle(m->view.inboxes[r]);
    MPI_Barrier(m->ranks);
    cudaFree(m->view.steps);
    cudaFree(m->view.inboxes[m->view.rank]);
}

static status take_all(const device_group *g, peer_memory *m, status_detail *detail)
{
    cudaIpcMemHandle_t mine, handles[PEER_MAX_RANKS];
    memset(&mine, 0, sizeof mine);
    status code = take_own(m, detail);
    if (code == STATUS_OK)
        code = ipc_status(cudaIpcGetMemHandle(&mine, m->view.inboxes[g->rank]), "cudaIpcGetMemHandle", detail);
    STATUS_TRY(device_group_agree(g->ranks, code, detail));
    STATUS_TRY(mpi_status(MPI_Allgather(&mine, sizeof mine, MPI_BYTE, handles, sizeof mine, MPI_BYTE, g->ranks),
                          "transport peer: MPI_Allgather", detail));
    return device_group_agree(g->ranks, map_others(m, handles, detail), detail);
}

status peer_memory_open(const device_group *g, peer_memory *out, status_detail *detail)
{
    STATUS_TRY(device_group_agree(g->ranks, check_reach(g, detail), detail));
    peer_memory m = {.view = {.rank = g->rank, .n_ranks = g->size}, .ranks = g->ranks, .stream = g->stream};
    status code = take_all(g, &m, detail);
    if (code != STATUS_OK) {
        let_go(&m);
        return code;
    }
    *out = m;
    return STATUS_OK;
}

void peer_memory_close(peer_memory *m)
{
    cudaStreamSynchronize(m->stream);
    let_go(m);
}
