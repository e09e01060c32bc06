/* Embedding, and residual plus RMSNorm (Zhang and Sennrich 2019; openai/gpt-oss `gpt_oss/torch/model.py` RMSNorm). */
#include <math.h>

#include "kernels/cpu/cpu.h"

void cpu_embed(ops_context *c, const ops_weight *embedding, void *x)
{
    for (int i = 0; i < c->batch.n_tokens; i++)
        cpu_weight_row(embedding, 0, c->batch.token_ids[i], (float *)x + (size_t)i * (size_t)c->shape.hidden);
}

static void norm_row(const ops_shape *s, float *x, const float *delta, const uint16_t *norm, float *normed)
{
    double squares = 0;
    for (int i = 0; i < s->hidden; i++) {
        if (delta) x[i] += delta[i];
        squares += (double)x[i] * (double)x[i];
    }
    float inverse = (float)(1.0 / sqrt(squares / s->hidden + (double)s->rms_eps));
    for (int i = 0; i < s->hidden; i++) normed[i] = x[i] * inverse * dtype_bf16_to_f32(norm[i]);
}

void cpu_add_norm(ops_context *c, int n_rows, void *x, const void *delta, const ops_weight *norm, void *normed)
{
    size_t hidden = (size_t)c->shape.hidden;
#pragma omp parallel for num_threads(c->threads) if (n_rows > 8)
    for (int i = 0; i < n_rows; i++)
        norm_row(&c->shape, (float *)x + (size_t)i * hidden, delta ? (const float *)delta + (size_t)i * hidden : NULL,
                 (const uint16_t *)norm->data, (float *)normed + (size_t)i * hidden);
}
