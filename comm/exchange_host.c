/* The expert exchange on host memory, over a transport's all_to_all.
 *
 * Rows are packed by destination: those for rank 0 in the order of the source, then those for rank 1, and so on. `slots`
 * remembers where a row's copies went, in rank order; what comes back lies in the same places. */
#include "comm/transport.h"

#include <stdlib.h>
#include <string.h>

#include "comm/ordered_sum.h"

typedef struct host_exchange {
    const transport *via; /* not owned, nor is its state */
    void *state;
    exchange_shape shape;
    int n_ranks;
    int reach;        /* ranks that one row can go to: min(top_k, n_ranks) */
    size_t row_bytes, choice_bytes; /* of a row; of its ids and weights */

    int n_rows, n_received;   /* of the last dispatch */
    unsigned char *sent;      /* [max_rows * reach, row_size] on the way out, and again on the way back */
    unsigned char *sent_choices; /* [max_rows * reach] of {int32 id[top_k], float weight[top_k]} */
    int *slots;               /* [max_rows, reach] row numbers in `sent` */
    int *n_slots;             /* [max_rows] how many of them count */

    unsigned char *rows;      /* [max_rows * n_ranks, row_size] received */
    unsigned char *choices;   /* [max_rows * n_ranks] as sent_choices */
    int32_t *experts;         /* [max_rows * n_ranks, top_k] */
    float *weights;           /* [max_rows * n_ranks, top_k] */

    int *send_counts, *send_offsets, *receive_counts, *receive_offsets; /* [n_ranks] rows */
    int *ones, *steps;        /* [n_ranks] 1, 1, ... and 0, 1, ...: the counts' own exchange */
    const void **parts;       /* [reach] */
} host_exchange;

static void host_close(void *made)
{
    host_exchange *x = made;
    free(x->parts);
    free(x->steps);
    free(x->ones);
    free(x->receive_offsets);
    free(x->receive_counts);
    free(x->send_offsets);
    free(x->send_counts);
    free(x->weights);
    free(x->experts);
    free(x->choices);
    free(x->rows);
    free(x->n_slots);
    free(x->slots);
    free(x->sent_choices);
    free(x->sent);
    free(x);
}

static bool take_buffers(host_exchange *x)
{
    size_t n = (size_t)x->n_ranks, most = (size_t)x->shape.max_rows, top_k = (size_t)x->shape.top_k;
    size_t out = most * (size_t)x->reach, in = most * n;
    x->sent = reallocarray(NULL, out, x->row_bytes);
    x->sent_choices = reallocarray(NULL, out, x->choice_bytes);
    x->slots = reallocarray(NULL, out, sizeof *x->slots);
    x->n_slots = reallocarray(NULL, most, sizeof *x->n_slots);
    x->rows = reallocarray(NULL, in, x->row_bytes);
    x->choices = reallocarray(NULL, in, x->choice_bytes);
    x->experts = reallocarray(NULL, in, top_k * sizeof *x->experts);
    x->weights = reallocarray(NULL, in, top_k * sizeof *x->weights);
    x->send_counts = calloc(n, sizeof(int));
    x->send_offsets = calloc(n, sizeof(int));
    x->receive_counts = calloc(n, sizeof(int));
    x->receive_offsets = calloc(n, sizeof(int));
    x->ones = calloc(n, sizeof(int));
    x->steps = calloc(n, sizeof(int));
    x->parts = calloc((size_t)x->reach, sizeof *x->parts);
    if (!x->sent || !x->sent_choices || !x->slots || !x->n_slots || !x->rows || !x->choices || !x->experts ||
        !x->weights || !x->send_counts || !x->send_offsets || !x->receive_counts || !x->receive_offsets || !x->ones ||
        !x->steps || !x->parts)
        return false;
    for (int r = 0; r < x->n_ranks; r++) {
        x->ones[r] = 1;
        x->steps[r] = r;
    }
    return true;
}

static status host_open(const transport *t, void *state, const transport_group *group, const exchange_shape *shape,
                        void **made, status_detail *detail)
{
    if (!group->options.host_memory)
        return status_fail(detail, STATUS_USAGE, "transport \"%s\" exchanges host memory only", t->name);
    host_exchange *x = calloc(1, sizeof *x);
    if (!x) return status_fail(detail, STATUS_MACHINE, "exchange: out of memory");
    x->via = t;
    x->state = state;
    x->shape = *shape;
    x->n_ranks = group->size;
    x->reach = shape->top_k < group->size ? shape->top_k : group->size;
    x->row_bytes = (size_t)shape->row_size * dtype_size(shape->type);
    x->choice_bytes = (size_t)shape->top_k * (sizeof(int32_t) + sizeof(float));
    if (!take_buffers(x)) {
        host_close(x);
        return status_fail(detail, STATUS_MACHINE, "exchange: no memory for %d rows of %zu bytes from each of %d ranks",
                           shape->max_rows, x->row_bytes, x->n_ranks);
    }
    *made = x;
    return STATUS_OK;
}

/* Writes what of a row's choices concerns `rank`; false when nothing does. */
static bool choices_for(const host_exchange *x, int rank, const int32_t *experts, const float *weights, void *to)
{
    int top_k = x->shape.top_k, per_rank = x->shape.n_experts / x->n_ranks;
    int32_t *ids = to;
    float *shares = (float *)(ids + top_k);
    bool any = false;
    for (int k = 0; k < top_k; k++) {
        bool theirs = experts[k] >= 0 && experts[k] / per_rank == rank;
        ids[k] = theirs ? experts[k] : -1;
        shares[k] = theirs ? weights[k] : 0.0f;
        any = any || theirs;
    }
    return any;
}

static void pack(host_exchange *x, int n_rows, const unsigned char *rows, const int32_t *experts, const float *weights)
{
    int slot = 0;
    if (n_rows) memset(x->n_slots, 0, (size_t)n_rows * sizeof *x->n_slots);
    for (int r = 0; r < x->n_ranks; r++) {
        x->send_offsets[r] = slot;
        for (int i = 0; i < n_rows; i++) {
            size_t choice = (size_t)i * (size_t)x->shape.top_k;
            /* A row that has been everywhere it can go leaves no slot to write its choices to. */
            if (x->n_slots[i] == x->reach) continue;
            if (!choices_for(x, r, experts + choice, weights + choice, x->sent_choices + (size_t)slot * x->choice_bytes))
                continue;
            memcpy(x->sent + (size_t)slot * x->row_bytes, rows + (size_t)i * x->row_bytes, x->row_bytes);
            x->slots[(size_t)i * (size_t)x->reach + (size_t)x->n_slots[i]++] = slot;
            slot++;
        }
        x->send_counts[r] = slot - x->send_offsets[r];
    }
}

/* Tells every rank how many rows come; -1 stands for a refusal. */
static status exchange_counts(host_exchange *x, bool refused, status_detail *detail)
{
    transport_items single = {x->ones, x->steps};
    if (refused)
        for (int r = 0; r < x->n_ranks; r++) x->send_counts[r] = -1;
    STATUS_TRY(x->via->all_to_all(x->state, sizeof(int), x->send_counts, single, x->receive_counts, single, detail));
    int total = 0;
    for (int r = 0; r < x->n_ranks; r++) {
        int count = x->receive_counts[r];
        if (count < 0)
            return status_fail(detail, STATUS_PEER, "dispatch: rank %d of the group was given wrong arguments", r);
        if (count > x->shape.max_rows)
            return status_fail(detail, STATUS_INTERNAL, "dispatch: rank %d of the group sends %d rows; at most %d fit", r,
                               count, x->shape.max_rows);
        x->receive_offsets[r] = total;
        total += count;
    }
    x->n_received = total;
    return STATUS_OK;
}

static void unpack_choices(host_exchange *x)
{
    size_t top_k = (size_t)x->shape.top_k;
    for (size_t i = 0; i < (size_t)x->n_received; i++) {
        const unsigned char *choice = x->choices + i * x->choice_bytes;
        memcpy(x->experts + i * top_k, choice, top_k * sizeof *x->experts);
        memcpy(x->weights + i * top_k, choice + top_k * sizeof *x->experts, top_k * sizeof *x->weights);
    }
}

/* The counts travel, so what is agreed on beforehand does not matter. */
static status host_dispatch(void *made, bool refused, int n_rows, int max_rows, const void *rows, const int32_t *experts,
                            const float *weights, exchange_rows *received, status_detail *detail)
{
    host_exchange *x = made;
    (void)max_rows;
    pack(x, n_rows, rows, experts, weights);
    STATUS_TRY(exchange_counts(x, refused, detail));
    transport_items out = {x->send_counts, x->send_offsets}, in = {x->receive_counts, x->receive_offsets};
    STATUS_TRY(x->via->all_to_all(x->state, x->row_bytes, x->sent, out, x->rows, in, detail));
    STATUS_TRY(x->via->all_to_all(x->state, x->choice_bytes, x->sent_choices, out, x->choices, in, detail));
    unpack_choices(x);
    x->n_rows = n_rows;
    *received = (exchange_rows){
        .n_rows = x->n_received, .rows = x->rows, .experts = x->experts, .weights = x->weights};
    return STATUS_OK;
}

static status host_combine(void *made, const void *returned, void *out, status_detail *detail)
{
    host_exchange *x = made;
    transport_items back = {x->receive_counts, x->receive_offsets}, home = {x->send_counts, x->send_offsets};
    STATUS_TRY(x->via->all_to_all(x->state, x->row_bytes, returned, back, x->sent, home, detail));
    for (int i = 0; i < x->n_rows; i++) {
        for (int s = 0; s < x->n_slots[i]; s++)
            x->parts[s] = x->sent + (size_t)x->slots[(size_t)i * (size_t)x->reach + (size_t)s] * x->row_bytes;
        ordered_sum(x->parts, x->n_slots[i], (size_t)x->shape.row_size, x->shape.type,
                    (unsigned char *)out + (size_t)i * x->row_bytes);
    }
    return STATUS_OK;
}

const transport_exchange exchange_host = {
    .open = host_open,
    .close = host_close,
    .dispatch = host_dispatch,
    .combine = host_combine,
};
