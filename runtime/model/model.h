/* The model of one rank: its weights on its device, its KV cache, and the one forward pass.
 *
 * Layouts meet here: where partial sums are reduced, where tokens travel to experts, where logits are gathered. Backends differ only beneath
 * kernels/ops.h, transports beneath comm/comm.h.
 */
#ifndef RUNTIME_MODEL_MODEL_H
#define RUNTIME_MODEL_MODEL_H

#include "comm/comm.h"
#include "kernels/ops.h"
#include "runtime/base/settings.h"
#include "runtime/base/status.h"
#include "runtime/model/model_config.h"
#include "runtime/model/shard_plan.h"

typedef struct model model;

typedef struct model_options {
    const char *dir;          /* the checkpoint; may be NULL when config is given and weights are dummy */
    const model_config *config; /* NULL: read from dir */
    settings_weights weights;
    shard_layout layout;
    const char *backend;      /* "auto", "cpu", "cuda" */
    bool share_gpu;
    int threads;              /* CPU, 0: a fair part of the cores */
    int max_tokens;           /* rows of a step in one data-parallel group */
    int max_sequences;        /* slots in one group */
    int max_model_len;        /* 0: the model's own limit */
    /* Told several times a second while weights are copied to a device, at last with done == total; NULL: not wanted. `user` is handed to it. */
    void (*progress)(void *user, int64_t done, int64_t total);
    void *user;
} model_options;

/* Collective over the world. Takes the device, loads this rank's slices, takes all workspaces but the KV cache. A failure on one rank is not
 * yet known to the others: callers agree with world_agree() afterwards. */
status model_open(world *w, const model_options *options, model **out, status_detail *detail);
void model_close(model *m); /* collective; NULL is allowed */

const model_config *model_get_config(const model *m);
const shard_plan *model_get_plan(const model *m);
void model_get_caps(const model *m, ops_caps *out); /* memory_free: what is left now, for the KV cache */
/* [any thread] Of this rank's device; as ops.memory. false: it cannot be told. */
bool model_get_memory(const model *m, ops_memory *out);
int model_block_tokens(const model *m);
int model_max_logit_rows(const model *m); /* rows of one logits chunk; a step may ask for any number up to max_tokens */

/* Bytes that one block takes on this rank, over all layers of the kind. */
int64_t model_kv_block_bytes(const model *m, int kind);
/* Takes the KV cache: blocks per kind (OPS_FULL, OPS_SLIDING). Once. The same numbers on all ranks. */
status model_kv_reserve(model *m, const int blocks[OPS_KV_KINDS], status_detail *detail);

status model_slot_begin(model *m, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated, status_detail *detail);

/* One step of this rank's data-parallel group. */
typedef struct model_step {
    ops_batch batch;               /* n_tokens may be 0: the rank still takes part in exchanges */
    const ops_logit_row *logit_rows; /* result i is row i */
    int n_logit_rows;
    int max_group_tokens;          /* the largest n_tokens over all groups of the world in this step; 0: nothing to do anywhere */
} model_step;

/* Collective over the world: every rank calls it for every step, ranks of one group with the same step. */
status model_forward(model *m, const model_step *step, status_detail *detail);

/* Results of the step `ago` steps back (0 or 1), [0, n). Blocks. */
status model_results(model *m, int ago, int n, ops_token *out, status_detail *detail);

#endif
