/* Safetensors files made by hand, for the tests of reading them. */
#ifndef TESTS_MODEL_CONTAINER_H
#define TESTS_MODEL_CONTAINER_H

#include <stdint.h>

#include "runtime/model/checkpoint_names.h"

typedef struct container_tensor {
    char name[128];
    char type[8];
    int n_dims;
    int64_t shape[4];
    uint8_t *data; /* [size], owned */
    int64_t size;
} container_tensor;

typedef struct container {
    container_tensor *tensors;
    int count;
} container;

/* All tensors of a checkpoint folder, as stored. */
container container_load(const char *dir);
/* The same weights under OpenAI's names, q, k and v fused. `config` is of the Hugging Face layout. */
container container_to_original(const container *hf, const model_config *config);
container_tensor *container_find(const container *c, const char *name);
/* Takes a tensor out. */
void container_drop(container *c, const char *name);
/* Appends a copy of `from` under another name. */
void container_add_copy(container *c, const container_tensor *from, const char *name);
void container_free(container *c);

/* Tensors [first, last) into DIR/NAME, one after the other; `pad` blanks end the header, beyond what aligns the data to
 * 8 bytes. */
void container_write(const container *c, int first, int last, const char *dir, const char *name, int pad);

#endif
