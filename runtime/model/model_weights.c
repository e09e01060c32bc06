/* Slices of the checkpoint's tensors, as the shard plan says, placed on the device. */
#include "runtime/model/model_internal.h"

/* Half-open slices of views. A view without data (weights: dummy) keeps its shape and stays without data. */

static ops_weight absent(void) { return (ops_weight){.format = OPS_BF16}; }

static const void *advance(const void *data, int64_t bytes) { return data ? (const uint8_t *)data + bytes : NULL; }

static ops_weight slice_batches(ops_weight w, int first, int count)
{
    w.data = advance(w.data, first * w.batch_stride);
    w.scales = advance(w.scales, first * w.scale_batch_stride);
    w.batches = count;
    return w;
}

static ops_weight slice_rows(ops_weight w, int first, int count)
{
    w.data = advance(w.data, first * w.row_stride);
    w.scales = advance(w.scales, first * w.scale_row_stride);
    w.rows = count;
    return w;
}

/* MXFP4 columns are cut in whole 32-blocks: 16 bytes of codes and one scale each. */
static ops_weight slice_cols(ops_weight w, int first, int count)
{
    w.data = advance(w.data, w.format == OPS_MXFP4 ? first / 2 : first * 2);
    w.scales = advance(w.scales, first / 32);
    w.cols = count;
    return w;
}

static void slice_layer(const model *m, const checkpoint_layer *whole, ops_layer *out)
{
    const shard_plan *p = &m->plan;
    int dim = m->config.head_dim;
    int q_first = p->q_head_first * dim, q_count = p->q_head_count * dim;
    int kv_first = p->kv_head_first * dim, kv_count = p->kv_head_count * dim;

    out->attn_norm = whole->attn_norm;
    out->q = slice_rows(whole->q, q_first, q_count);
    out->k = slice_rows(whole->k, kv_first, kv_count);
    out->v = slice_rows(whole->v, kv_first, kv_count);
    out->q_bias = slice_cols(whole->q_bias, q_first, q_count);
    out->k_bias = slice_cols(whole->k_bias, kv_first, kv_count);
    out->v_bias = slice_cols(whole->v_bias, kv_first, kv_count);
    out->sinks = slice_cols(whole->sinks, p->q_head_first, p->q_head_count);
    out->o = slice_cols(whole->o, q_first, q_count);
    out->o_bias = p->adds_attention_bias ? whole->o_bias : absent();
    out->mlp_norm = whole->mlp_norm;
    out->router = whole->router;
    out->router_bias = whole->router_bias;

    out->gate_up = out->gate_up_bias = out->down = out->down_bias = absent();
    if (p->intermediate_count == 0) return; /* fewer 32-blocks than ranks: nothing of any expert is ours */
    int e_first = p->expert_first, e_count = p->expert_count, c_first = p->intermediate_first, c_count = p->intermediate_count;
    out->gate_up = slice_rows(slice_batches(whole->gate_up, e_first, e_count), 2 * c_first, 2 * c_count);
    out->gate_up_bias = slice_cols(slice_batches(whole->gate_up_bias, e_first, e_count), 2 * c_first, 2 * c_count);
    out->down = slice_cols(slice_batches(whole->down, e_first, e_count), c_first, c_count);
    if (p->adds_down_bias) out->down_bias = slice_batches(whole->down_bias, e_first, e_count);
}

/* Weights are placed in runs that a stage reads together. `salt` decides dummy values: equal on all ranks for tensors that every rank holds. */
typedef struct placer {
    model *m;
    status_detail *detail;
    uint64_t salt;
    status state;
} placer;

static void place(placer *p, ops_weight *weights[], int n, bool sharded)
{
    ops_weight host[4], placed[4];
    uint64_t seed = ++p->salt * 4096 + (sharded ? (uint64_t)p->m->plan.rank : 0);
    if (p->state != STATUS_OK) return;
    for (int i = 0; i < n; i++) host[i] = *weights[i];
    p->state = p->m->ops->place(p->m->context, host, n, seed, placed, p->detail);
    if (p->state != STATUS_OK) return;
    for (int i = 0; i < n; i++) *weights[i] = placed[i];
}

#define PLACE(placer, sharded, ...)                                                              \
    place(placer, (ops_weight *[]){__VA_ARGS__}, sizeof((ops_weight *[]){__VA_ARGS__}) / sizeof(ops_weight *), sharded)

static void place_layer(placer *p, ops_layer *l)
{
    PLACE(p, false, &l->attn_norm);
    PLACE(p, true, &l->q, &l->k, &l->v);
    PLACE(p, true, &l->q_bias, &l->k_bias, &l->v_bias);
    PLACE(p, true, &l->sinks);
    PLACE(p, true, &l->o);
    PLACE(p, true, &l->o_bias);
    PLACE(p, false, &l->mlp_norm);
    PLACE(p, false, &l->router);
    PLACE(p, false, &l->router_bias);
    PLACE(p, true, &l->gate_up);
    PLACE(p, true, &l->gate_up_bias);
    PLACE(p, true, &l->down);
    PLACE(p, true, &l->down_bias);
}

status model_load_weights(model *m, status_detail *detail)
{
    placer p = {.m = m, .detail = detail};
    m->embedding = checkpoint_embedding(m->checkpoint);
    m->final_norm = checkpoint_final_norm(m->checkpoint);
    m->head = slice_rows(checkpoint_head(m->checkpoint), m->plan.vocab_first, m->plan.vocab_count);
    PLACE(&p, false, &m->embedding);
    PLACE(&p, false, &m->final_norm);
    PLACE(&p, true, &m->head);
    for (int i = 0; i < m->config.layers; i++) {
        checkpoint_layer whole;
        checkpoint_get_layer(m->checkpoint, i, &whole);
        slice_layer(m, &whole, &m->layers[i]);
        m->layers[i].kind = m->config.sliding[i] ? OPS_SLIDING : OPS_FULL;
        place_layer(&p, &m->layers[i]);
    }
    if (p.state != STATUS_OK) return p.state;
    return m->ops->place_end(m->context, detail);
}
