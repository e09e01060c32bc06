/* The public face of the expert exchange: checks, and hands on to the transport's own (transport.h). */
#include "comm/comm.h"

#include <stdlib.h>

#include "comm/comm_internal.h"

struct exchange {
    exchange_shape shape;
    const transport_exchange *via;
    void *made;       /* the transport's */
    bool host_memory; /* ids can be looked at here */
    bool dispatched;  /* a combine may follow */
};

static status check_shape(const comm *c, const exchange_shape *s, const transport *t, status_detail *detail)
{
    int n = comm_size(c);
    if (!t->exchange)
        return status_fail(detail, STATUS_USAGE, "transport \"%s\" has no expert exchange", t->name);
    if (s->max_rows < 1 || s->row_size < 1 || s->top_k < 1 || s->n_experts < 1)
        return status_fail(detail, STATUS_INTERNAL, "exchange: %d rows of %d elements, top %d of %d experts: all must be > 0",
                           s->max_rows, s->row_size, s->top_k, s->n_experts);
    if (s->type != DTYPE_F32 && s->type != DTYPE_BF16)
        return status_fail(detail, STATUS_INTERNAL, "exchange: element type %d; it takes F32 and BF16", (int)s->type);
    if (s->n_experts % n)
        return status_fail(detail, STATUS_USAGE, "exchange: %d experts cannot be shared out evenly among %d ranks",
                           s->n_experts, n);
    if (s->max_rows > INT32_MAX / n)
        return status_fail(detail, STATUS_INTERNAL, "exchange: %d rows from each of %d ranks are too many", s->max_rows, n);
    return STATUS_OK;
}

status exchange_open(comm *c, const exchange_shape *shape, exchange **out, status_detail *detail)
{
    void *state, *made = NULL;
    const transport *t = comm_chosen(c, &state);
    exchange *x = NULL;
    status code = check_shape(c, shape, t, detail);
    if (code == STATUS_OK) {
        x = calloc(1, sizeof *x);
        if (!x) code = status_fail(detail, STATUS_MACHINE, "exchange: out of memory");
    }
    /* Before and after, so that a transport's own exchange may be collective in opening. */
    code = comm_agree(c, code, "exchange", detail);
    if (code == STATUS_OK) {
        code = t->exchange->open(t, state, comm_group(c), shape, &made, detail);
        code = comm_agree(c, code, "exchange", detail);
    }
    if (code != STATUS_OK) {
        if (made) t->exchange->close(made);
        free(x);
        return code;
    }
    *x = (exchange){.shape = *shape, .via = t->exchange, .made = made, .host_memory = comm_group(c)->options.host_memory};
    *out = x;
    return STATUS_OK;
}

void exchange_close(exchange *x)
{
    if (!x) return;
    x->via->close(x->made);
    free(x);
}

static status check_rows(const exchange *x, int n_rows, int max_rows, const void *rows, const int32_t *experts,
                         const float *weights, status_detail *detail)
{
    if (n_rows < 0 || n_rows > max_rows)
        return status_fail(detail, STATUS_INTERNAL, "dispatch: %d rows; 0 to %d were agreed on", n_rows, max_rows);
    if (n_rows && (!rows || !experts || !weights))
        return status_fail(detail, STATUS_INTERNAL, "dispatch: no buffer for %d rows", n_rows);
    if (!x->host_memory) return STATUS_OK;
    int top_k = x->shape.top_k;
    for (int i = 0; i < n_rows; i++)
        for (int k = 0; k < top_k; k++) {
            int32_t id = experts[(size_t)i * (size_t)top_k + (size_t)k];
            if (id < -1 || id >= x->shape.n_experts)
                return status_fail(detail, STATUS_INTERNAL, "dispatch: row %d, choice %d: expert %d; -1 to %d exist", i, k,
                                   (int)id, x->shape.n_experts - 1);
        }
    return STATUS_OK;
}

status exchange_dispatch(exchange *x, int n_rows, int max_rows, const void *rows, const int32_t *experts, const float *weights,
                         exchange_rows *received, status_detail *detail)
{
    x->dispatched = false;
    if (max_rows < 0 || max_rows > x->shape.max_rows) /* wrong on all ranks alike */
        return status_fail(detail, STATUS_INTERNAL, "dispatch: up to %d rows on each rank; the exchange has room for %d",
                           max_rows, x->shape.max_rows);
    status mine = check_rows(x, n_rows, max_rows, rows, experts, weights, detail);
    bool refused = mine != STATUS_OK;
    exchange_rows got;
    status_detail theirs = {""};
    status code = x->via->dispatch(x->made, refused, refused ? 0 : n_rows, max_rows, rows, experts, weights, &got, &theirs);
    if (refused) return mine;
    if (code != STATUS_OK) return status_fail(detail, code, "%s", theirs.text);
    x->dispatched = true;
    *received = got;
    return STATUS_OK;
}

status exchange_combine(exchange *x, const void *returned, void *out, status_detail *detail)
{
    if (!x->dispatched) return status_fail(detail, STATUS_INTERNAL, "combine: no dispatch succeeded before it");
    x->dispatched = false;
    return x->via->combine(x->made, returned, out, detail);
}
