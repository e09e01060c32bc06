#include "comm/comm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm_internal.h"
#include "comm/mpi_status.h"
#include "comm/world_internal.h"

#define DEFAULT_MAX_BYTES ((size_t)1 << 20)

/* In order of preference: the first that can serve all ranks of a group wins. */
static const transport *const transports[] = {
    &transport_self,
    &transport_mpi,
#ifdef GPTOSS_CUDA
    &transport_peer,
    &transport_nccl,
#endif
};
enum { N_TRANSPORTS = sizeof transports / sizeof *transports };

struct comm {
    transport_group group;
    const transport *via;
    void *state; /* the transport's */
};

const transport_group *comm_group(const comm *c) { return &c->group; }

const transport *comm_chosen(const comm *c, void **state)
{
    *state = c->state;
    return c->via;
}

status comm_agree(const comm *c, status mine, const char *what, status_detail *detail)
{
    if (c->group.size == 1) return mine;
    int failed = mine != STATUS_OK, any = 0;
    STATUS_TRY(mpi_status(MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, c->group.ranks), what, detail));
    if (mine != STATUS_OK || !any) return mine;
    return status_fail(detail, STATUS_PEER, "%s: another rank of the group failed", what);
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static bool is_auto(const comm_options *o) { return strcmp(o->transport, "auto") == 0; }

static status check_options(int color, const comm_options *options, status_detail *detail)
{
    if (color < 0) return status_fail(detail, STATUS_INTERNAL, "comm: color %d; it must not be negative", color);
    if (!options || !options->transport) return status_fail(detail, STATUS_INTERNAL, "comm: no transport named");
    if (is_auto(options)) return STATUS_OK;
    char known[256] = "auto";
    for (int i = 0; i < N_TRANSPORTS; i++) {
        if (strcmp(options->transport, transports[i]->name) == 0) return STATUS_OK;
        strncat(known, ", ", sizeof known - strlen(known) - 1);
        strncat(known, transports[i]->name, sizeof known - strlen(known) - 1);
    }
    return status_fail(detail, STATUS_USAGE, "unknown transport \"%s\"; this build knows %s", options->transport, known);
}

/* Splits the world. Collective over it. */
static status make_group(world *w, int color, const comm_options *options, transport_group *group, status_detail *detail)
{
    *group = (transport_group){.ranks = MPI_COMM_NULL, .size = 1, .options = *options};
    if (!options->max_bytes) group->options.max_bytes = DEFAULT_MAX_BYTES;
    MPI_Comm all = world_communicator(w);
    if (all == MPI_COMM_NULL) return STATUS_OK;
    STATUS_TRY(mpi_status(MPI_Comm_split(all, color, world_rank(w), &group->ranks), "comm: MPI_Comm_split", detail));
    MPI_Comm_set_errhandler(group->ranks, MPI_ERRORS_RETURN);
    MPI_Comm_rank(group->ranks, &group->rank);
    MPI_Comm_size(group->ranks, &group->size);
    return STATUS_OK;
}

/* What this rank could use of what the options allow, as bits. *why tells of each transport that it could not. */
static unsigned can_use(const transport_group *group, status_detail *why)
{
    unsigned bits = 0;
    size_t used = 0;
    why->text[0] = '\0';
    for (int i = 0; i < N_TRANSPORTS; i++) {
        const transport *t = transports[i];
        if (!is_auto(&group->options) && strcmp(group->options.transport, t->name) != 0) continue;
        status_detail one = {"cannot serve"};
        if (t->serves(group, &one)) {
            bits |= 1u << i;
        } else if (used < sizeof why->text) {
            used += (size_t)snprintf(why->text + used, sizeof why->text - used, "%stransport \"%s\" %.200s",
                                     used ? "; " : "", t->name, one.text);
        }
    }
    return bits;
}

/* All ranks of a group must take the same one: *common gets those that every rank could use, as bits. */
static status survey(const transport_group *group, unsigned *common, status_detail *detail)
{
    status_detail why;
    unsigned mine = can_use(group, &why);
    *common = mine;
    if (group->size > 1)
        STATUS_TRY(mpi_status(MPI_Allreduce(&mine, common, 1, MPI_UNSIGNED, MPI_BAND, group->ranks),
                              "comm: choice of transport", detail));
    if (*common) return STATUS_OK;
    if (mine)
        return status_fail(detail, STATUS_USAGE, "transport \"%s\": another rank of the group cannot use it",
                           group->options.transport);
    return status_fail(detail, STATUS_USAGE, "no way between the %d ranks of a group: %s", group->size, why.text);
}

/* Opens the first of `common` that serves the group after all. If none does, the detail says why of each. */
static status open_first(comm *c, unsigned common, status_detail *detail)
{
    status code = STATUS_OK;
    status_detail why = {""};
    size_t used = 0;
    for (int i = 0; i < N_TRANSPORTS; i++) {
        if (!(common & 1u << i)) continue;
        c->via = transports[i];
        code = c->via->open(&c->group, &c->state, detail);
        if (code != STATUS_USAGE) return code;
        if (used < sizeof why.text)
            used += (size_t)snprintf(why.text + used, sizeof why.text - used, "%stransport \"%s\" %.300s", used ? "; " : "",
                                     c->via->name, detail ? detail->text : "");
    }
    return status_fail(detail, code, "%s", why.text);
}

status comm_open(world *w, int color, const comm_options *options, comm **out, status_detail *detail)
{
    STATUS_TRY(world_agree(w, check_options(color, options, detail), detail, NULL));
    comm *c = calloc(1, sizeof *c);
    status code = c ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "comm: out of memory");
    code = world_agree(w, code, detail, NULL);
    if (code != STATUS_OK) goto free_comm;
    unsigned common = 0;
    code = make_group(w, color, options, &c->group, detail);
    if (code == STATUS_OK) code = survey(&c->group, &common, detail);
    code = world_agree(w, code, detail, NULL);
    if (code != STATUS_OK) goto free_group;
    code = open_first(c, common, detail);
    bool opened = code == STATUS_OK;
    code = world_agree(w, code, detail, NULL);
    if (code != STATUS_OK) {
        if (opened) c->via->close(c->state);
        goto free_group;
    }
    *out = c;
    return STATUS_OK;

free_group:
    if (c->group.ranks != MPI_COMM_NULL) MPI_Comm_free(&c->group.ranks);
free_comm:
    free(c);
    return code;
}

void comm_close(comm *c)
{
    if (!c) return;
    c->via->close(c->state);
    if (c->group.ranks != MPI_COMM_NULL) MPI_Comm_free(&c->group.ranks);
    free(c);
}

int comm_rank(const comm *c) { return c->group.rank; }
int comm_size(const comm *c) { return c->group.size; }
const char *comm_transport(const comm *c) { return c->via->name; }

/* ---- collectives -------------------------------------------------------------------------------------------------- */

static status check_buffer(const char *what, const void *data, size_t count, dtype type, size_t pieces,
                           status_detail *detail)
{
    if (count && !data) return status_fail(detail, STATUS_INTERNAL, "%s: no buffer for %zu elements", what, count);
    if (count > SIZE_MAX / dtype_size(type) / pieces)
        return status_fail(detail, STATUS_INTERNAL, "%s: %zu elements overflow the address space", what, count);
    return STATUS_OK;
}

status comm_all_reduce(comm *c, void *data, size_t count, dtype type, status_detail *detail)
{
    STATUS_TRY(check_buffer("all-reduce", data, count, type, 1, detail));
    if (type != DTYPE_F32 && type != DTYPE_BF16)
        return status_fail(detail, STATUS_INTERNAL, "all-reduce: element type %d; it adds F32 and BF16", (int)type);
    if (!count) return STATUS_OK;
    return c->via->all_reduce(c->state, data, count, type, detail);
}

status comm_all_reduce_add_norm(comm *c, const comm_add_norm *what, bool *done, status_detail *detail)
{
    const void *buffers[] = {what->delta, what->x, what->norm, what->normed};
    if (what->rows < 0 || what->hidden < 1 || (what->type != DTYPE_F32 && what->type != DTYPE_BF16))
        return status_fail(detail, STATUS_INTERNAL, "all-reduce and norm: %d rows of %d elements of type %d", what->rows,
                           what->hidden, (int)what->type);
    for (size_t i = 0; what->rows && i < sizeof buffers / sizeof *buffers; i++)
        if (!buffers[i]) return status_fail(detail, STATUS_INTERNAL, "all-reduce and norm: no buffer for %d rows", what->rows);
    *done = what->rows == 0;
    if (*done || !c->via->all_reduce_add_norm) return STATUS_OK;
    return c->via->all_reduce_add_norm(c->state, what, done, detail);
}

status comm_all_gather(comm *c, const void *piece, size_t count, dtype type, void *out, status_detail *detail)
{
    STATUS_TRY(check_buffer("all-gather", piece, count, type, (size_t)c->group.size, detail));
    STATUS_TRY(check_buffer("all-gather", out, count, type, (size_t)c->group.size, detail));
    if (!count) return STATUS_OK;
    return c->via->all_gather(c->state, piece, count * dtype_size(type), out, detail);
}

status comm_broadcast(comm *c, void *data, size_t count, dtype type, int root, status_detail *detail)
{
    STATUS_TRY(check_buffer("broadcast", data, count, type, 1, detail));
    if (root < 0 || root >= c->group.size)
        return status_fail(detail, STATUS_INTERNAL, "broadcast: root %d of a group of %d", root, c->group.size);
    if (!count) return STATUS_OK;
    return c->via->broadcast(c->state, data, count * dtype_size(type), root, detail);
}
