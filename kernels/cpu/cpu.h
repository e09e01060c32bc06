/* What the files of the CPU backend share. "Device" memory is ordinary memory; every entry is done when it returns.
 *
 * Every result row has the same bits whatever else is in the batch and however many threads run: each dot product and each softmax is
 * reduced in one fixed order by one thread.
 */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H

#include "kernels/ops.h"

typedef struct cpu_batch {
    int n_tokens, n_sequences, table_stride;
    int32_t *token_ids;      /* [max_tokens], ids from slots filled in */
    int32_t *positions;      /* [max_tokens] */
    int32_t *row_sequence;   /* [max_tokens] which sequence a row belongs to */
    int32_t *block_tables[OPS_KV_KINDS]; /* [max_sequences, max_blocks_per_sequence] rows of table_stride */
    uint32_t *masks;         /* [max_sequences, ops_mask_words(vocab)] */
} cpu_batch;

struct ops_context {
    int threads;
    int block_tokens;
    ops_shape shape;
    bool configured;
    struct cpu_owned *owned; /* list of what allocate and place made */
    cpu_batch batch;
    float *scores;           /* [threads, max_positions] attention weights of one query head */
    float *row_scratch;      /* [threads, row_scratch_size] a tile of dequantised weights */
    size_t row_scratch_size; /* floats */
    float *kv_scratch;       /* [max_tokens, 2, kv_heads, head_dim] keys and values before they enter the cache */
    float *router_logits;    /* [max_tokens, n_experts] */
    int32_t *expert_rows;    /* [max_expert_rows * top_k] pairs (row * top_k + choice) sorted by expert */
    int32_t *expert_start;   /* [expert_count + 1] */
    float *activations;      /* [max_expert_rows * top_k, intermediate] after SwiGLU, in sorted order */
    float *expert_out;       /* [max_expert_rows * top_k, hidden] by pair */
    float *gathered;         /* [max_logit_rows, hidden] rows whose logits are wanted */
    struct cpu_sampler *sampler; /* cpu_sample.c */
};

/* Memory owned by the context, 256-byte aligned, zeroed; STATUS_MACHINE when there is none. */
status cpu_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail);
void cpu_free_owned(ops_context *c);

/* cpu_weights.c: one row of a weight as F32, out [w->cols]. */
void cpu_weight_row(const ops_weight *w, int64_t batch, int64_t row, float *out);
status cpu_place(ops_context *c, const ops_weight *host, int n, uint64_t seed, ops_weight *placed, status_detail *detail);

/* cpu_matmul.c: out[i * out_stride + r] = sum_k rows[i * row_stride + k] w[batch, r, k] + bias[batch, r] (bias absent: none), for the n rows
 * and all r of w. Dequantises each weight row once for all n rows. */
typedef struct cpu_product {
    int n;
    const float *rows;
    int64_t row_stride;
    const ops_weight *w, *bias;
    int64_t batch;
    float *out;
    int64_t out_stride;
} cpu_product;
/* The rows [first, last) of w on the calling thread; `scratch` holds w->cols floats. */
void cpu_product_rows(const cpu_product *p, int64_t first, int64_t last, float *scratch);
/* All rows of w, over all threads. */
void cpu_product_run(ops_context *c, const cpu_product *p);

/* The stages, as ops.h says. */
status cpu_batch_begin(ops_context *c, const ops_batch *batch, status_detail *detail);
void cpu_embed(ops_context *c, const ops_weight *embedding, void *x);
void cpu_add_norm(ops_context *c, int n_rows, void *x, const void *delta, const ops_weight *norm, void *normed);
void cpu_qkv(ops_context *c, const ops_layer *layer, const void *normed, void *q);
void cpu_attention(ops_context *c, const ops_layer *layer, const void *q, void *out);
void cpu_attention_out(ops_context *c, const ops_layer *layer, const void *attn, void *delta);
void cpu_route(ops_context *c, const ops_layer *layer, int n_rows, const void *normed, int32_t *ids, float *weights);
void cpu_experts(ops_context *c, const ops_layer *layer, int n_rows, const void *rows, const int32_t *ids, const float *weights, void *out);
void cpu_logits(ops_context *c, const ops_weight *head, const void *normed, const ops_logit_row *rows, int n, float *logits);

/* cpu_sample.c */
status cpu_sampler_configure(ops_context *c, status_detail *detail); /* memory through cpu_allocate */
int32_t cpu_sampler_last(const ops_context *c, int slot); /* the id last drawn in the slot */
void cpu_sampler_step(ops_context *c); /* a new batch begins: the current results become those of one step ago */
status cpu_slot_begin(ops_context *c, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated,
                      status_detail *detail);
void cpu_sample(ops_context *c, const float *logits, const ops_logit_row *rows, int n, int first_result);
status cpu_results(ops_context *c, int ago, int first, int n, ops_token *out, status_detail *detail);

#endif
