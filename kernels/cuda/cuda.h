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

/* The batch on the device, written by batch_begin in one copy. Addresses are a function of (n_tokens, n_sequences, table_stride, n_tiles) alone, all of
 * which a captured graph is specific to: a replay with equal figures finds its inputs where they were. table_stride follows from longest_context, and
 * both come in powers of two, so that few graphs serve all contexts. */
typedef struct cuda_batch {
    int n_tokens, n_sequences, table_stride; /* host */
    int longest_run;          /* host: most rows of one sequence; 1: every sequence decodes one token */
    int longest_context;      /* host: a bound on the keys that a sequence sees, this step's included */
    int n_tiles;              /* host: runs cut into pieces for attention; see tile_tokens */
    int32_t *token_ids;       /* [max_tokens] -1: last of the slot */
    int32_t *positions;       /* [max_tokens] */
    int32_t *row_sequence;    /* [max_tokens] which sequence a row belongs to */
    int32_t *sequence_start;  /* [max_sequences + 1] */
    int32_t *slots;           /* [max_sequences] */
    int32_t *contexts;        /* [max_sequences] keys after this step: last position + 1 */
    int32_t *tables[OPS_KV_KINDS]; /* [max_sequences, table_stride] */
    int32_t *tile_sequence;   /* [max_tokens] sequence of each piece */
    int32_t *tile_token;      /* [max_tokens] first token of the piece within its sequence's run */
} cuda_batch;

struct ops_context {
    int device, sm_count, major; /* compute capability */
    bool early;                  /* kernels of cuda_launch may start before the one before has ended */
    size_t shared_max;           /* bytes of shared memory a block may ask for */
    cudaStream_t stream;
    cublasLtHandle_t lt;
    bool wgmma;                  /* the program holds code for this very device's tensor cores (90a) */
    void (*loading)(void *user, int64_t bytes); /* as asked at open, with its argument */
    void *loading_user;
    int threads, block_tokens;   /* as asked at open: processors for loading, tokens of a KV block */
    ops_shape shape;
    cuda_batch batch;
    /* the first error of a launch or of the device; later work is pointless and the next blocking entry reports it */
    cudaError_t failed;
    const char *failed_where;
    struct cuda_memory *memory;             /* cuda_memory.cu: everything allocated, freed at close */
    struct cuda_loader *loader;             /* cuda_loader.cu: pinned buffers and threads while weights are placed; NULL at other times */
    struct cuda_step_state *step;           /* cuda_step.cu: staging of what the host tells a step */
    struct cuda_logits_state *logits;       /* cuda_logits.cu: rows gathered for the head */
    struct cuda_route_state *route;         /* cuda_route.cu: the router's logits */
    struct cuda_rope_state *rope;           /* cuda_qkv.cu */
    struct cuda_dense_state *dense;         /* cuda_dense.cu: plans and workspace of the dense products */
    struct cuda_attention_state *attention; /* cuda_attention.cu: partial results of the split over the context */
    struct cuda_experts_state *experts;     /* cuda_experts.cu: rows grouped by expert */
    struct cuda_record_state *record;       /* cuda_record.cu: graphs of decode steps */
    struct cuda_sampler_state *sampler;     /* cuda_sample.cu: slots, penalties, results */
    struct cuda_decode_state *decode;       /* cuda_decode.cu: what its kernel needs of the model; NULL where it does not serve */
};

/* Remembers the first failure. Use after every launch: cuda_check(c, cudaGetLastError(), "attention"). */
static inline void cuda_check(ops_context *c, cudaError_t result, const char *where)
{
    if (result != cudaSuccess && c->failed == cudaSuccess) {
        c->failed = result;
        c->failed_where = where;
    }
}

/* ---- kernels that start early ----------------------------------------------------------------------------------------
 *
 * On compute capability 9 a kernel launched with cuda_launch may begin while the one before still runs: its launch and its first reads of weights hide
 * behind it (programmatic dependent launch). Rules, which together make at most two kernels overlap:
 *   - every block calls cuda_wait_for_previous() before it reads what any kernel wrote, and before it writes anything;
 *   - before that it reads nothing but weights, and what kernels wrote that were launched before the previous one;
 *   - cuda_let_next_start() comes after it, never before.
 * Kernels launched with <<<>>> wait for the one before as a whole, and need neither.
 *
 * No kernel starts early where ranks share a GPU at the same time (MPS): one that waits behind a kernel that waits for another rank would hold the memory that the other
 * rank's kernels need. */
__device__ static inline void cuda_wait_for_previous(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ static inline void cuda_let_next_start(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* A failure is remembered under `where`. */
template <typename... parameters, typename... arguments>
static inline void cuda_launch(ops_context *c, const char *where, void (*kernel)(parameters...), dim3 grid, dim3 block, size_t shared_bytes, arguments... values)
{
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = c->stream;
    config.attrs = &early;
    config.numAttrs = c->early ? 1 : 0;
    cuda_check(c, cudaLaunchKernelEx(&config, kernel, (parameters)values...), where);
}

/* What a blocking entry answers: STATUS_OK, or the first failure that cuda_check remembered. Failures stay. */
status cuda_report(ops_context *c, status_detail *detail);

/* Each part takes its workspaces here, once the shape is known; freed with the context's memory. */
status cuda_rope_configure(ops_context *c, status_detail *detail);
status cuda_dense_configure(ops_context *c, status_detail *detail);
status cuda_attention_configure(ops_context *c, status_detail *detail);
status cuda_experts_configure(ops_context *c, status_detail *detail);
status cuda_sampler_configure(ops_context *c, status_detail *detail);
status cuda_step_configure(ops_context *c, status_detail *detail);
status cuda_logits_configure(ops_context *c, status_detail *detail);
status cuda_route_configure(ops_context *c, status_detail *detail);
status cuda_record_configure(ops_context *c, status_detail *detail);

/* Device memory that lives until close, 256-byte aligned, contents undefined. STATUS_MACHINE, with what was wanted and what is free. */
status cuda_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail);

/* Host memory, zeroed, that lives until close: the parts' own structs. */
status cuda_host_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail);
/* Page-locked host memory, zeroed, that lives until close; kernels may use its address. */
status cuda_pinned_allocate(ops_context *c, size_t bytes, void **out, status_detail *detail);
void cuda_memory_free(ops_context *c);

/* out [n, w->rows] = rows [n, w->cols] W^T + bias (absent: none); BF16 in, F32 sums, BF16 or F32 out as `type` says. out_stride: elements
 * between rows of out. Chooses between a memory-bound kernel for few rows and cuBLASLt. */
void cuda_dense(ops_context *c, int n, const bf16 *rows, const ops_weight *w, const ops_weight *bias, void *out, int64_t out_stride, dtype type);

/* Tokens of one piece of a run, as the attention kernel for runs cuts it. */
int cuda_attention_tile_tokens(const ops_shape *shape);

/* The rotary tables on the device, [max_positions, head_dim / 2] each. */
void cuda_rope_tables(const ops_context *c, const float **cosine, const float **sine);
/* Frees the plans of the dense products. */
void cuda_dense_close(ops_context *c);
/* The widest row that add_norm holds. */
int cuda_norm_max_hidden(void);
/* Device array [max_sequences]: the id last drawn in each slot. */
const int32_t *cuda_sampler_last(const ops_context *c);
/* Which kernels `sample` launches for these rows, as bits. A graph that captured a call of `sample` serves rows with equal bits. */
unsigned cuda_sample_features(const ops_context *c, const ops_logit_row *rows, int n);

/* cuda_step.cu. Page-locked memory for an upload that is issued now on the stream; waits for the device when a step stages more than usual.
 * At most cuda_step_stage_max() bytes. */
void *cuda_step_stage(ops_context *c, size_t bytes);
size_t cuda_step_stage_max(void);
/* `rows` on the device, at one address for all calls, valid until the next call. Rows that were the last to go up in this batch do not go up
 * again: called before a graph is captured or replayed, it leaves nothing to copy inside. */
const ops_logit_row *cuda_step_rows(ops_context *c, const ops_logit_row *rows, int n);
/* Device array [max_sequences, ops_mask_words(vocab)]: the batch's masks. */
const uint32_t *cuda_step_masks(const ops_context *c);
/* Which of the two result buffers the batch has: on the device, and now on the host. */
const int32_t *cuda_step_parity(const ops_context *c);
/* On the device: the number of the batch, counted from 1 and around. */
const int32_t *cuda_step_serial(const ops_context *c);
int cuda_step_parity_now(const ops_context *c);
/* Blocks until the step `ago` steps back (0 or 1) is done. */
void cuda_step_wait(ops_context *c, int ago);
void cuda_step_close(ops_context *c);
/* Frees the graphs. */
void cuda_record_close(ops_context *c);

/* cuda_loader.cu: ends the threads, whatever they still had to do. */
void cuda_loader_close(ops_context *c);

/* The entries, as ops.h says. */
status cuda_place(ops_context *c, const ops_weight *host, int n, uint64_t seed, ops_weight *placed, status_detail *detail);
status cuda_place_end(ops_context *c, status_detail *detail);
status cuda_batch_begin(ops_context *c, const ops_batch *batch, status_detail *detail);
status cuda_record_begin(ops_context *c, const ops_logit_row *rows, int n, ops_recording *how, status_detail *detail);
status cuda_record_end(ops_context *c, status_detail *detail);
void cuda_embed(ops_context *c, const ops_weight *embedding, void *x);
void cuda_add_norm(ops_context *c, int n_rows, void *x, const void *delta, const ops_weight *norm, void *normed);
void cuda_qkv(ops_context *c, const ops_layer *layer, const void *normed, void *q);
void cuda_attention(ops_context *c, const ops_layer *layer, const void *q, void *out);
void cuda_attention_out(ops_context *c, const ops_layer *layer, const void *attn, void *delta);
void cuda_route(ops_context *c, const ops_layer *layer, int n_rows, const void *normed, int32_t *ids, float *weights);
void cuda_experts(ops_context *c, const ops_layer *layer, int n_rows, const void *rows, const int32_t *ids, const float *weights, void *out);
void cuda_logits(ops_context *c, const ops_weight *head, const void *normed, const ops_logit_row *rows, int n, float *logits);
status cuda_decode_open(ops_context *c, const ops_stack *stack, int *max_rows, status_detail *detail);
void cuda_decode(ops_context *c, float *logits);
void cuda_sample(ops_context *c, const float *logits, const ops_logit_row *rows, int n, int first_result);
status cuda_slot_begin(ops_context *c, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated, status_detail *detail);
status cuda_results(ops_context *c, int ago, int first, int n, ops_token *out, status_detail *detail);

#endif
