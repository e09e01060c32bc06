/* The one way that comm adds: in the order of the parts, whatever the number of elements. */
#ifndef COMM_ORDERED_SUM_H
#define COMM_ORDERED_SUM_H

#include <stddef.h>

#include "runtime/base/dtype.h"

/* out[i] = ((parts[0][i] + parts[1][i]) + parts[2][i]) + ..., in F32, rounded once to `type` (F32 or BF16). No part: 0.
 * parts: [n_parts] of [count]; one of them may be `out` itself. */
void ordered_sum(const void *const *parts, int n_parts, size_t count, dtype type, void *out);

#endif
