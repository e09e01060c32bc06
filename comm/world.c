#include "comm/world_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "comm/launcher.h"
#include "comm/mpi_status.h"
#include "comm/watch.h"

#define JOIN_LIMIT_MS 20000
#define BROADCAST_PIECE ((size_t)1 << 30) /* MPI counts are ints */

struct world {
    int rank, size;
    int local_rank, local_size;
    bool with_zero;   /* rank 0 is on this host */
    MPI_Comm all;     /* MPI_COMM_NULL: no launcher, and MPI was never initialised */
    watch *links;     /* NULL in a world of one */
    note_board *notes; /* rank 0's; NULL elsewhere */
};

MPI_Comm world_communicator(const world *w) { return w->all; }

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static status start_mpi(const launcher *l, status_detail *detail)
{
    int initialised = 0, provided = MPI_THREAD_SINGLE;
    MPI_Initialized(&initialised);
    if (initialised) return status_fail(detail, STATUS_INTERNAL, "world: MPI can be started once per process");
    launcher_prepare(l);
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return status_fail(detail, STATUS_MACHINE, "world: MPI_Init failed; try the launcher with another program");
    if (provided >= MPI_THREAD_FUNNELED) return STATUS_OK;
    MPI_Finalize();
    return status_fail(detail, STATUS_MACHINE, "world: this MPI allows no threads beside it (MPI_THREAD_FUNNELED)");
}

/* Fills in ranks, sizes and hosts. */
static status survey(world *w, status_detail *detail)
{
    MPI_Comm host = MPI_COMM_NULL;
    STATUS_TRY(mpi_status(MPI_Comm_dup(MPI_COMM_WORLD, &w->all), "world: MPI_Comm_dup", detail));
    MPI_Comm_set_errhandler(w->all, MPI_ERRORS_RETURN);
    MPI_Comm_rank(w->all, &w->rank);
    MPI_Comm_size(w->all, &w->size);
    STATUS_TRY(mpi_status(MPI_Comm_split_type(w->all, MPI_COMM_TYPE_SHARED, w->rank, MPI_INFO_NULL, &host),
                          "world: MPI_Comm_split_type", detail));
    MPI_Comm_rank(host, &w->local_rank);
    MPI_Comm_size(host, &w->local_size);
    int first = w->rank; /* of this host, as local ranks follow world ranks */
    status code = mpi_status(MPI_Bcast(&first, 1, MPI_INT, 0, host), "world: MPI_Bcast on this host", detail);
    w->with_zero = first == 0;
    MPI_Comm_free(&host);
    return code;
}

static status open_notes(world *w, status_detail *detail)
{
    w->notes = note_board_open(w->size);
    if (!w->notes) return status_fail(detail, STATUS_MACHINE, "world: out of memory");
    if (w->links) watch_keep_notes(w->links, w->notes);
    return STATUS_OK;
}

/* Connects the watch. Each step ends in an agreement, so that a failure of one rank ends the step on all; ranks that wait
 * for it are inside MPI, which some networks need to move at all. */
static status connect_watch(world *w, world_lost_fn lost, void *user, status_detail *detail)
{
    watch_card card;
    memset(&card, 0, sizeof card);
    bool speaks;
    status code = STATUS_OK;
    if (w->rank == 0) code = watch_listen(w->size, w->local_size < w->size, lost, user, &w->links, &card, detail);
    if (w->rank == 0 && code == STATUS_OK) code = open_notes(w, detail);
    STATUS_TRY(world_agree(w, code, detail, &speaks));
    STATUS_TRY(world_broadcast(w, &card, sizeof card, detail));
    if (w->rank != 0) code = watch_join(w->rank, &card, w->with_zero, JOIN_LIMIT_MS, lost, user, &w->links, detail);
    STATUS_TRY(world_agree(w, code, detail, &speaks));
    if (w->rank == 0) code = watch_wait_joined(w->links, JOIN_LIMIT_MS, detail);
    return world_agree(w, code, detail, &speaks);
}

static status open_with_mpi(world *w, const launcher *l, world_lost_fn lost, void *user, status_detail *detail)
{
    STATUS_TRY(start_mpi(l, detail));
    status code = survey(w, detail);
    if (code == STATUS_OK) code = w->size > 1 ? connect_watch(w, lost, user, detail) : open_notes(w, detail);
    if (code == STATUS_OK) return STATUS_OK;

    /* No connection may end while another rank's watch still runs. */
    if (w->links) watch_stop(w->links);
    if (w->all != MPI_COMM_NULL) MPI_Barrier(w->all);
    watch_close(w->links);
    note_board_close(w->notes);
    if (w->all != MPI_COMM_NULL) MPI_Comm_free(&w->all);
    MPI_Finalize();
    if (detail && w->rank != 0) detail->text[0] = '\0';
    return code;
}

status world_open(world_lost_fn lost, void *user, world **out, status_detail *detail)
{
    world *w = malloc(sizeof *w);
    if (!w) return status_fail(detail, STATUS_MACHINE, "world: out of memory");
    *w = (world){.size = 1, .local_size = 1, .with_zero = true, .all = MPI_COMM_NULL};
    launcher l = launcher_read(getenv);
    status code = l.present ? open_with_mpi(w, &l, lost, user, detail) : open_notes(w, detail);
    if (code != STATUS_OK) {
        free(w);
        return code;
    }
    *out = w;
    return STATUS_OK;
}

void world_close(world *w)
{
    if (!w) return;
    if (w->all != MPI_COMM_NULL) {
        MPI_Comm_free(&w->all);
        MPI_Finalize(); /* before the goodbye: it waits for the others, and one of them may die meanwhile */
    }
    if (w->links) watch_goodbye(w->links);
    watch_close(w->links);
    note_board_close(w->notes);
    free(w);
}

int world_rank(const world *w) { return w->rank; }
int world_size(const world *w) { return w->size; }
int world_local_rank(const world *w) { return w->local_rank; }
int world_local_size(const world *w) { return w->local_size; }

/* ---- host messages ------------------------------------------------------------------------------------------------ */

status world_broadcast(world *w, void *data, size_t size, status_detail *detail)
{
    if (w->size == 1) return STATUS_OK;
    for (size_t done = 0; done < size;) {
        size_t piece = size - done < BROADCAST_PIECE ? size - done : BROADCAST_PIECE;
        STATUS_TRY(mpi_status(MPI_Bcast((char *)data + done, (int)piece, MPI_BYTE, 0, w->all), "host broadcast", detail));
        done += piece;
    }
    return STATUS_OK;
}

status world_gather(world *w, const void *mine, size_t each, void *all, status_detail *detail)
{
    if (each > INT_MAX)
        return status_fail(detail, STATUS_INTERNAL, "host gather: %zu bytes a rank; at most %d", each, INT_MAX);
    if (w->size == 1) {
        if (each) memmove(all, mine, each);
        return STATUS_OK;
    }
    return mpi_status(MPI_Gather(mine, (int)each, MPI_BYTE, all, (int)each, MPI_BYTE, 0, w->all), "host gather", detail);
}

status world_min_i64(world *w, int64_t *value, status_detail *detail)
{
    if (w->size == 1) return STATUS_OK;
    int64_t least;
    STATUS_TRY(mpi_status(MPI_Allreduce(value, &least, 1, MPI_INT64_T, MPI_MIN, w->all), "host minimum", detail));
    *value = least;
    return STATUS_OK;
}

void world_barrier(world *w)
{
    status_detail ignored; /* a barrier that fails means a lost rank, which the watch reports */
    if (w->size > 1) (void)mpi_status(MPI_Barrier(w->all), "barrier", &ignored);
}

/* ---- agreement ---------------------------------------------------------------------------------------------------- */

typedef struct verdict {
    int32_t code;
    status_detail detail;
} verdict;

status world_agree(world *w, status mine, status_detail *detail, bool *speaks)
{
    int failing = mine == STATUS_OK ? w->size : w->rank, first = failing;
    if (speaks) *speaks = false;
    if (w->size > 1)
        STATUS_TRY(mpi_status(MPI_Allreduce(&failing, &first, 1, MPI_INT, MPI_MIN, w->all), "agreement", detail));
    if (first == w->size) return STATUS_OK;

    verdict v;
    memset(&v, 0, sizeof v);
    v.code = mine;
    if (w->rank == first && detail) v.detail = *detail;
    if (w->size > 1)
        STATUS_TRY(mpi_status(MPI_Bcast(&v, sizeof v, MPI_BYTE, first, w->all), "agreement", detail));
    if (detail && w->rank != first) *detail = v.detail;
    if (detail && first != 0) status_prefix(detail, (status)v.code, "rank %d", first);
    if (speaks) *speaks = w->rank == 0;
    return (status)v.code;
}

/* ---- waiting, and what travels by the watch --------------------------------------------------------------------------- */

void world_park(world *w)
{
    if (w->rank != 0) watch_park(w->links);
}

void world_wake(world *w)
{
    if (w->links && w->rank == 0) watch_wake(w->links);
}

void world_signal_zero(world *w)
{
    if (w->links && w->rank != 0) watch_signal_zero(w->links);
}

void world_post_note(world *w, const void *note, size_t size)
{
    if (w->notes) note_board_put(w->notes, w->rank, note, size);
    else watch_post_note(w->links, note, size);
}

bool world_read_note(world *w, int rank, void *note, size_t size, double *age)
{
    return w->notes && note_board_get(w->notes, rank, note, size, age);
}

void world_say_failed(world *w)
{
    if (w->links) watch_say_failed(w->links);
}

void world_on_signal(world *w, void (*fn)(void *user, int from_rank), void *user)
{
    if (w->links && w->rank == 0) watch_on_signal(w->links, fn, user);
}
