/* Device memory over CUDA IPC: ranks of one host write into each other's inboxes. Small messages take one kernel and no
 * more than the wire's latency; large ones go to NCCL, where that can serve the group. Where it cannot, as with several
 * ranks on one GPU, large messages are cut into pieces. */
#include "comm/transport.h"

#include <stdlib.h>

#include "comm/cuda/cuda_status.h"
#include "comm/cuda/nccl_link.h"
#include "comm/cuda/peer_kernels.h"
#include "comm/cuda/peer_memory.h"
#include "comm/mpi_status.h"

typedef struct peer_state {
    peer_memory memory;
    peer_limits limits;
    nccl_link *nccl; /* NULL: not there, or two ranks share a GPU */
} peer_state;

static bool peer_serves(const transport_group *group, status_detail *why) { return device_group_serves(group, why); }

/* ---- opening ------------------------------------------------------------------------------------------------------ */

/* Whether NCCL is worth opening: it serves large messages only. The same answer on all ranks. */
static bool wants_nccl(const device_group *g, size_t max_bytes, const peer_limits *limits)
{
    int first, second;
    size_t small = limits->move / (size_t)g->size;
    if (limits->twice < small) small = limits->twice;
    if (g->size == 1 || max_bytes <= small || device_group_sharing(g, &first, &second)) return false;
    for (int r = 0; r < g->size; r++)
        if (g->members[r].nccl_version == 0) return false;
    return true;
}

static status open_on(const device_group *g, size_t max_bytes, peer_state *s, status_detail *detail)
{
    STATUS_TRY(peer_memory_open(g, &s->memory, detail));
    /* Rank 0's, so that all cut alike whatever their environments say. */
    s->limits = peer_plan_limits(g->size, getenv);
    status code = mpi_status(MPI_Bcast(&s->limits, sizeof s->limits, MPI_BYTE, 0, g->ranks), "transport peer", detail);
    if (code == STATUS_OK && wants_nccl(g, max_bytes, &s->limits)) code = nccl_link_open(g, &s->nccl, detail);
    if (code != STATUS_OK) peer_memory_close(&s->memory);
    return code;
}

static status peer_open(const transport_group *group, void **state, status_detail *detail)
{
    device_group devices;
    STATUS_TRY(device_group_open(group, &devices, detail));
    peer_state *s = calloc(1, sizeof *s);
    status code = s ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "transport peer: out of memory");
    code = device_group_agree(group->ranks, code, detail);
    if (code == STATUS_OK) code = open_on(&devices, group->options.max_bytes, s, detail);
    device_group_close(&devices);
    if (code != STATUS_OK) {
        free(s);
        return code;
    }
    *state = s;
    return STATUS_OK;
}

static void peer_close(void *state)
{
    peer_state *s = state;
    nccl_link_close(s->nccl);
    peer_memory_close(&s->memory);
    free(s);
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

static status peer_all_reduce(void *state, void *data, size_t count, dtype type, status_detail *detail)
{
    peer_state *s = state;
    const peer_view *view = &s->memory.view;
    size_t bytes = count * dtype_size(type);
    for (size_t done = 0; done < bytes;) {
        char *at = (char *)data + done;
        peer_piece piece = peer_plan_reduce(&s->limits, view->n_ranks, bytes - done, s->nccl != NULL);
        if (piece.way == PEER_NCCL)
            return nccl_link_all_reduce(s->nccl, at, (bytes - done) / dtype_size(type), type, detail);
        STATUS_TRY(cuda_status(peer_kernels_reduce(view, at, type, piece, s->memory.stream), "all-reduce", detail));
        done += piece.bytes;
    }
    return STATUS_OK;
}

/* No reason to decline: other ranks' buffers may be aligned. */
static status check_pairs(const comm_add_norm *what, status_detail *detail)
{
    uintptr_t bits = (uintptr_t)what->delta | (uintptr_t)what->x | (uintptr_t)what->norm | (uintptr_t)what->normed;
    if (bits % 4 == 0) return STATUS_OK;
    return status_fail(detail, STATUS_INTERNAL, "all-reduce and norm: a buffer on the device is not aligned to 4 bytes");
}

static status peer_all_reduce_add_norm(void *state, const comm_add_norm *what, bool *done, status_detail *detail)
{
    peer_state *s = state;
    const peer_view *view = &s->memory.view;
    if (what->type != DTYPE_BF16 || !peer_plan_norms(&s->limits, view->n_ranks, what->rows, what->hidden)) return STATUS_OK;
    STATUS_TRY(check_pairs(what, detail));
    STATUS_TRY(cuda_status(peer_kernels_add_norm(view, what, s->memory.stream), "all-reduce and norm", detail));
    *done = true;
    return STATUS_OK;
}

/* `whole` but for NCCL's share: true once all of it is under way. */
static status move_pieces(peer_state *s, const peer_move *whole, const char *what, bool *done, status_detail *detail)
{
    const peer_view *view = &s->memory.view;
    *done = false;
    for (size_t at = 0; at < whole->size;) {
        peer_piece piece = peer_plan_move(&s->limits, view->n_ranks, whole->size - at, s->nccl != NULL);
        if (piece.way == PEER_NCCL) return STATUS_OK; /* at is 0: what is left only shrinks */
        peer_move part = *whole;
        part.send = (const char *)whole->send + at;
        part.receive = (char *)whole->receive + at;
        part.size = piece.bytes;
        STATUS_TRY(cuda_status(peer_kernels_move(view, &part, piece, s->memory.stream), what, detail));
        at += piece.bytes;
    }
    *done = true;
    return STATUS_OK;
}

static status peer_all_gather(void *state, const void *piece, size_t size, void *out, status_detail *detail)
{
    peer_state *s = state;
    bool done, in_place = piece == (char *)out + (size_t)s->memory.view.rank * size;
    peer_move move = {.send = piece, .receive = out, .size = size, .receive_stride = size, .root = -1, .keep_own = in_place};
    STATUS_TRY(move_pieces(s, &move, "all-gather", &done, detail));
    return done ? STATUS_OK : nccl_link_all_gather(s->nccl, piece, size, out, detail);
}

static status peer_broadcast(void *state, void *data, size_t size, int root, status_detail *detail)
{
    peer_state *s = state;
    bool done;
    peer_move move = {.send = data, .receive = data, .size = size, .root = root, .keep_own = true};
    STATUS_TRY(move_pieces(s, &move, "broadcast", &done, detail));
    return done ? STATUS_OK : nccl_link_broadcast(s->nccl, data, size, root, detail);
}

static bool all_equal(const transport_items *items, int n_ranks)
{
    for (int r = 0; r < n_ranks; r++)
        if (items->counts[r] != items->counts[0] || items->offsets[r] != r * items->counts[0]) return false;
    return true;
}

static status peer_all_to_all(void *state, size_t item_size, const void *from, transport_items send, void *to,
                              transport_items receive, status_detail *detail)
{
    peer_state *s = state;
    int n_ranks = s->memory.view.n_ranks;
    bool done;
    if (!all_equal(&send, n_ranks) || !all_equal(&receive, n_ranks) || send.counts[0] != receive.counts[0])
        return status_fail(detail, STATUS_INTERNAL, "all-to-all on a device: the same count for every rank is wanted");
    size_t size = (size_t)send.counts[0] * item_size;
    peer_move move = {
        .send = from, .receive = to, .size = size, .send_stride = size, .receive_stride = size, .root = -1, .keep_own = false};
    STATUS_TRY(move_pieces(s, &move, "all-to-all", &done, detail));
    return done ? STATUS_OK : nccl_link_all_to_all(s->nccl, item_size, from, send, to, receive, detail);
}

const transport transport_peer = {
    .name = "peer",
    .serves = peer_serves,
    .open = peer_open,
    .close = peer_close,
    .all_reduce = peer_all_reduce,
    .all_gather = peer_all_gather,
    .broadcast = peer_broadcast,
    .all_reduce_add_norm = peer_all_reduce_add_norm,
    .all_to_all = peer_all_to_all,
    .exchange = &exchange_device,
};
