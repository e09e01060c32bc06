#include "runtime/model/checkpoint_names.h"

#include <stdio.h>
#include <string.h>

/* The sizes that shapes are made of. */
typedef enum dim {
    NONE,
    VOCAB,
    HIDDEN,
    Q_ROWS,
    KV_ROWS,
    QKV_ROWS,
    Q_HEADS,
    EXPERTS,
    GATE_UP_ROWS,
    HIDDEN_BLOCKS, /* of 32 columns */
    INTERMEDIATE_BLOCKS,
    BLOCK_BYTES
} dim;

static int64_t dim_size(const model_config *c, dim d)
{
    switch (d) {
    case NONE: return 0;
    case VOCAB: return c->vocab;
    case HIDDEN: return c->hidden;
    case Q_ROWS: return (int64_t)c->q_heads * c->head_dim;
    case KV_ROWS: return (int64_t)c->kv_heads * c->head_dim;
    case QKV_ROWS: return ((int64_t)c->q_heads + 2 * (int64_t)c->kv_heads) * c->head_dim;
    case Q_HEADS: return c->q_heads;
    case EXPERTS: return c->experts;
    case GATE_UP_ROWS: return 2 * (int64_t)c->intermediate;
    case HIDDEN_BLOCKS: return c->hidden / 32;
    case INTERMEDIATE_BLOCKS: return c->intermediate / 32;
    case BLOCK_BYTES: return 16;
    }
    return 0;
}

/* Names of a layer's tensors stand after "model.layers.N." and "block.N.". NULL: not in that layout. */
typedef struct tensor_row {
    const char *hf, *original;
    dtype type;
    dim shape[CHECKPOINT_MAX_DIMS];
} tensor_row;

static const tensor_row rows[CHECKPOINT_ROLES] = {
    [CHECKPOINT_EMBEDDING] = {"model.embed_tokens.weight", "embedding.weight", DTYPE_BF16, {VOCAB, HIDDEN}},
    [CHECKPOINT_FINAL_NORM] = {"model.norm.weight", "norm.scale", DTYPE_BF16, {HIDDEN}},
    [CHECKPOINT_HEAD] = {"lm_head.weight", "unembedding.weight", DTYPE_BF16, {VOCAB, HIDDEN}},

    [CHECKPOINT_ATTN_NORM] = {"input_layernorm.weight", "attn.norm.scale", DTYPE_BF16, {HIDDEN}},
    [CHECKPOINT_Q] = {"self_attn.q_proj.weight", NULL, DTYPE_BF16, {Q_ROWS, HIDDEN}},
    [CHECKPOINT_Q_BIAS] = {"self_attn.q_proj.bias", NULL, DTYPE_BF16, {Q_ROWS}},
    [CHECKPOINT_K] = {"self_attn.k_proj.weight", NULL, DTYPE_BF16, {KV_ROWS, HIDDEN}},
    [CHECKPOINT_K_BIAS] = {"self_attn.k_proj.bias", NULL, DTYPE_BF16, {KV_ROWS}},
    [CHECKPOINT_V] = {"self_attn.v_proj.weight", NULL, DTYPE_BF16, {KV_ROWS, HIDDEN}},
    [CHECKPOINT_V_BIAS] = {"self_attn.v_proj.bias", NULL, DTYPE_BF16, {KV_ROWS}},
    [CHECKPOINT_QKV] = {NULL, "attn.qkv.weight", DTYPE_BF16, {QKV_ROWS, HIDDEN}},
    [CHECKPOINT_QKV_BIAS] = {NULL, "attn.qkv.bias", DTYPE_BF16, {QKV_ROWS}},
    [CHECKPOINT_SINKS] = {"self_attn.sinks", "attn.sinks", DTYPE_BF16, {Q_HEADS}},
    [CHECKPOINT_O] = {"self_attn.o_proj.weight", "attn.out.weight", DTYPE_BF16, {HIDDEN, Q_ROWS}},
    [CHECKPOINT_O_BIAS] = {"self_attn.o_proj.bias", "attn.out.bias", DTYPE_BF16, {HIDDEN}},
    [CHECKPOINT_MLP_NORM] = {"post_attention_layernorm.weight", "mlp.norm.scale", DTYPE_BF16, {HIDDEN}},
    [CHECKPOINT_ROUTER] = {"mlp.router.weight", "mlp.gate.weight", DTYPE_BF16, {EXPERTS, HIDDEN}},
    [CHECKPOINT_ROUTER_BIAS] = {"mlp.router.bias", "mlp.gate.bias", DTYPE_BF16, {EXPERTS}},
    [CHECKPOINT_GATE_UP_BLOCKS] = {"mlp.experts.gate_up_proj_blocks",
                                   "mlp.mlp1_weight.blocks",
                                   DTYPE_U8,
                                   {EXPERTS, GATE_UP_ROWS, HIDDEN_BLOCKS, BLOCK_BYTES}},
    [CHECKPOINT_GATE_UP_SCALES] = {"mlp.experts.gate_up_proj_scales",
                                   "mlp.mlp1_weight.scales",
                                   DTYPE_U8,
                                   {EXPERTS, GATE_UP_ROWS, HIDDEN_BLOCKS}},
    [CHECKPOINT_GATE_UP_BIAS] = {"mlp.experts.gate_up_proj_bias", "mlp.mlp1_bias", DTYPE_BF16, {EXPERTS, GATE_UP_ROWS}},
    [CHECKPOINT_DOWN_BLOCKS] = {"mlp.experts.down_proj_blocks",
                                "mlp.mlp2_weight.blocks",
                                DTYPE_U8,
                                {EXPERTS, HIDDEN, INTERMEDIATE_BLOCKS, BLOCK_BYTES}},
    [CHECKPOINT_DOWN_SCALES] = {"mlp.experts.down_proj_scales",
                                "mlp.mlp2_weight.scales",
                                DTYPE_U8,
                                {EXPERTS, HIDDEN, INTERMEDIATE_BLOCKS}},
    [CHECKPOINT_DOWN_BIAS] = {"mlp.experts.down_proj_bias", "mlp.mlp2_bias", DTYPE_BF16, {EXPERTS, HIDDEN}},
};

static const char *layer_prefix(bool original) { return original ? "block." : "model.layers."; }

bool checkpoint_names_spec(const model_config *config, checkpoint_role role, int layer, checkpoint_spec *out)
{
    const tensor_row *row = &rows[role];
    const char *name = config->original_layout ? row->original : row->hf;
    if (!name) return false;
    if (role < CHECKPOINT_FIRST_OF_LAYER)
        snprintf(out->name, sizeof out->name, "%s", name);
    else
        snprintf(out->name, sizeof out->name, "%s%d.%s", layer_prefix(config->original_layout), layer, name);
    out->type = row->type;
    out->bytes = (int64_t)dtype_size(row->type);
    out->n_dims = 0;
    while (out->n_dims < CHECKPOINT_MAX_DIMS && row->shape[out->n_dims] != NONE) {
        int64_t size = dim_size(config, row->shape[out->n_dims]);
        out->shape[out->n_dims++] = size;
        out->bytes *= size;
    }
    return true;
}

bool checkpoint_names_next(const model_config *config, checkpoint_cursor *cursor, checkpoint_spec *out)
{
    while (cursor->next_layer < config->layers) {
        cursor->role = cursor->next_role;
        cursor->layer = cursor->next_layer;
        if (++cursor->next_role == CHECKPOINT_ROLES) {
            cursor->next_role = CHECKPOINT_FIRST_OF_LAYER;
            cursor->next_layer++;
        }
        if (checkpoint_names_spec(config, cursor->role, cursor->layer, out)) return true;
    }
    return false;
}

bool checkpoint_names_in_layer(bool original_layout, const char *name)
{
    const char *prefix = layer_prefix(original_layout);
    return strncmp(name, prefix, strlen(prefix)) == 0;
}
