/* What a checkpoint must contain: the name, dtype and shape of every tensor, in both layouts. Pure. Internal to the
 * model layer.
 *
 * Sources: openai/gpt-oss `gpt_oss/torch/weights.py`; huggingface/transformers `convert_gpt_oss_weights_to_hf.py`.
 */
#ifndef RUNTIME_MODEL_CHECKPOINT_NAMES_H
#define RUNTIME_MODEL_CHECKPOINT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/model/model_config.h"

enum { CHECKPOINT_NAME_SIZE = 96, CHECKPOINT_MAX_DIMS = 4 };

/* What a stored tensor is to the model. The first three are there once, the others once a layer. */
typedef enum checkpoint_role {
    CHECKPOINT_EMBEDDING,
    CHECKPOINT_FINAL_NORM,
    CHECKPOINT_HEAD,
    CHECKPOINT_FIRST_OF_LAYER,
    CHECKPOINT_ATTN_NORM = CHECKPOINT_FIRST_OF_LAYER,
    CHECKPOINT_Q, /* Hugging Face's layout only, as K and V and their biases */
    CHECKPOINT_Q_BIAS,
    CHECKPOINT_K,
    CHECKPOINT_K_BIAS,
    CHECKPOINT_V,
    CHECKPOINT_V_BIAS,
    CHECKPOINT_QKV, /* OpenAI's layout only: rows of q, then k, then v */
    CHECKPOINT_QKV_BIAS,
    CHECKPOINT_SINKS,
    CHECKPOINT_O,
    CHECKPOINT_O_BIAS,
    CHECKPOINT_MLP_NORM,
    CHECKPOINT_ROUTER,
    CHECKPOINT_ROUTER_BIAS,
    CHECKPOINT_GATE_UP_BLOCKS, /* 16 bytes of codes for each 32 columns */
    CHECKPOINT_GATE_UP_SCALES,
    CHECKPOINT_GATE_UP_BIAS,
    CHECKPOINT_DOWN_BLOCKS,
    CHECKPOINT_DOWN_SCALES,
    CHECKPOINT_DOWN_BIAS,
    CHECKPOINT_ROLES
} checkpoint_role;

typedef struct checkpoint_spec {
    char name[CHECKPOINT_NAME_SIZE];
    dtype type; /* BF16 or U8 */
    int n_dims;
    int64_t shape[CHECKPOINT_MAX_DIMS];
    int64_t bytes;
} checkpoint_spec;

/* The tensor of that role, in the layout that config->original_layout says; `layer` is ignored for the first three.
 * False when the layout has none. */
bool checkpoint_names_spec(const model_config *config, checkpoint_role role, int layer, checkpoint_spec *out);

/* A walk over all tensors of the model: the first three, then layer by layer. Starts as {0}. */
typedef struct checkpoint_cursor {
    checkpoint_role role; /* of the tensor that the last call wrote, as layer */
    int layer;
    checkpoint_role next_role;
    int next_layer;
} checkpoint_cursor;

/* Writes the next tensor to `out`; false at the end. */
bool checkpoint_names_next(const model_config *config, checkpoint_cursor *cursor, checkpoint_spec *out);

/* Whether a tensor of this name would be part of a layer of the layout, known or not. */
bool checkpoint_names_in_layer(bool original_layout, const char *name);

#endif
