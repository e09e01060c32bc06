/* The shards of a checkpoint, mapped read-only, and one table of all their tensors. Internal to the model layer.
 *
 * Which files belong to it: those that model.safetensors.index.json names; without an index model.safetensors; without
 * that every
 * *.safetensors of the folder.
 */
#ifndef RUNTIME_MODEL_CHECKPOINT_FILES_H
#define RUNTIME_MODEL_CHECKPOINT_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/status.h"
#include "runtime/model/safetensors.h"

typedef struct checkpoint_shard {
    char *name; /* in the folder */
    void *map;
    size_t size;
    safetensors contents;
} checkpoint_shard;

typedef struct checkpoint_tensor {
    const safetensors_entry *entry;
    const checkpoint_shard *shard;
    bool used; /* free for the caller to mark */
} checkpoint_tensor;

typedef struct checkpoint_files {
    checkpoint_shard *shards; /* sorted by name */
    size_t n_shards;
    checkpoint_tensor *tensors; /* sorted by name, no name twice */
    size_t n_tensors;
    bool indexed; /* an index said what is where */
} checkpoint_files;

/* Maps every shard and parses its header; touches nothing behind the headers. STATUS_MODEL, naming the file, when one
 * is missing or malformed, when the index names a file outside the folder or a tensor that its file lacks, or when two
 * files hold the same tensor. */
status checkpoint_files_open(const char *dir, checkpoint_files *out, status_detail *detail);
void checkpoint_files_close(checkpoint_files *files); /* {0} is allowed */

/* NULL when there is none. */
checkpoint_tensor *checkpoint_files_find(const checkpoint_files *files, const char *name);

#endif
