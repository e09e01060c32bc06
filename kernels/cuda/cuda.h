/* What the files of the CUDA backend share. Each stage lives in a file of its own, kernels first, then their launcher; a launcher issues
 * work on the context's stream and never waits. Written as CUDA C++ that stays C in spirit: plain functions and structs, templates only
 * where they pick a tile or a type.
 */
#ifndef KERNELS_CUDA_CUDA_H
#define KERNELS_CUDA_CUDA_H

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

extern "C" {
#include "kernels/ops.h"
}

typedef __nv_bfloat16 bf16;

/* The batch on the device. Addresses never change, so that a captured graph stays valid; contents are written by batch_begin in one copy. */
typedef struct cuda_batch {
    int n_tokens, n_sequences, table_stride; /* host */
    int longest_run;          /* host: most rows of one sequence; 1: every sequence decodes one token */
    int longest_context;      /* host: most keys that a sequence sees, this step's included */
    int32_t *token_ids;       /* [max_tokens] -1: last of the slot */
    int32_t *positions;       /* [max_tokens] */
    int32_t *row_sequence;    /* [max_tokens] which sequence a row belongs to */
    int32_t *sequence_start;  /* [max_sequences + 1] */
    int32_t *slots;           /* [max_sequences] */
    int32_t *contexts;        /* [max_sequences] keys after this step: last position + 1 */
    int32_t *tables[OPS_KV_KINDS]; /* [max_sequences, table_stride] */
} cuda_batch;

struct ops_context {
    int device, sm_count, major; /* compute capability */
    size_t shared_max;           /* bytes of shared memory a block may ask for */
    cudaStream_t stream;
    cublasLtHandle_t lt;
    ops_shape shape;
    cuda_batch batch;
    /* the first error of a launch or of the device; later work is pointless and the next blocking entry reports it */
    cudaError_t failed;
    const char *failed_where;
    struct cuda_memory *memory;       /* cuda_memory.cu: everything allocated, freed at close */
    struct cuda_staging *staging;     /* cuda_place.cu: pinned buffers and threads for loading */
    struct cuda_rope_state *rope;          /* cuda_qkv.cu */
    struct cuda_dense_state *dense;         /* cuda_dense.cu: plans and workspace of the dense products */
    struct cuda_attention_state *attention; /* cuda_attention.cu: partial results of the split over the context */
    struct cuda_experts_state *experts;     /* cuda_experts.cu: rows grouped by expert */
    struct cuda_sampler_state *sampler;     /* cuda_sample.cu: slots, penalties, results */
};

/* Remembers the first failure. Use after every launch: cuda_check(c, cudaGetLastError(), "attention"). */
static inline void cuda_check(ops_context *c, cudaError_t result, const char *where)
{
    if (result != cudaSuccess && c->failed == cudaSuccess) {
        c->failed = result;
        c->failed_where = where;
    }
}

/* Each part takes its workspaces here, once the shape is known; freed with the context's memory. */
status cuda_rope_configure(ops_context *c, status_detail *detail);
status cuda_dense_configure(ops_context *c, status_detail *detail);
status cuda_attention_configure(ops_context *c, status_detail *detail);
status cuda_experts_configure(ops_context *c, status_detail *detail);
status cuda_sampler_configure(ops_context *c, status_detail *detail);

/* Device memory that lives until close, 256-byte aligned. */
status cuda_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail);

/* Host memory, zeroed, that lives until close: the parts' own structs. */
status cuda_host_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail);

/* out [n, w->rows] = rows [n, w->cols] W^T + bias (absent: none); BF16 in, F32 sums, BF16 or F32 out as `type` says. out_stride: elements
 * between rows of out. Chooses between a memory-bound kernel for few rows and cuBLASLt. */
void cuda_dense(ops_context *c, int n, const bf16 *rows, const ops_weight *w, const ops_weight *bias, void *out, int64_t out_stride, dtype type);

/* The stages, as ops.h says. */
void cuda_embed(ops_context *c, const ops_weight *embedding, void *x);
void cuda_add_norm(ops_context *c, int n_rows, void *x, const void *delta, const ops_weight *norm, void *normed);
void cuda_qkv(ops_context *c, const ops_layer *layer, const void *normed, void *q);
void cuda_attention(ops_context *c, const ops_layer *layer, const void *q, void *out);
void cuda_attention_out(ops_context *c, const ops_layer *layer, const void *attn, void *delta);
void cuda_route(ops_context *c, const ops_layer *layer, int n_rows, const void *normed, int32_t *ids, float *weights);
void cuda_experts(ops_context *c, const ops_layer *layer, int n_rows, const void *rows, const int32_t *ids, const float *weights, void *out);
void cuda_logits(ops_context *c, const ops_weight *head, const void *normed, const ops_logit_row *rows, int n, float *logits);
void cuda_sample(ops_context *c, const float *logits, const ops_logit_row *rows, int n, int first_result);
status cuda_slot_begin(ops_context *c, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated, status_detail *detail);
status cuda_results(ops_context *c, int ago, int first, int n, ops_token *out, status_detail *detail);

#endif
