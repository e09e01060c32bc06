/* Stands in for nccl_link.c in a build without NCCL: nothing opens, so nothing else is ever called. */
#include "comm/cuda/nccl_link.h"

int nccl_link_version(void) { return 0; }

status nccl_link_check(status_detail *detail)
{
    return status_fail(detail, STATUS_USAGE, "needs NCCL, which this build was made without");
}

status nccl_link_open(const device_group *g, nccl_link **out, status_detail *detail)
{
    (void)g, (void)out;
    return nccl_link_check(detail);
}

void nccl_link_close(nccl_link *link) { (void)link; }

status nccl_link_all_reduce(nccl_link *link, void *data, size_t count, dtype type, status_detail *detail)
{
    (void)link, (void)data, (void)count, (void)type;
    return nccl_link_check(detail);
}

status nccl_link_all_gather(nccl_link *link, const void *piece, size_t size, void *out, status_detail *detail)
{
    (void)link, (void)piece, (void)size, (void)out;
    return nccl_link_check(detail);
}

status nccl_link_broadcast(nccl_link *link, void *data, size_t size, int root, status_detail *detail)
{
    (void)link, (void)data, (void)size, (void)root;
    return nccl_link_check(detail);
}

status nccl_link_all_to_all(nccl_link *link, size_t item_size, const void *from, transport_items send, void *to,
                            transport_items receive, status_detail *detail)
{
    (void)link, (void)item_size, (void)from, (void)send, (void)to, (void)receive;
    return nccl_link_check(detail);
}
