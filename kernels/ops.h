/* The backend contract: the stages of a transformer step as mathematics on tensors. Knows no requests and no ranks.
 *
 * A backend is one table of entries (`ops`) and one instance (`ops_context`) per rank. Entries are coarse, so that a backend can fuse
 * inside one. Pointers named "device" are memory of the backend: only its entries (and a transport made for it) may read them; on the CPU
 * backend they are ordinary memory. Work is ordered as it is issued; unless an entry says that it blocks, it may return before it is done,
 * and host arrays passed in are read before it returns. Every entry is required unless it says "may be NULL". Errors of execution surface
 * at the next blocking entry.
 *
 * Activations have the element type `activation` of the context (F32 on the CPU, BF16 on GPUs); sums are F32. Formulas:
 * openai/gpt-oss `gpt_oss/torch/model.py`.
 */
#ifndef KERNELS_OPS_H
#define KERNELS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

typedef struct ops_context ops_context;

/* ---- shapes ----------------------------------------------------------------------------------------------------- */

enum { OPS_FULL = 0, OPS_SLIDING = 1, OPS_KV_KINDS = 2 }; /* the two kinds of attention layer, each with its own block pool */
enum { OPS_MAX_TOP_LOGPROBS = 20, OPS_MAX_TOP_K_EXPERTS = 8 };

/* What this rank computes. Sizes are local to the rank where "local" is said. Copied at open. */
typedef struct ops_shape {
    int hidden;              /* any positive size */
    int head_dim;            /* even */
    int q_heads, kv_heads;   /* local; q_heads is a multiple of kv_heads */
    int n_experts, top_k;    /* in the whole model */
    int expert_first, expert_count; /* local experts */
    int intermediate;        /* local width of an expert, a multiple of 32; may be 0 */
    int vocab;               /* of the whole model */
    int logit_shards;        /* ranks that share the LM head */
    int logit_shard_cols;    /* columns of one shard, ceil(vocab / logit_shards); the last shard may hold fewer */
    int logit_first, logit_count; /* local columns */
    int sliding_window;      /* keys visible to a query in a sliding layer, itself included */
    float rms_eps;
    float swiglu_alpha, swiglu_limit;
    const float *rope_cos, *rope_sin; /* host, [max_positions, head_dim / 2], concentration included; copied or kept: lives until close */
    int max_positions;
    int block_tokens;        /* tokens per KV block */
    int max_tokens;          /* rows of a step */
    int max_expert_rows;     /* rows that `experts` may get at once */
    int max_sequences;       /* slots */
    int max_logit_rows;      /* rows of one call of logits and sample */
    int max_blocks_per_sequence; /* columns of a block table */
} ops_shape;

typedef struct ops_options {
    const char *backend; /* "cpu"; later "cuda" */
    int device;          /* local GPU number; ignored by the CPU */
    bool device_shared;  /* other ranks take the same one */
    int threads;         /* CPU: threads per rank, 0: OpenMP's choice */
    int block_tokens;    /* 0: the backend's choice */
    /* Told several times a second while place_end copies weights: how many bytes of them are read. From its caller's thread; NULL: not wanted. */
    void (*loading)(void *user, int64_t bytes);
    void *user;          /* handed to it */
} ops_options;

/* What a backend is like; valid before any shape is known. */
typedef struct ops_caps {
    const char *name;
    dtype activation;    /* hidden states, queries, KV cache */
    bool host_memory;    /* device pointers can be dereferenced by the host */
    bool asynchronous;   /* work overlaps with the host: the engine may run one step ahead of the results */
    bool batch_invariant; /* a row's result is bit by bit the same whatever else is in its step; otherwise kernels are chosen by the step's size */
    int mxfp4_max_scale; /* the largest exponent byte that place() takes; 254 is the format's own */
    int block_tokens;    /* preferred KV block */
    int64_t memory_free; /* bytes that can still be taken on this device; on the CPU, what this rank may use of the host */
} ops_caps;

/* What a device's memory is like now. A GPU's as a whole, whoever has taken it; on the CPU, of this process: what it has in memory, shared pages such as those
 * of mapped weights included, and what the host, or the container, has. */
typedef struct ops_memory {
    int device;          /* its number among those of the host; -1: the host itself */
    int64_t used, total; /* bytes */
} ops_memory;

/* ---- weights ---------------------------------------------------------------------------------------------------- */

typedef enum ops_format { OPS_BF16, OPS_MXFP4 } ops_format;

/* A vector, a matrix or a stack of matrices [batches, rows, cols], as a view with strides in bytes. cols are contiguous. In MXFP4 `data`
 * holds 4-bit codes, low nibble first, and `scales` one exponent byte (bias 127) per 32 columns. data NULL: the tensor is absent
 * (a bias that another rank adds) when rows is 0, otherwise random values are wanted (weights: dummy): BF16 about normal, with the given mean
 * and deviation; MXFP4 such that products keep their input's size. */
typedef struct ops_weight {
    ops_format format;
    const void *data;
    const uint8_t *scales;
    int64_t batches, rows, cols;
    int64_t row_stride, batch_stride;             /* of data */
    int64_t scale_row_stride, scale_batch_stride; /* of scales */
    float mean, deviation;                        /* of random BF16 values */
} ops_weight;

typedef struct ops_layer {
    int kind;                        /* OPS_FULL or OPS_SLIDING */
    ops_weight attn_norm;            /* [hidden] */
    ops_weight q, k, v;              /* [local heads * head_dim, hidden] */
    ops_weight q_bias, k_bias, v_bias; /* [local heads * head_dim] */
    ops_weight sinks;                /* [q_heads] */
    ops_weight o, o_bias;            /* [hidden, q_heads * head_dim]; [hidden] or absent */
    ops_weight mlp_norm;             /* [hidden] */
    ops_weight router, router_bias;  /* [n_experts, hidden]; [n_experts] */
    ops_weight gate_up, gate_up_bias; /* [expert_count, 2 * intermediate, hidden], rows gate, up, gate, up, ...; [expert_count, 2 * intermediate] */
    ops_weight down, down_bias;      /* [expert_count, hidden, intermediate]; [expert_count, hidden] or absent */
    void *k_cache, *v_cache;         /* device, [blocks, block_tokens, kv_heads, head_dim] of the layer's own pool */
} ops_layer;

/* ---- one step --------------------------------------------------------------------------------------------------- */

/* The rows of a step: a run of consecutive tokens for each sequence in it. Host arrays. */
typedef struct ops_batch {
    int n_tokens, n_sequences;
    const int32_t *token_ids;      /* [n_tokens]; -1: the id last sampled in the sequence's slot */
    const int32_t *positions;      /* [n_tokens] */
    const int32_t *sequence_start; /* [n_sequences + 1] first row of each sequence */
    const int32_t *slots;          /* [n_sequences] */
    /* [n_sequences, table_stride] physical block of each logical block (position / block_tokens), per kind; entries behind the
     * sliding window are -1 and never read */
    const int32_t *block_tables[OPS_KV_KINDS];
    int table_stride;
    /* [n_masks, ops_mask_words(vocab)] sets of ids that rows may name: bit id % 32 of word id / 32 is set when the id may be drawn. At most
     * max_sequences; bits past the vocabulary mean nothing. */
    int n_masks;
    const uint32_t *masks;
} ops_batch;

/* Words of one mask. */
static inline size_t ops_mask_words(int vocab) { return ((size_t)vocab + 31) / 32; }

/* How a slot samples. POD, so that it can travel in the step plan. */
enum { OPS_MAX_LOGIT_BIAS = 1024, OPS_MAX_SUPPRESSED = 64 };
typedef struct ops_sampling {
    float temperature;          /* 0: greedy, lowest id wins ties */
    float top_p;                /* (0, 1]; 1: off */
    int32_t top_k;              /* 0: off */
    float min_p;                /* 0: off */
    float presence_penalty, frequency_penalty; /* 0: off; over generated tokens */
    float repetition_penalty;   /* 1: off; over prompt and generated tokens */
    uint64_t seed;
    int32_t min_tokens;         /* while fewer were generated, `suppressed` ids cannot be drawn */
    int32_t n_suppressed;       /* stop ids, for min_tokens */
    int32_t n_bias;
    int32_t suppressed[OPS_MAX_SUPPRESSED];
    int32_t bias_ids[OPS_MAX_LOGIT_BIAS];
    float bias_values[OPS_MAX_LOGIT_BIAS];
} ops_sampling;

/* One row whose logits are wanted. */
typedef struct ops_logit_row {
    int32_t row;        /* of the batch */
    int32_t slot;
    int32_t position;   /* of the token that is drawn: the key of the draw, with the slot's seed */
    int32_t target;     /* -1: sample, and remember the id in the slot; otherwise score this id, and remember nothing */
    int32_t top;        /* how many top log-probabilities, at most OPS_MAX_TOP_LOGPROBS; -1: none, not even the token's own */
    int32_t generated;  /* tokens generated before this one, for min_tokens */
    int32_t mask;       /* draws only among the ids of the batch's mask number `mask` - 1; 0: among all */
} ops_logit_row;

/* What came out of one row. Log-probabilities are of the raw logits, before temperature, penalties and bias. */
typedef struct ops_token {
    int32_t id;
    float logprob;
    int32_t rank;       /* how many ids have a higher raw logit; 0: the best */
    int32_t n_top;
    int32_t top_ids[OPS_MAX_TOP_LOGPROBS];
    float top_logprobs[OPS_MAX_TOP_LOGPROBS];
} ops_token;

/* The model as a whole, for a backend that takes a step in one go. Its arrays and tensors live as long as the context. */
typedef struct ops_stack {
    int n_layers;
    const ops_layer *layers;       /* caches included */
    ops_weight embedding, final_norm, head;
} ops_stack;

typedef enum ops_recording { OPS_ISSUE, OPS_RECORD, OPS_REPLAYED } ops_recording;

/* ---- the table -------------------------------------------------------------------------------------------------- */

typedef struct ops {
    const char *name;

    /* Takes the device. STATUS_MACHINE when it is not there. */
    status (*open)(const ops_options *options, ops_context **out, status_detail *detail);
    void (*close)(ops_context *c);
    void (*caps)(ops_context *c, ops_caps *out);
    /* [any thread, as long as the context is open] Neither waits for work nor holds any up, and leaves no mark on the context. false: it cannot be told. */
    bool (*memory)(const ops_context *c, ops_memory *out);
    /* The stream that transports order their work on; NULL for host memory. */
    void *(*stream)(ops_context *c);

    /* Fixes the shapes and takes all workspaces. Once per context, before any stage. */
    status (*configure)(ops_context *c, const ops_shape *shape, status_detail *detail);
    /* Device memory, 256-byte aligned, contents undefined; freed by close. */
    status (*allocate)(ops_context *c, size_t bytes, void **out, status_detail *detail);
    /* Makes `n` host views usable by the stages; n > 1 weights are used together and may be laid side by side. The CPU keeps pointing into
     * the mapped file, so the views' memory must outlive the context. `seed` decides dummy values. May return before copying is done:
     * place_end waits for all. */
    status (*place)(ops_context *c, const ops_weight *host, int n, uint64_t seed, ops_weight *placed, status_detail *detail);
    status (*place_end)(ops_context *c, status_detail *detail);
    /* Host copies for tests; blocking. */
    status (*upload)(ops_context *c, void *device, const void *host, size_t bytes, status_detail *detail);
    status (*download)(ops_context *c, void *host, const void *device, size_t bytes, status_detail *detail);

    /* Sets up a slot for a new sequence: its sampling, and the ids it starts with (prompt, and what was generated before a preemption,
     * of which the last n_generated count as generated) for the penalties. ids may be NULL when no penalty is on. */
    status (*slot_begin)(ops_context *c, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated,
                         status_detail *detail);

    /* The stages of a step, in this order; the batch holds until the next batch_begin. */
    status (*batch_begin)(ops_context *c, const ops_batch *batch, status_detail *detail);
    /* Both may be NULL. A backend may keep the work of a step and issue it again in one go. Right after batch_begin, and only where all that follows
     * until the end of `sample` is decided by the batch and by `rows` (all rows whose logits are wanted), on the backend's stream:
     * OPS_ISSUE: go on as usual. OPS_REPLAYED: the whole step is under way, nothing is left to do. OPS_RECORD: issue the step as usual,
     * transports included, then call record_end, also after a failure; nothing runs before that. */
    status (*record_begin)(ops_context *c, const ops_logit_row *rows, int n, ops_recording *how, status_detail *detail);
    status (*record_end)(ops_context *c, status_detail *detail);
    /* x = embedding[token ids]; x [n_tokens, hidden] */
    void (*embed)(ops_context *c, const ops_weight *embedding, void *x);
    /* x += delta (NULL: nothing to add); normed = RMSNorm(x) * norm. Rows may be any number up to max_tokens. */
    void (*add_norm)(ops_context *c, int n_rows, void *x, const void *delta, const ops_weight *norm, void *normed);
    /* q = rope(W_q n + b_q) [n_tokens, q_heads, head_dim]; k, v likewise, written into the layer's cache. */
    void (*qkv)(ops_context *c, const ops_layer *layer, const void *normed, void *q);
    /* out [n_tokens, q_heads, head_dim]: softmax(q k / sqrt(head_dim), with the head's sink in the denominator) v over the cache. */
    void (*attention)(ops_context *c, const ops_layer *layer, const void *q, void *out);
    /* delta [n_tokens, hidden] = W_o attn + b_o, a partial sum over the local heads. */
    void (*attention_out)(ops_context *c, const ops_layer *layer, const void *attn, void *delta);
    /* The top_k of the router's logits (F32; lowest id wins ties) and the softmax over them. ids, weights: device [n_rows, top_k]. */
    void (*route)(ops_context *c, const ops_layer *layer, int n_rows, const void *normed, int32_t *ids, float *weights);
    /* out [n_rows, hidden] = sum over the row's LOCAL experts of weight * expert(row); ids of other experts and -1 add nothing, so a row
     * without a local expert becomes 0. n_rows up to max_expert_rows. */
    void (*experts)(ops_context *c, const ops_layer *layer, int n_rows, const void *rows, const int32_t *ids, const float *weights, void *out);
    /* logits [n, logit_shard_cols] F32 of the batch's rows rows[i].row, local columns; columns past logit_count are undefined. */
    void (*logits)(ops_context *c, const ops_weight *head, const void *normed, const ops_logit_row *rows, int n, float *logits);
    /* Both may be NULL. A backend may have one stage for all from embed to logits, of decode steps that one rank computes alone. decode_open, once, when
     * weights and caches are there: *max_rows is how many rows it takes, 0 if it has no such stage for this model. decode: logits [n, logit_shard_cols] of
     * the batch, which has n rows, at most max_rows, one for each sequence; the same numbers as the stages up to the rounding of sums. */
    status (*decode_open)(ops_context *c, const ops_stack *stack, int *max_rows, status_detail *detail);
    void (*decode)(ops_context *c, float *logits);
    /* `logits` [logit_shards, n, logit_shard_cols] F32, all columns. Draws or scores row i into result slot first_result + i; the slot
     * remembers a drawn id for the next step and for penalties. The draw depends on (seed, position, logits) alone. */
    void (*sample)(ops_context *c, const float *logits, const ops_logit_row *rows, int n, int first_result);
    /* Copies results [first, first + n) of the step `ago` steps back (0: the current batch, 1: the one before); blocks until they are
     * there. Results stay readable for one more batch_begin. */
    status (*results)(ops_context *c, int ago, int first, int n, ops_token *out, status_detail *detail);
} ops;

/* The backend of that name, or NULL. "auto" is the fastest one this build has and this machine can run. */
const ops *ops_find(const char *name);
/* Names in this build, comma separated, for messages. */
const char *ops_names(void);

#endif
