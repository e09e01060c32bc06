/* Device memory over NCCL: any group whose ranks each have a GPU of their own, on one host or several. */
#include "comm/transport.h"

#include <stdlib.h>

#include "comm/cuda/device_group.h"
#include "comm/cuda/nccl_link.h"

static bool nccl_serves(const transport_group *group, status_detail *why)
{
    /* A library that does not fit is no reason to take another transport in silence: opening fails. */
    return device_group_serves(group, why) && nccl_link_check(why) != STATUS_USAGE;
}

static status nccl_open(const transport_group *group, void **state, status_detail *detail)
{
    device_group devices;
    nccl_link *link;
    STATUS_TRY(device_group_open(group, &devices, detail));
    status code = nccl_link_open(&devices, &link, detail);
    device_group_close(&devices);
    if (code == STATUS_OK) *state = link;
    return code;
}

static void nccl_close(void *state) { nccl_link_close(state); }

static status nccl_all_reduce(void *state, void *data, size_t count, dtype type, status_detail *detail)
{
    return nccl_link_all_reduce(state, data, count, type, detail);
}

static status nccl_all_gather(void *state, const void *piece, size_t size, void *out, status_detail *detail)
{
    return nccl_link_all_gather(state, piece, size, out, detail);
}

static status nccl_broadcast(void *state, void *data, size_t size, int root, status_detail *detail)
{
    return nccl_link_broadcast(state, data, size, root, detail);
}

static status nccl_all_to_all(void *state, size_t item_size, const void *from, transport_items send, void *to,
                              transport_items receive, status_detail *detail)
{
    return nccl_link_all_to_all(state, item_size, from, send, to, receive, detail);
}

const transport transport_nccl = {
    .name = "nccl",
    .serves = nccl_serves,
    .open = nccl_open,
    .close = nccl_close,
    .all_reduce = nccl_all_reduce,
    .all_gather = nccl_all_gather,
    .broadcast = nccl_broadcast,
    .all_reduce_add_norm = NULL,
    .all_to_all = nccl_all_to_all,
    .exchange = &exchange_device,
};
