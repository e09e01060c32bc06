/* The one forward pass. Source of the order of stages: openai/gpt-oss `gpt_oss/torch/model.py` Transformer.forward. */
#include "runtime/model/model_internal.h"

status model_reduce_add_norm(model *m, comm *ranks, int n, const ops_weight *norm, status_detail *detail)
{
    model_buffers *b = &m->buffers;
    bool done;
    comm_add_norm what = {.delta = b->delta,
                          .x = b->x,
                          .norm = norm->data,
                          .normed = b->normed,
                          .rows = n,
                          .hidden = m->config.hidden,
                          .eps = m->shape.rms_eps,
                          .type = m->activation};
    STATUS_TRY(comm_all_reduce_add_norm(ranks, &what, &done, detail));
    if (done) return STATUS_OK;
    STATUS_TRY(comm_all_reduce(ranks, b->delta, (size_t)n * (size_t)m->config.hidden, m->activation, detail));
    m->ops->add_norm(m->context, n, b->x, b->delta, norm, b->normed);
    return STATUS_OK;
}

/* x += attention over normed rows, of all heads; normed = norm(x) for the experts. */
static status attention_block(model *m, const ops_layer *layer, int n, status_detail *detail)
{
    model_buffers *b = &m->buffers;
    m->ops->qkv(m->context, layer, b->normed, b->q);
    m->ops->attention(m->context, layer, b->q, b->attn);
    m->ops->attention_out(m->context, layer, b->attn, b->delta);
    return model_reduce_add_norm(m, m->group, n, &layer->mlp_norm, detail);
}

/* Logits of the wanted rows, a chunk at a time: every rank computes its columns, the group gathers them, every rank of the group draws the
 * same ids. */
static status logits_and_sample(model *m, const model_step *step, status_detail *detail)
{
    model_buffers *b = &m->buffers;
    for (int done = 0; done < step->n_logit_rows;) {
        int n = step->n_logit_rows - done;
        if (n > m->shape.max_logit_rows) n = m->shape.max_logit_rows;
        const ops_logit_row *rows = step->logit_rows + done;
        size_t piece = (size_t)n * (size_t)m->plan.vocab_shard;
        float *mine = b->logits + (size_t)m->plan.tp_rank * piece;
        m->ops->logits(m->context, &m->head, b->normed, rows, n, mine);
        STATUS_TRY(comm_all_gather(m->group, mine, piece, DTYPE_F32, b->logits, detail));
        m->ops->sample(m->context, b->logits, rows, n, done);
        done += n;
    }
    return STATUS_OK;
}

/* A token of each of few sequences, whose logits are wanted. */
static bool takes_decode(const model *m, const model_step *step)
{
    int n = step->batch.n_tokens;
    if (n == 0 || n > m->decode_rows || n != step->batch.n_sequences || n != step->n_logit_rows) return false;
    for (int i = 0; i < n; i++)
        if (step->logit_rows[i].row != i || step->batch.sequence_start[i] != i) return false;
    return true;
}

/* All stages, from tokens to drawn ids. */
static status issue(model *m, const model_step *step, status_detail *detail)
{
    model_buffers *b = &m->buffers;
    int n = step->batch.n_tokens;
    if (takes_decode(m, step)) {
        m->ops->decode(m->context, b->logits);
        m->ops->sample(m->context, b->logits, step->logit_rows, n, 0);
        return STATUS_OK;
    }
    if (n) {
        m->ops->embed(m->context, &m->embedding, b->x);
        m->ops->add_norm(m->context, n, b->x, NULL, &m->layers[0].attn_norm, b->normed);
    }
    for (int i = 0; i < m->config.layers; i++) {
        const ops_layer *layer = &m->layers[i];
        const ops_weight *next = i + 1 < m->config.layers ? &m->layers[i + 1].attn_norm : &m->final_norm;
        if (n) STATUS_TRY(attention_block(m, layer, n, detail));
        STATUS_TRY(m->experts(m, layer, next, n, step->max_group_tokens, detail));
    }
    return logits_and_sample(m, step, detail);
}

/* With several groups the work depends on the other groups' tokens as well; with several chunks of logits, rows go up in the middle of a step. */
static bool may_record(const model *m, const model_step *step)
{
    return m->ops->record_begin && m->plan.dp == 1 && step->n_logit_rows <= m->shape.max_logit_rows;
}

status model_forward(model *m, const model_step *step, status_detail *detail)
{
    int n = step->batch.n_tokens;
    ops_recording how = OPS_ISSUE;
    if (step->max_group_tokens == 0) return STATUS_OK;
    if (n > m->shape.max_tokens || step->max_group_tokens > m->shape.max_tokens || n > step->max_group_tokens ||
        step->n_logit_rows > m->shape.max_tokens)
        return status_fail(detail, STATUS_INTERNAL, "a step of %d tokens and %d logit rows exceeds the %d it was sized for", n,
                           step->n_logit_rows, m->shape.max_tokens);

    STATUS_TRY(m->ops->batch_begin(m->context, &step->batch, detail));
    if (may_record(m, step)) STATUS_TRY(m->ops->record_begin(m->context, step->logit_rows, step->n_logit_rows, &how, detail));
    if (how == OPS_REPLAYED) return STATUS_OK;
    status result = issue(m, step, detail);
    if (how == OPS_RECORD) {
        status end = m->ops->record_end(m->context, detail);
        if (result == STATUS_OK) result = end;
    }
    return result;
}

status model_results(model *m, int ago, int n, ops_token *out, status_detail *detail)
{
    return m->ops->results(m->context, ago, 0, n, out, detail);
}
