/* Which tensor of a written checkpoint lies where. Internal to the model layer. */
#ifndef RUNTIME_MODEL_SYNTH_PLAN_H
#define RUNTIME_MODEL_SYNTH_PLAN_H

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"
#include "runtime/model/checkpoint_names.h"

enum { SYNTH_NAME_SIZE = 64 };

typedef struct synth_tensor {
    checkpoint_spec spec;
    checkpoint_role role;
    int shard;
    int64_t offset; /* in the shard's data, behind its header */
} synth_tensor;

typedef struct synth_plan {
    synth_tensor *tensors; /* in the order they lie in the shards */
    size_t n_tensors;
    int n_shards;
    int64_t bytes; /* of all tensors */
} synth_plan;

/* Fills shards up to `shard_bytes` of tensors, and past it only for a single tensor that is larger. Free with
 * synth_plan_free(). */
status synth_plan_make(const model_config *config, int64_t shard_bytes, synth_plan *out, status_detail *detail);
void synth_plan_free(synth_plan *plan);

/* "model-00001-of-00003.safetensors" for shard 0 of 3 */
void synth_plan_shard_name(const synth_plan *plan, int shard, char out[SYNTH_NAME_SIZE]);

/* The bytes that a shard begins with: length and header. False when memory ends. */
bool synth_plan_header(const synth_plan *plan, int shard, buffer *out);
/* model.safetensors.index.json */
bool synth_plan_index(const synth_plan *plan, buffer *out);

#endif
