/* Query, key and value projection in one product, then rotary embedding and the write into the paged cache. */
#include "kernels/cuda/cuda.h"

struct cuda_rope_state {
    float *cosine, *sine; /* [max_positions, head_dim / 2] */
    bf16 *qkv;            /* [max_tokens, (q_heads + 2 kv_heads) * head_dim] */
};

status cuda_rope_configure(ops_context *c, status_detail *detail)
{
    const ops_shape *s = &c->shape;
    size_t table = (size_t)s->max_positions * (size_t)(s->head_dim / 2) * sizeof(float);
    STATUS_TRY(cuda_host_allocate(c, sizeof *c->rope, (void **)&c->rope, detail));
    STATUS_TRY(cuda_allocate(c, table, (void **)&c->rope->cosine, detail));
    STATUS_TRY(cuda_allocate(c, table, (void **)&c->rope->sine, detail));
    STATUS_TRY(cuda_allocate(c, (size_t)s->max_tokens * (size_t)((s->q_heads + 2 * s->kv_heads) * s->head_dim) * sizeof(bf16), (void **)&c->rope->qkv, detail));
    cuda_check(c, cudaMemcpyAsync(c->rope->cosine, s->rope_cos, table, cudaMemcpyHostToDevice, c->stream), "rotary table");
    cuda_check(c, cudaMemcpyAsync(c->rope->sine, s->rope_sin, table, cudaMemcpyHostToDevice, c->stream), "rotary table");
    return STATUS_OK;
}

void cuda_rope_tables(const ops_context *c, const float **cosine, const float **sine)
{
    *cosine = c->rope->cosine;
    *sine = c->rope->sine;
}

typedef struct rope_args {
    const bf16 *qkv;
    const float *cosine, *sine;
    const int32_t *positions, *row_sequence, *table;
    bf16 *q, *k_cache, *v_cache;
    int q_heads, kv_heads, head_dim, block_tokens, table_stride;
} rope_args;

enum { ROPE_THREADS = 256 };

/* A thread per element of the first halves of all heads of a row; values are only copied. */
__global__ void __launch_bounds__(ROPE_THREADS) rope_kernel(const __grid_constant__ rope_args a)
{
    cuda_wait_for_previous();
    cuda_let_next_start();
    int64_t row = blockIdx.x;
    int half = a.head_dim / 2, heads = a.q_heads + 2 * a.kv_heads, position = a.positions[row];
    int block = a.table[(int64_t)a.row_sequence[row] * a.table_stride + position / a.block_tokens];
    int64_t token = (int64_t)block * a.block_tokens + position % a.block_tokens;
    const bf16 *in = a.qkv + row * heads * a.head_dim;
    int i = blockIdx.y * ROPE_THREADS + threadIdx.x, head = i / half, d = i % half;
    if (head < heads) {
        bf16 low = in[head * a.head_dim + d], high = in[head * a.head_dim + d + half];
        bf16 *out = head < a.q_heads                ? a.q + (row * a.q_heads + head) * a.head_dim
                    : head < a.q_heads + a.kv_heads ? a.k_cache + (token * a.kv_heads + head - a.q_heads) * a.head_dim
                                                    : a.v_cache + (token * a.kv_heads + head - a.q_heads - a.kv_heads) * a.head_dim;
        if (head < a.q_heads + a.kv_heads) {
            float x = __bfloat162float(low), y = __bfloat162float(high);
            float cosine = a.cosine[(int64_t)position * half + d], sine = a.sine[(int64_t)position * half + d];
            low = __float2bfloat16(x * cosine - y * sine);
            high = __float2bfloat16(y * cosine + x * sine);
        }
        out[d] = low;
        out[d + half] = high;
    }
}

void cuda_qkv(ops_context *c, const ops_layer *layer, const void *normed, void *q)
{
    const ops_shape *s = &c->shape;
    const cuda_batch *b = &c->batch;
    int width = (s->q_heads + 2 * s->kv_heads) * s->head_dim;
    if (b->n_tokens == 0) return;
    ops_weight all = layer->q, bias = layer->q_bias; /* place() laid q, k and v side by side */
    all.rows = width;
    bias.cols = width;
    cuda_dense(c, b->n_tokens, (const bf16 *)normed, &all, &bias, c->rope->qkv, width, DTYPE_BF16);
    rope_args a = {};
    a.qkv = c->rope->qkv;
    a.cosine = c->rope->cosine;
    a.sine = c->rope->sine;
    a.positions = b->positions;
    a.row_sequence = b->row_sequence;
    a.table = b->tables[layer->kind];
    a.q = (bf16 *)q;
    a.k_cache = (bf16 *)layer->k_cache;
    a.v_cache = (bf16 *)layer->v_cache;
    a.q_heads = s->q_heads;
    a.kv_heads = s->kv_heads;
    a.head_dim = s->head_dim;
    a.block_tokens = s->block_tokens;
    a.table_stride = b->table_stride;
    int pairs = (s->q_heads + 2 * s->kv_heads) * (s->head_dim / 2);
    dim3 grid((unsigned)b->n_tokens, (unsigned)((pairs + ROPE_THREADS - 1) / ROPE_THREADS));
    cuda_launch(c, "rotary embedding", rope_kernel, grid, dim3(ROPE_THREADS), 0, a);
}

void cuda_attention_out(ops_context *c, const ops_layer *layer, const void *attn, void *delta)
{
    cuda_dense(c, c->batch.n_tokens, (const bf16 *)attn, &layer->o, &layer->o_bias, delta, c->shape.hidden, DTYPE_BF16);
}
