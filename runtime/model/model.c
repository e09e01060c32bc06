#include "runtime/model/model_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "runtime/base/log.h"

/* Rows of one logits call: enough for a step of decodes, small enough that [rows, vocab] F32 stays modest. */
enum { MAX_LOGIT_ROWS = 256 };

/* ---- opening, in the order of need ------------------------------------------------------------------------------ */

static status open_files(model *m, const model_options *o, status_detail *detail)
{
    if (o->config)
        m->config = *o->config;
    else
        STATUS_TRY(model_config_read(o->dir, &m->config, detail));
    STATUS_TRY(shard_plan_make(&m->config, o->layout, world_rank(m->world), world_size(m->world), &m->plan, detail));
    if (o->weights == WEIGHTS_DUMMY) return checkpoint_open_dummy(&m->config, &m->checkpoint, detail);
    return checkpoint_open(o->dir, &m->config, false, &m->checkpoint, detail);
}

/* What a backend is told to call, and whom that tells. The total is the plan's, which padding or shared tensors may miss by a little. */
static void tell_progress(void *user, int64_t bytes)
{
    model *m = user;
    int64_t total = shard_plan_bytes(&m->plan);
    m->told = true;
    m->progress(m->progress_user, bytes < total ? bytes : total, total);
}

static status open_backend(model *m, const model_options *o, ops_caps *caps, status_detail *detail)
{
    m->ops = ops_find(o->backend);
    if (!m->ops)
        return status_fail(detail, STATUS_USAGE, "backend: %s is not in this build, which has %s", o->backend, ops_names());
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int fair = (int)(cores > 0 ? cores : 1) / world_local_size(m->world);
    ops_options options = {.backend = o->backend,
                           .device = o->share_gpu ? 0 : world_local_rank(m->world),
                           .device_shared = o->share_gpu && world_local_size(m->world) > 1,
                           .threads = o->threads ? o->threads : fair > 0 ? fair : 1,
                           .loading = o->progress ? tell_progress : NULL,
                           .user = m};
    m->progress = o->progress;
    m->progress_user = o->user;
    STATUS_TRY(m->ops->open(&options, &m->context, detail));
    m->ops->caps(m->context, caps);
    m->activation = caps->activation;
    return STATUS_OK;
}

static status make_shape(model *m, const model_options *o, const ops_caps *caps, status_detail *detail)
{
    const model_config *c = &m->config;
    const shard_plan *p = &m->plan;
    int positions = o->max_model_len && o->max_model_len < c->max_positions ? o->max_model_len : c->max_positions;
    size_t half = (size_t)positions * (size_t)(c->head_dim / 2);
    m->rope = malloc(2 * half * sizeof *m->rope);
    if (!m->rope) return status_fail(detail, STATUS_MACHINE, "no memory for the rotary table of %d positions", positions);
    model_config_rope(c, positions, m->rope, m->rope + half);
    m->shape = (ops_shape){
        .hidden = c->hidden, .head_dim = c->head_dim, .q_heads = p->q_head_count, .kv_heads = p->kv_head_count,
        .n_experts = c->experts, .top_k = c->experts_per_token, .expert_first = p->expert_first, .expert_count = p->expert_count,
        .intermediate = p->intermediate_count, .vocab = c->vocab, .logit_shards = p->tp, .logit_shard_cols = p->vocab_shard,
        .logit_first = p->vocab_first, .logit_count = p->vocab_count, .sliding_window = c->sliding_window, .rms_eps = c->rms_eps,
        .swiglu_alpha = c->swiglu_alpha, .swiglu_limit = c->swiglu_limit, .rope_cos = m->rope, .rope_sin = m->rope + half,
        .max_positions = positions, .block_tokens = caps->block_tokens, .max_tokens = o->max_tokens,
        .max_expert_rows = model_experts_rows(p, o->max_tokens), .max_sequences = o->max_sequences,
        .max_logit_rows = o->max_tokens < MAX_LOGIT_ROWS ? o->max_tokens : MAX_LOGIT_ROWS,
        .max_blocks_per_sequence = (positions + caps->block_tokens - 1) / caps->block_tokens,
    };
    return m->ops->configure(m->context, &m->shape, detail);
}

static status open_groups(model *m, const ops_caps *caps, status_detail *detail)
{
    const shard_plan *p = &m->plan;
    size_t rows = (size_t)(m->shape.max_expert_rows > m->shape.max_tokens ? m->shape.max_expert_rows : m->shape.max_tokens);
    size_t logits = (size_t)m->shape.max_logit_rows * (size_t)p->vocab_shard * sizeof(float);
    size_t activations = rows * (size_t)m->config.hidden * dtype_size(m->activation);
    comm_options options = {.transport = "auto",
                            .host_memory = caps->host_memory,
                            .stream = m->ops->stream(m->context),
                            .max_bytes = logits > activations ? logits : activations};
    STATUS_TRY(comm_open(m->world, 0, &options, &m->everyone, detail));
    STATUS_TRY(comm_open(m->world, p->dp_rank, &options, &m->group, detail));
    return comm_open(m->world, p->tp_rank, &options, &m->peers, detail);
}

status model_allocate(model *m, size_t count, size_t size, void **out, status_detail *detail)
{
    return m->ops->allocate(m->context, count * size, out, detail);
}

static status take_buffers(model *m, status_detail *detail)
{
    model_buffers *b = &m->buffers;
    const ops_shape *s = &m->shape;
    size_t n = (size_t)s->max_tokens, hidden = (size_t)s->hidden, element = dtype_size(m->activation);
    size_t heads = (size_t)s->q_heads * (size_t)s->head_dim, top_k = (size_t)s->top_k;
    size_t logits = (size_t)s->logit_shards * (size_t)s->max_logit_rows * (size_t)s->logit_shard_cols;
    STATUS_TRY(model_allocate(m, n * hidden, element, &b->x, detail));
    STATUS_TRY(model_allocate(m, n * hidden, element, &b->normed, detail));
    STATUS_TRY(model_allocate(m, (n + (size_t)m->plan.tp) * hidden, element, &b->delta, detail));
    STATUS_TRY(model_allocate(m, n * heads, element, &b->q, detail));
    STATUS_TRY(model_allocate(m, n * heads, element, &b->attn, detail));
    STATUS_TRY(model_allocate(m, n * top_k, sizeof(int32_t), (void **)&b->expert_ids, detail));
    STATUS_TRY(model_allocate(m, n * top_k, sizeof(float), (void **)&b->expert_weights, detail));
    STATUS_TRY(model_allocate(m, logits, sizeof(float), (void **)&b->logits, detail));

    /* Padding rows of `normed` are computed before a step ever wrote them (model_experts.c): they must be finite. */
    void *zeros = calloc(n * hidden, element);
    if (!zeros) return status_fail(detail, STATUS_MACHINE, "no memory for a buffer of %zu bytes", n * hidden * element);
    status state = m->ops->upload(m->context, b->normed, zeros, n * hidden * element, detail);
    free(zeros);
    return state;
}

static status build(model *m, const model_options *o, status_detail *detail)
{
    ops_caps caps;
    STATUS_TRY(open_files(m, o, detail));
    m->layers = calloc((size_t)m->config.layers, sizeof *m->layers);
    if (!m->layers) return status_fail(detail, STATUS_MACHINE, "no memory for %d layers", m->config.layers);
    STATUS_TRY(open_backend(m, o, &caps, detail));
    STATUS_TRY(make_shape(m, o, &caps, detail));
    STATUS_TRY(model_load_weights(m, detail));
    if (m->told) tell_progress(m, shard_plan_bytes(&m->plan));
    return take_buffers(m, detail);
}

status model_open(world *w, const model_options *options, model **out, status_detail *detail)
{
    model *m = calloc(1, sizeof *m);
    bool speaks;
    ops_caps caps;
    status state = STATUS_OK;
    if (m) {
        m->world = w;
        state = build(m, options, detail);
    } else {
        state = status_fail(detail, STATUS_MACHINE, "no memory for the model");
    }
    /* What follows is collective: no rank may enter it alone. */
    state = world_agree(w, state, detail, &speaks);
    if (state == STATUS_OK) {
        m->ops->caps(m->context, &caps);
        state = open_groups(m, &caps, detail);
    }
    if (state == STATUS_OK) state = model_experts_open(m, detail);
    if (state != STATUS_OK) {
        model_close(m);
        return state;
    }
    *out = m;
    return STATUS_OK;
}

void model_close(model *m)
{
    if (!m) return;
    exchange_close(m->exchange);
    comm_close(m->peers);
    comm_close(m->group);
    comm_close(m->everyone);
    if (m->context) m->ops->close(m->context);
    checkpoint_close(m->checkpoint);
    free(m->layers);
    free(m->rope);
    free(m);
}

/* ---- what the engine asks ---------------------------------------------------------------------------------------- */

const model_config *model_get_config(const model *m) { return &m->config; }
const shard_plan *model_get_plan(const model *m) { return &m->plan; }
void model_get_caps(const model *m, ops_caps *out) { m->ops->caps(m->context, out); }
bool model_get_memory(const model *m, ops_memory *out) { return m->ops->memory(m->context, out); }
int model_block_tokens(const model *m) { return m->shape.block_tokens; }
int model_max_logit_rows(const model *m) { return m->shape.max_logit_rows; }

int64_t model_kv_block_bytes(const model *m, int kind)
{
    return m->shape.block_tokens *
           shard_plan_kv_bytes(&m->plan, &m->config, kind == OPS_SLIDING, (int)dtype_size(m->activation));
}

status model_kv_reserve(model *m, const int blocks[OPS_KV_KINDS], status_detail *detail)
{
    size_t token = (size_t)m->shape.kv_heads * (size_t)m->shape.head_dim;
    for (int i = 0; i < m->config.layers; i++) {
        ops_layer *layer = &m->layers[i];
        size_t count = (size_t)blocks[layer->kind] * (size_t)m->shape.block_tokens * token;
        STATUS_TRY(model_allocate(m, count, dtype_size(m->activation), &layer->k_cache, detail));
        STATUS_TRY(model_allocate(m, count, dtype_size(m->activation), &layer->v_cache, detail));
    }
    if (!m->ops->decode_open || world_size(m->world) > 1) return STATUS_OK;
    ops_stack stack = {m->config.layers, m->layers, m->embedding, m->final_norm, m->head};
    return m->ops->decode_open(m->context, &stack, &m->decode_rows, detail);
}

status model_slot_begin(model *m, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated,
                        status_detail *detail)
{
    return m->ops->slot_begin(m->context, slot, sampling, ids, n_ids, n_generated, detail);
}
