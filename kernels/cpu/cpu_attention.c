/* Query, key and value projections with rotary embedding, attention with sinks over the paged cache, and the output projection.
 * Formulas: openai/gpt-oss `gpt_oss/torch/model.py` AttentionBlock, sdpa, RotaryEmbedding. */
#include <math.h>
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_dot.h"

/* Split-half rotation: (a, b) -> (a cos - b sin, b cos + a sin) for a in the first half of the head, b in the second. */
static void rotate(const ops_shape *s, int position, float *head)
{
    int half = s->head_dim / 2;
    const float *cosine = s->rope_cos + (size_t)position * (size_t)half, *sine = s->rope_sin + (size_t)position * (size_t)half;
    for (int i = 0; i < half; i++) {
        float a = head[i], b = head[i + half];
        head[i] = a * cosine[i] - b * sine[i];
        head[i + half] = b * cosine[i] + a * sine[i];
    }
}

/* Where the keys (or values) of a position lie: [kv_heads, head_dim]. */
static float *cache_at(const ops_context *c, const ops_layer *layer, void *cache, int sequence, int position)
{
    int block = c->batch.block_tables[layer->kind][(size_t)sequence * (size_t)c->batch.table_stride + (size_t)(position / c->shape.block_tokens)];
    size_t token = (size_t)block * (size_t)c->shape.block_tokens + (size_t)(position % c->shape.block_tokens);
    return (float *)cache + token * (size_t)(c->shape.kv_heads * c->shape.head_dim);
}

void cpu_qkv(ops_context *c, const ops_layer *layer, const void *normed, void *q)
{
    const ops_shape *s = &c->shape;
    int n = c->batch.n_tokens, dim = s->head_dim, kv_size = s->kv_heads * dim, q_size = s->q_heads * dim;
    cpu_product product = {.n = n, .rows = normed, .row_stride = s->hidden, .w = &layer->q, .bias = &layer->q_bias, .out = q, .out_stride = q_size};
    cpu_product_run(c, &product);
    product.out_stride = 2 * kv_size;
    product.w = &layer->k;
    product.bias = &layer->k_bias;
    product.out = c->kv_scratch;
    cpu_product_run(c, &product);
    product.w = &layer->v;
    product.bias = &layer->v_bias;
    product.out = c->kv_scratch + kv_size;
    cpu_product_run(c, &product);

    for (int i = 0; i < n; i++) {
        int position = c->batch.positions[i], sequence = c->batch.row_sequence[i];
        float *key = c->kv_scratch + (size_t)i * 2 * (size_t)kv_size;
        for (int h = 0; h < s->q_heads; h++) rotate(s, position, (float *)q + (size_t)i * (size_t)q_size + h * dim);
        for (int h = 0; h < s->kv_heads; h++) rotate(s, position, key + h * dim);
        memcpy(cache_at(c, layer, layer->k_cache, sequence, position), key, (size_t)kv_size * sizeof(float));
        memcpy(cache_at(c, layer, layer->v_cache, sequence, position), key + kv_size, (size_t)kv_size * sizeof(float));
    }
}

/* One query head of one row. The sink is a logit without a value: it only takes its share of the softmax. */
static void attend(const ops_context *c, const ops_layer *layer, int row, int head, const float *q, float *scores, float *out)
{
    const ops_shape *s = &c->shape;
    int dim = s->head_dim, position = c->batch.positions[row], sequence = c->batch.row_sequence[row];
    int kv_head = head / (s->q_heads / s->kv_heads);
    int first = layer->kind == OPS_SLIDING && position >= s->sliding_window ? position - s->sliding_window + 1 : 0;
    float scale = 1.0f / sqrtf((float)dim), sink = dtype_bf16_to_f32(((const uint16_t *)layer->sinks.data)[head]), largest = sink;
    for (int j = first; j <= position; j++) {
        const float *key = cache_at(c, layer, layer->k_cache, sequence, j) + kv_head * dim;
        cpu_dot_rows(q, &key, 1, dim, &scores[j - first]);
        scores[j - first] *= scale;
        largest = scores[j - first] > largest ? scores[j - first] : largest;
    }
    double sum = exp((double)sink - (double)largest);
    for (int j = first; j <= position; j++) {
        scores[j - first] = expf(scores[j - first] - largest);
        sum += (double)scores[j - first];
    }
    float inverse = (float)(1.0 / sum);
    memset(out, 0, (size_t)dim * sizeof *out);
    for (int j = first; j <= position; j++) {
        const float *value = cache_at(c, layer, layer->v_cache, sequence, j) + kv_head * dim;
        float weight = scores[j - first] * inverse;
        for (int i = 0; i < dim; i++) out[i] += weight * value[i];
    }
}

void cpu_attention(ops_context *c, const ops_layer *layer, const void *q, void *out)
{
    const ops_shape *s = &c->shape;
    int items = c->batch.n_tokens * s->q_heads;
#pragma omp parallel for num_threads(c->threads) schedule(dynamic, 8)
    for (int item = 0; item < items; item++) {
        size_t at = (size_t)item * (size_t)s->head_dim;
        attend(c, layer, item / s->q_heads, item % s->q_heads, (const float *)q + at,
               c->scores + (size_t)omp_get_thread_num() * (size_t)s->max_positions, (float *)out + at);
    }
}

void cpu_attention_out(ops_context *c, const ops_layer *layer, const void *attn, void *delta)
{
    const ops_shape *s = &c->shape;
    cpu_product product = {.n = c->batch.n_tokens, .rows = attn, .row_stride = (int64_t)s->q_heads * s->head_dim, .w = &layer->o,
                           .bias = &layer->o_bias, .out = delta, .out_stride = s->hidden};
    cpu_product_run(c, &product);
}
