/* What random weights are like: of synthetic checkpoints and of weights: dummy alike. Activations keep a size near 1 through all layers, and tokens
 * stay different from each other, so that the router spreads them over the experts as a trained one does. */
#ifndef RUNTIME_MODEL_DISTRIBUTION_H
#define RUNTIME_MODEL_DISTRIBUTION_H

#include <stdint.h>

#include "runtime/model/checkpoint_names.h"

typedef struct distribution {
    float mean, deviation;
} distribution;

/* `columns`: the length of a row. Zeros for packed roles (blocks and scales). */
distribution distribution_of(checkpoint_role role, int64_t columns);

#endif
