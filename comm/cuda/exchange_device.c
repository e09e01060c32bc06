/* The expert exchange on device memory, over a transport's all_gather and all_to_all. No step waits for the host, so that
 * all of it can be captured into a graph: sizes follow from `max_rows`, which all ranks know.
 *
 * Row i of rank r arrives everywhere at place r * max_rows + i. Every rank gets every row, and its choices with the ids of
 * other ranks' experts turned to -1. Packing by destination would save nothing: what a rank sends another must have room
 * for all its rows, as the host cannot know how many they are. On the way back each rank returns to each other what it
 * made of that rank's rows, zeros included, and the source adds those of the ranks it chose. */
#include "comm/transport.h"

#include <stdlib.h>

#include "comm/cuda/cuda_status.h"
#include "comm/cuda/device_group.h"
#include "comm/cuda/exchange_kernels.h"

typedef struct device_exchange {
    const transport *via; /* not owned, nor is its state */
    void *state;
    cudaStream_t stream;
    exchange_shape shape;
    int rank, n_ranks;
    size_t row_bytes, choice_bytes; /* of a row; of its ids and weights */

    int n_rows, max_rows;   /* of the last dispatch; max_rows here is the call's */
    unsigned char *rows;    /* [n_ranks, max_rows, row_size] everybody's */
    unsigned char *choices; /* [n_ranks] of one rank's choices (exchange_kernels.h) */
    int32_t *experts;       /* [n_ranks * max_rows, top_k] this rank's share of them */
    float *weights;         /* the same */
    unsigned char *home;    /* [n_ranks, max_rows, row_size] what came back */
    int *counts, *offsets;  /* host, [n_ranks] rows, for all_to_all */
} device_exchange;

static void device_close(void *made)
{
    device_exchange *x = made;
    cudaStreamSynchronize(x->stream);
    free(x->offsets);
    free(x->counts);
    cudaFree(x->home);
    cudaFree(x->weights);
    cudaFree(x->experts);
    cudaFree(x->choices);
    cudaFree(x->rows);
    free(x);
}

static status take(void **out, size_t bytes, status_detail *detail)
{
    return cuda_status(cudaMalloc(out, bytes), "exchange: device memory", detail);
}

static status take_buffers(device_exchange *x, status_detail *detail)
{
    size_t n = (size_t)x->n_ranks, all = n * (size_t)x->shape.max_rows, top_k = (size_t)x->shape.top_k;
    x->counts = calloc(n, sizeof *x->counts);
    x->offsets = calloc(n, sizeof *x->offsets);
    if (!x->counts || !x->offsets) return status_fail(detail, STATUS_MACHINE, "exchange: out of memory");
    STATUS_TRY(take((void **)&x->rows, all * x->row_bytes, detail));
    STATUS_TRY(take((void **)&x->choices, all * x->choice_bytes, detail));
    STATUS_TRY(take((void **)&x->experts, all * top_k * sizeof *x->experts, detail));
    STATUS_TRY(take((void **)&x->weights, all * top_k * sizeof *x->weights, detail));
    STATUS_TRY(take((void **)&x->home, all * x->row_bytes, detail));
    /* Rows that nobody ever wrote are received too: nobody uses them, but they must not be NaNs of chance. */
    STATUS_TRY(cuda_status(cudaMemsetAsync(x->rows, 0, all * x->row_bytes, x->stream), "exchange: cudaMemset", detail));
    return cuda_status(cudaStreamSynchronize(x->stream), "exchange: cudaMemset", detail);
}

static status return_rows(device_exchange *x, const void *returned, int max_rows, status_detail *detail)
{
    for (int r = 0; r < x->n_ranks; r++) {
        x->counts[r] = max_rows;
        x->offsets[r] = r * max_rows;
    }
    transport_items equal = {x->counts, x->offsets};
    return x->via->all_to_all(x->state, x->row_bytes, returned, equal, x->home, equal, detail);
}

/* Transports make some connections when they are first used: here, not in a step. Collective. */
static status warm_up(device_exchange *x, status_detail *detail)
{
    STATUS_TRY(return_rows(x, x->rows, 1, detail));
    return cuda_status(cudaStreamSynchronize(x->stream), "exchange: first use", detail);
}

static status device_open(const transport *t, void *state, const transport_group *group, const exchange_shape *shape,
                          void **made, status_detail *detail)
{
    device_exchange *x = calloc(1, sizeof *x);
    status code = x ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "exchange: out of memory");
    code = device_group_agree(group->ranks, code, detail);
    if (code != STATUS_OK) {
        free(x);
        return code;
    }
    x->via = t;
    x->state = state;
    x->stream = group->options.stream;
    x->shape = *shape;
    x->rank = group->rank;
    x->n_ranks = group->size;
    x->row_bytes = (size_t)shape->row_size * dtype_size(shape->type);
    x->choice_bytes = (size_t)shape->top_k * (sizeof(int32_t) + sizeof(float));
    code = device_group_agree(group->ranks, take_buffers(x, detail), detail);
    if (code == STATUS_OK) code = warm_up(x, detail);
    if (code != STATUS_OK) {
        device_close(x);
        return code;
    }
    *made = x;
    return STATUS_OK;
}

static status pack(device_exchange *x, const void *rows, const int32_t *experts, const float *weights, status_detail *detail)
{
    size_t before = (size_t)x->rank * (size_t)x->max_rows;
    exchange_pack pack = {.n_rows = x->n_rows,
                          .max_rows = x->max_rows,
                          .top_k = x->shape.top_k,
                          .row_bytes = x->row_bytes,
                          .rows = rows,
                          .experts = experts,
                          .weights = weights,
                          .packed_rows = x->rows + before * x->row_bytes,
                          .choices = x->choices + before * x->choice_bytes};
    return cuda_status(exchange_kernels_pack(&pack, x->stream), "dispatch", detail);
}

static status sift(device_exchange *x, status_detail *detail)
{
    exchange_sift sift = {.n_ranks = x->n_ranks,
                          .rank = x->rank,
                          .max_rows = x->max_rows,
                          .top_k = x->shape.top_k,
                          .per_rank = x->shape.n_experts / x->n_ranks,
                          .choices = x->choices,
                          .experts = x->experts,
                          .weights = x->weights};
    return cuda_status(exchange_kernels_sift(&sift, x->stream), "dispatch", detail);
}

static status gather(device_exchange *x, unsigned char *all, size_t bytes_of_row, status_detail *detail)
{
    size_t each = (size_t)x->max_rows * bytes_of_row;
    return x->via->all_gather(x->state, all + (size_t)x->rank * each, each, all, detail);
}

/* A rank that was refused sends no rows; the others cannot learn of it without waiting. */
static status device_dispatch(void *made, bool refused, int n_rows, int max_rows, const void *rows, const int32_t *experts,
                              const float *weights, exchange_rows *received, status_detail *detail)
{
    device_exchange *x = made;
    (void)refused;
    x->n_rows = n_rows;
    x->max_rows = max_rows;
    if (max_rows) {
        STATUS_TRY(pack(x, rows, experts, weights, detail));
        STATUS_TRY(gather(x, x->rows, x->row_bytes, detail));
        STATUS_TRY(gather(x, x->choices, x->choice_bytes, detail));
        STATUS_TRY(sift(x, detail));
    }
    *received = (exchange_rows){
        .n_rows = max_rows * x->n_ranks, .rows = x->rows, .experts = x->experts, .weights = x->weights};
    return STATUS_OK;
}

static status device_combine(void *made, const void *returned, void *out, status_detail *detail)
{
    device_exchange *x = made;
    if (!x->max_rows) return STATUS_OK;
    STATUS_TRY(return_rows(x, returned, x->max_rows, detail));
    exchange_home home = {.n_ranks = x->n_ranks,
                          .n_rows = x->n_rows,
                          .max_rows = x->max_rows,
                          .top_k = x->shape.top_k,
                          .per_rank = x->shape.n_experts / x->n_ranks,
                          .row_size = x->shape.row_size,
                          .bf16 = x->shape.type == DTYPE_BF16,
                          .experts = (const int32_t *)(x->choices + (size_t)x->rank * (size_t)x->max_rows * x->choice_bytes),
                          .returned = x->home,
                          .out = out};
    return cuda_status(exchange_kernels_home(&home, x->stream), "combine", detail);
}

const transport_exchange exchange_device = {
    .open = device_open,
    .close = device_close,
    .dispatch = device_dispatch,
    .combine = device_combine,
};
