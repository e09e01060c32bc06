/* What the files of the model share; nobody else includes it. */
#ifndef RUNTIME_MODEL_MODEL_INTERNAL_H
#define RUNTIME_MODEL_MODEL_INTERNAL_H

#include "runtime/model/checkpoint.h"
#include "runtime/model/model.h"

/* Device buffers of one step. n = rows of the group, up to max_tokens. */
typedef struct model_buffers {
    void *x;          /* [n, hidden] residual stream */
    void *normed;     /* [n, hidden] */
    void *delta;      /* [n rounded up to a multiple of tp, hidden] what a block adds to x */
    void *q, *attn;   /* [n, q_heads, head_dim] */
    int32_t *expert_ids;   /* [n, top_k] */
    float *expert_weights; /* [n, top_k] */
    float *logits;         /* [tp, max_logit_rows, vocab_shard] */
    /* Only where groups gather their tokens (attention dp, experts tp): all groups' rows, each padded to the longest */
    void *all_rows, *all_out; /* [dp * n, hidden] */
    int32_t *all_ids;         /* [dp * n, top_k] */
    float *all_weights;       /* [dp * n, top_k] */
    /* Only where tokens travel (experts ep with several groups) */
    void *returned;           /* [rows received, hidden] */
} model_buffers;

struct model {
    world *world;
    model_config config;
    shard_plan plan;
    const ops *ops;
    ops_context *context;
    checkpoint *checkpoint;
    ops_shape shape;
    dtype activation; /* of all rows that layers pass on */
    void (*progress)(void *user, int64_t done, int64_t total); /* of loading, as asked at open */
    void *progress_user;
    bool told; /* it was called */
    float *rope; /* cos, then sin: [max_positions, head_dim / 2] each */

    comm *everyone; /* all ranks */
    comm *group;    /* ranks that share attention heads */
    comm *peers;    /* the ranks of our place in every group */
    exchange *exchange; /* NULL unless tokens travel */
    /* How experts are reached in this layout: x += the complete weighted sum of the experts over normed; normed = x under the norm `next`. */
    status (*experts)(struct model *m, const ops_layer *layer, const ops_weight *next, int n, int max_group_tokens, status_detail *detail);

    ops_weight embedding, final_norm, head;
    int decode_rows; /* rows of a decode step that the backend takes in one go; 0: stage by stage */
    ops_layer *layers; /* [config.layers] */
    model_buffers buffers;
};

/* x += the sum over `ranks` of their buffers.delta; normed = x under `norm`. n > 0 rows, the same on all of them. In one kernel where the transport
 * has one for so many rows. */
status model_reduce_add_norm(model *m, comm *ranks, int n, const ops_weight *norm, status_detail *detail);

/* Places this rank's slices of all weights on the device. */
status model_load_weights(model *m, status_detail *detail);

/* The rows that one call of the experts stage may get in this layout, when a group holds up to `max_tokens`. */
int model_experts_rows(const shard_plan *plan, int max_tokens);
/* Chooses how experts are reached and takes what that needs: exchange, buffers. Collective. Needs plan, shape and communicators. */
status model_experts_open(model *m, status_detail *detail);

/* Device memory for `count` elements of `size` bytes. */
status model_allocate(model *m, size_t count, size_t size, void **out, status_detail *detail);

#endif
