/* Three ways from a token to its experts, one per layout:
 *
 *   replicated   one attention group, every rank has all tokens: local experts or slices of them, sums all-reduced
 *   gathered     several groups, every expert split over all ranks: rows are all-gathered, sums all-reduced, each group keeps its own
 *   travelling   several groups, whole experts per rank: dispatch and combine
 */
#include "runtime/model/model_internal.h"

static void *row_at(const model *m, void *rows, int index)
{
    return (uint8_t *)rows + (size_t)index * (size_t)m->config.hidden * dtype_size(m->activation);
}

static status experts_replicated(model *m, const ops_layer *layer, const ops_weight *next, int n, int max_group_tokens,
                                 status_detail *detail)
{
    model_buffers *b = &m->buffers;
    (void)max_group_tokens; /* one group: n is the maximum */
    m->ops->route(m->context, layer, n, b->normed, b->expert_ids, b->expert_weights);
    m->ops->experts(m->context, layer, n, b->normed, b->expert_ids, b->expert_weights, b->delta);
    return model_reduce_add_norm(m, m->everyone, n, next, detail);
}

/* Groups pad to the longest group's rows. A padding row holds whatever an earlier step left there (finite: buffers start as zeros); it is
 * routed and computed like the others, and nobody reads its result. */
static status experts_gathered(model *m, const ops_layer *layer, const ops_weight *next, int n, int max_group_tokens,
                               status_detail *detail)
{
    model_buffers *b = &m->buffers;
    int all = m->plan.dp * max_group_tokens;
    size_t rows = (size_t)max_group_tokens, hidden = (size_t)m->config.hidden, top_k = (size_t)m->config.experts_per_token;
    m->ops->route(m->context, layer, max_group_tokens, b->normed, b->expert_ids, b->expert_weights);
    STATUS_TRY(comm_all_gather(m->peers, b->normed, rows * hidden, m->activation, b->all_rows, detail));
    STATUS_TRY(comm_all_gather(m->peers, b->expert_ids, rows * top_k, DTYPE_I32, b->all_ids, detail));
    STATUS_TRY(comm_all_gather(m->peers, b->expert_weights, rows * top_k, DTYPE_F32, b->all_weights, detail));
    m->ops->experts(m->context, layer, all, b->all_rows, b->all_ids, b->all_weights, b->all_out);
    STATUS_TRY(comm_all_reduce(m->everyone, b->all_out, (size_t)all * hidden, m->activation, detail));
    if (n) m->ops->add_norm(m->context, n, b->x, row_at(m, b->all_out, m->plan.dp_rank * max_group_tokens), next, b->normed);
    return STATUS_OK;
}

static int share_of(const shard_plan *plan, int tokens) { return (tokens + plan->tp - 1) / plan->tp; }

/* The members of a group hold the same tokens: each sends an equal share of them, and the shares are gathered afterwards. */
static status experts_travelling(model *m, const ops_layer *layer, const ops_weight *next, int n, int max_group_tokens,
                                 status_detail *detail)
{
    model_buffers *b = &m->buffers;
    int top_k = m->config.experts_per_token, share = share_of(&m->plan, n), max_share = share_of(&m->plan, max_group_tokens);
    int first = m->plan.tp_rank * share < n ? m->plan.tp_rank * share : n;
    int count = first + share < n ? share : n - first;
    if (n) m->ops->route(m->context, layer, n, b->normed, b->expert_ids, b->expert_weights);

    exchange_rows received;
    STATUS_TRY(exchange_dispatch(m->exchange, count, max_share, row_at(m, b->normed, first), b->expert_ids + (size_t)first * top_k,
                                 b->expert_weights + (size_t)first * top_k, &received, detail));
    if (received.n_rows)
        m->ops->experts(m->context, layer, received.n_rows, received.rows, received.experts, received.weights, b->returned);
    void *mine = row_at(m, b->delta, m->plan.tp_rank * share);
    STATUS_TRY(exchange_combine(m->exchange, b->returned, mine, detail));
    STATUS_TRY(comm_all_gather(m->group, mine, (size_t)share * (size_t)m->config.hidden, m->activation, b->delta, detail));
    if (n) m->ops->add_norm(m->context, n, b->x, b->delta, next, b->normed);
    return STATUS_OK;
}

static bool travels(const shard_plan *plan) { return plan->dp > 1 && plan->layout.experts == EXPERTS_EP; }

int model_experts_rows(const shard_plan *plan, int max_tokens)
{
    if (plan->dp == 1) return max_tokens;
    return travels(plan) ? share_of(plan, max_tokens) * plan->world : plan->dp * max_tokens;
}

status model_experts_open(model *m, status_detail *detail)
{
    model_buffers *b = &m->buffers;
    size_t hidden = (size_t)m->config.hidden, top_k = (size_t)m->config.experts_per_token, element = dtype_size(m->activation);
    size_t rows = (size_t)m->shape.max_expert_rows;
    if (m->plan.dp == 1) {
        m->experts = experts_replicated;
        return STATUS_OK;
    }
    if (!travels(&m->plan)) {
        m->experts = experts_gathered;
        STATUS_TRY(model_allocate(m, rows * hidden, element, &b->all_rows, detail));
        STATUS_TRY(model_allocate(m, rows * hidden, element, &b->all_out, detail));
        STATUS_TRY(model_allocate(m, rows * top_k, sizeof(int32_t), (void **)&b->all_ids, detail));
        return model_allocate(m, rows * top_k, sizeof(float), (void **)&b->all_weights, detail);
    }
    m->experts = experts_travelling;
    STATUS_TRY(model_allocate(m, rows * hidden, element, &b->returned, detail));
    exchange_shape shape = {.max_rows = share_of(&m->plan, m->shape.max_tokens),
                            .row_size = m->config.hidden,
                            .type = m->activation,
                            .top_k = m->config.experts_per_token,
                            .n_experts = m->config.experts};
    return exchange_open(m->everyone, &shape, &m->exchange, detail);
}
