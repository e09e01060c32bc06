/* A group of one rank: sums and broadcasts are done already, and what travels is copied. On device memory only what needs
 * no copy works, which is what a world of one does. */
#include "comm/transport.h"

#include <stdlib.h>
#include <string.h>

typedef struct self_state {
    bool host_memory;
} self_state;

static bool self_serves(const transport_group *group, status_detail *why)
{
    if (group->size == 1) return true;
    status_fail(why, STATUS_USAGE, "serves a group of one rank, and this one has %d", group->size);
    return false;
}

static status self_open(const transport_group *group, void **state, status_detail *detail)
{
    self_state *s = malloc(sizeof *s);
    if (!s) return status_fail(detail, STATUS_MACHINE, "transport self: out of memory");
    s->host_memory = group->options.host_memory;
    *state = s;
    return STATUS_OK;
}

static void self_close(void *state) { free(state); }

static status self_all_reduce(void *state, void *data, size_t count, dtype type, status_detail *detail)
{
    (void)state, (void)data, (void)count, (void)type, (void)detail;
    return STATUS_OK;
}

static status self_all_gather(void *state, const void *piece, size_t size, void *out, status_detail *detail)
{
    const self_state *s = state;
    if (piece == out) return STATUS_OK;
    if (!s->host_memory)
        return status_fail(detail, STATUS_INTERNAL,
                           "transport self: all-gather on device memory wants the piece at its place in the output");
    memmove(out, piece, size);
    return STATUS_OK;
}

static status self_broadcast(void *state, void *data, size_t size, int root, status_detail *detail)
{
    (void)state, (void)data, (void)size, (void)root, (void)detail;
    return STATUS_OK;
}

static status self_all_to_all(void *state, size_t item_size, const void *from, transport_items send, void *to,
                              transport_items receive, status_detail *detail)
{
    (void)state, (void)receive, (void)detail;
    if (send.counts[0]) memcpy(to, from, item_size * (size_t)send.counts[0]);
    return STATUS_OK;
}

const transport transport_self = {
    .name = "self",
    .serves = self_serves,
    .open = self_open,
    .close = self_close,
    .all_reduce = self_all_reduce,
    .all_gather = self_all_gather,
    .broadcast = self_broadcast,
    .all_reduce_add_norm = NULL,
    .all_to_all = self_all_to_all,
    .exchange = &exchange_host,
};
