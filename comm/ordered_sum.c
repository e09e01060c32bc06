#include "comm/ordered_sum.h"

#include <string.h>

#define BLOCK 1024 /* elements: two F32 blocks stay in the first-level cache */

static void widen(const void *from, size_t at, size_t count, dtype type, float *to)
{
    if (type == DTYPE_F32) {
        memcpy(to, (const float *)from + at, count * sizeof *to);
        return;
    }
    const uint16_t *narrow = (const uint16_t *)from + at;
    for (size_t i = 0; i < count; i++) to[i] = dtype_bf16_to_f32(narrow[i]);
}

static void narrow(const float *from, size_t at, size_t count, dtype type, void *to)
{
    if (type == DTYPE_F32) {
        memcpy((float *)to + at, from, count * sizeof *from);
        return;
    }
    uint16_t *rounded = (uint16_t *)to + at;
    for (size_t i = 0; i < count; i++) rounded[i] = dtype_f32_to_bf16(from[i]);
}

void ordered_sum(const void *const *parts, int n_parts, size_t count, dtype type, void *out)
{
    if (n_parts == 0) {
        memset(out, 0, count * dtype_size(type));
        return;
    }
    float sum[BLOCK], part[BLOCK];
    for (size_t at = 0; at < count; at += BLOCK) {
        size_t n = count - at < BLOCK ? count - at : BLOCK;
        widen(parts[0], at, n, type, sum);
        for (int p = 1; p < n_parts; p++) {
            widen(parts[p], at, n, type, part);
            for (size_t i = 0; i < n; i++) sum[i] += part[i];
        }
        narrow(sum, at, n, type, out);
    }
}
