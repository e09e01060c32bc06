/* Host memory over MPI.
 *
 * MPI leaves the order of a sum to its implementation, and it changes with size and number of ranks. Here MPI only moves
 * bytes, and ordered_sum() adds: small messages are gathered everywhere and added everywhere; for large ones each rank adds
 * one slice and all gather the slices. Both ways give the same bits. */
#include "comm/transport.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "comm/mpi_status.h"
#include "comm/ordered_sum.h"

/* Up to here one collective with every byte sent to every rank beats two with a share each (measured: README.md). */
#define SMALL_BYTES ((size_t)32 << 10)
#define MAX_PIECE ((size_t)1 << 30) /* bytes; MPI counts are ints */

typedef struct mpi_state {
    MPI_Comm ranks; /* the group's */
    int rank, size;
    size_t piece;        /* bytes that one round of a large all-reduce takes; a multiple of 4 */
    unsigned char *work; /* [max(piece, size * SMALL_BYTES)] what the other ranks sent */
    const void **parts;  /* [size] */
    int *counts, *offsets; /* [2 * size] each: of what is sent, then of what is received; bytes */
} mpi_state;

static bool mpi_serves(const transport_group *group, status_detail *why)
{
    if (group->ranks == MPI_COMM_NULL) {
        status_fail(why, STATUS_USAGE, "wants an MPI launcher; start with mpirun");
        return false;
    }
    if (!group->options.host_memory) {
        status_fail(why, STATUS_USAGE, "moves host memory only, and these buffers are device memory");
        return false;
    }
    return true;
}

static void mpi_close(void *state)
{
    mpi_state *s = state;
    free(s->offsets);
    free(s->counts);
    free(s->parts);
    free(s->work);
    free(s);
}

static status mpi_open(const transport_group *group, void **state, status_detail *detail)
{
    mpi_state *s = calloc(1, sizeof *s);
    if (!s) return status_fail(detail, STATUS_MACHINE, "transport mpi: out of memory");
    size_t n = (size_t)group->size, piece = group->options.max_bytes;
    if (piece < SMALL_BYTES) piece = SMALL_BYTES;
    if (piece > MAX_PIECE) piece = MAX_PIECE;
    s->ranks = group->ranks;
    s->rank = group->rank;
    s->size = group->size;
    s->piece = piece / 4 * 4 + 4 * n; /* a slice may be one element longer than its share */
    size_t work = s->piece > n * SMALL_BYTES ? s->piece : n * SMALL_BYTES;
    s->work = malloc(work);
    s->parts = calloc(n, sizeof *s->parts);
    s->counts = calloc(2 * n, sizeof *s->counts);
    s->offsets = calloc(2 * n, sizeof *s->offsets);
    if (!s->work || !s->parts || !s->counts || !s->offsets) {
        mpi_close(s);
        return status_fail(detail, STATUS_MACHINE, "transport mpi: no memory for %zu bytes of workspace", work);
    }
    *state = s;
    return STATUS_OK;
}

static status reduce_small(mpi_state *s, void *data, size_t count, dtype type, status_detail *detail)
{
    int bytes = (int)(count * dtype_size(type));
    STATUS_TRY(mpi_status(MPI_Allgather(data, bytes, MPI_BYTE, s->work, bytes, MPI_BYTE, s->ranks), "all-reduce", detail));
    for (int r = 0; r < s->size; r++) s->parts[r] = s->work + (size_t)r * (size_t)bytes;
    ordered_sum(s->parts, s->size, count, type, data);
    return STATUS_OK;
}

/* Slice r is elements [r * count / size, (r + 1) * count / size). */
static status reduce_large(mpi_state *s, void *data, size_t count, dtype type, status_detail *detail)
{
    size_t n = (size_t)s->size, me = (size_t)s->rank, each = dtype_size(type);
    size_t mine = (me + 1) * count / n - me * count / n;
    int *slices = s->counts, *slice_offsets = s->offsets, *received = s->counts + n, *received_offsets = s->offsets + n;
    for (size_t r = 0; r < n; r++) {
        size_t from = r * count / n, to = (r + 1) * count / n;
        slices[r] = (int)((to - from) * each);
        slice_offsets[r] = (int)(from * each);
        received[r] = (int)(mine * each);
        received_offsets[r] = (int)(r * mine * each);
        s->parts[r] = s->work + r * mine * each;
    }
    STATUS_TRY(mpi_status(MPI_Alltoallv(data, slices, slice_offsets, MPI_BYTE, s->work, received, received_offsets,
                                        MPI_BYTE, s->ranks),
                          "all-reduce", detail));
    ordered_sum(s->parts, s->size, mine, type, (char *)data + slice_offsets[me]);
    return mpi_status(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, slices, slice_offsets, MPI_BYTE, s->ranks),
                      "all-reduce", detail);
}

static status mpi_all_reduce(void *state, void *data, size_t count, dtype type, status_detail *detail)
{
    mpi_state *s = state;
    size_t each = dtype_size(type), most = s->piece / each - (size_t)s->size;
    for (size_t done = 0; done < count;) {
        size_t n = count - done < most ? count - done : most;
        void *at = (char *)data + done * each;
        if (n * each <= SMALL_BYTES)
            STATUS_TRY(reduce_small(s, at, n, type, detail));
        else
            STATUS_TRY(reduce_large(s, at, n, type, detail));
        done += n;
    }
    return STATUS_OK;
}

static status mpi_all_gather(void *state, const void *piece, size_t size, void *out, status_detail *detail)
{
    mpi_state *s = state;
    if (size > INT_MAX)
        return status_fail(detail, STATUS_INTERNAL, "all-gather: a piece of %zu bytes; at most %d", size, INT_MAX);
    bool in_place = piece == (char *)out + (size_t)s->rank * size;
    return mpi_status(MPI_Allgather(in_place ? MPI_IN_PLACE : piece, (int)size, MPI_BYTE, out, (int)size, MPI_BYTE, s->ranks),
                      "all-gather", detail);
}

static status mpi_broadcast(void *state, void *data, size_t size, int root, status_detail *detail)
{
    mpi_state *s = state;
    for (size_t done = 0; done < size;) {
        size_t piece = size - done < MAX_PIECE ? size - done : MAX_PIECE;
        STATUS_TRY(mpi_status(MPI_Bcast((char *)data + done, (int)piece, MPI_BYTE, root, s->ranks), "broadcast", detail));
        done += piece;
    }
    return STATUS_OK;
}

/* Counts and offsets in items of a type of their own, so that bytes may exceed an int. */
static status mpi_all_to_all(void *state, size_t item_size, const void *from, transport_items send, void *to,
                             transport_items receive, status_detail *detail)
{
    mpi_state *s = state;
    MPI_Datatype item;
    if (item_size > INT_MAX)
        return status_fail(detail, STATUS_INTERNAL, "all-to-all: an item of %zu bytes; at most %d", item_size, INT_MAX);
    STATUS_TRY(mpi_status(MPI_Type_contiguous((int)item_size, MPI_BYTE, &item), "all-to-all", detail));
    status code = mpi_status(MPI_Type_commit(&item), "all-to-all", detail);
    if (code == STATUS_OK)
        code = mpi_status(MPI_Alltoallv(from, send.counts, send.offsets, item, to, receive.counts, receive.offsets, item,
                                        s->ranks),
                          "all-to-all", detail);
    MPI_Type_free(&item);
    return code;
}

const transport transport_mpi = {
    .name = "mpi",
    .serves = mpi_serves,
    .open = mpi_open,
    .close = mpi_close,
    .all_reduce = mpi_all_reduce,
    .all_gather = mpi_all_gather,
    .broadcast = mpi_broadcast,
    .all_reduce_add_norm = NULL,
    .all_to_all = mpi_all_to_all,
    .exchange = &exchange_host,
};
