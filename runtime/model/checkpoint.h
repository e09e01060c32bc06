/* A checkpoint on disk, memory-mapped, with every tensor's name, dtype, shape and byte range checked before use.
 *
 * Two layouts, same weights: Hugging Face (model.safetensors.index.json + shards, or one model.safetensors) and
 * OpenAI's own (`original/`: other names, fused qkv). A model directory with only `original/` inside works too.
 */
#ifndef RUNTIME_MODEL_CHECKPOINT_H
#define RUNTIME_MODEL_CHECKPOINT_H

#include <stddef.h>

#include "kernels/ops.h"
#include "runtime/base/status.h"
#include "runtime/model/model_config.h"

typedef struct checkpoint checkpoint;

/* The tensors of a layer as views of the mapped files: whole, unsliced; formats and shapes as ops_layer says.
 * Vectors (norms, biases, sinks) are batches 1, rows 1, cols n; the experts' biases batches E, rows 1, cols n; matrices
 * batches 1. All strides are set, to the bytes of a row and of a batch, even where there is but one. BF16 data is
 * aligned to 2 bytes, no more. */
typedef struct checkpoint_layer {
    ops_weight attn_norm, q, k, v, q_bias, k_bias, v_bias, sinks, o, o_bias, mlp_norm, router, router_bias;
    ops_weight gate_up, gate_up_bias, down, down_bias;
} checkpoint_layer;

/* Opens and checks all of it; reads headers only. `config` comes from model_config_read of the same directory. A
 * missing or surplus-size tensor, or a wrong shape, is STATUS_MODEL with tensor, file, found and expected; so is a
 * tensor that a layer should not have, for it would change what the layer computes. Other tensors are ignored. Scale
 * bytes of 255 (NaN) are looked for only when `check_scales`, which reads all scales from disk. Files must not be
 * truncated while they are open. */
status checkpoint_open(const char *dir, const model_config *config, bool check_scales, checkpoint **out,
                       status_detail *detail);
/* Views without data, for dummy weights: the same shapes, data NULL. */
status checkpoint_open_dummy(const model_config *config, checkpoint **out, status_detail *detail);
void checkpoint_close(checkpoint *c); /* unmaps; views die; NULL is allowed */

void checkpoint_get_layer(const checkpoint *c, int layer, checkpoint_layer *out);
ops_weight checkpoint_embedding(const checkpoint *c);  /* [vocab, hidden] */
ops_weight checkpoint_final_norm(const checkpoint *c); /* [hidden] */
ops_weight checkpoint_head(const checkpoint *c);       /* [vocab, hidden] */

/* Where a model path leads: itself if it is a directory (with config.json, or `original/config.json`), else the
 * snapshot of that name in the local Hugging Face cache (HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
 * XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub: the first that is set). Writes the directory to out[size].
 * STATUS_MODEL, saying what was looked for and where, when there is none. */
status checkpoint_locate(const char *path, char *out, size_t size, status_detail *detail);

#endif
