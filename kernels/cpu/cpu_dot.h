/* The one dot product of this backend. A row's sum is taken in the same order whether it is computed alone or beside others, so results do
 * not depend on the batch: two vectors of 16 running sums over the columns, folded in halves, then the columns that are left.
 */
#ifndef KERNELS_CPU_CPU_DOT_H
#define KERNELS_CPU_CPU_DOT_H

#include <stdint.h>
#include <string.h>

enum { CPU_DOT_LANES = 16, CPU_DOT_ROWS = 4 };

typedef float cpu_lanes __attribute__((vector_size(CPU_DOT_LANES * sizeof(float)), aligned(4), may_alias));

static inline float cpu_lanes_sum(cpu_lanes v)
{
    float part[CPU_DOT_LANES];
    memcpy(part, &v, sizeof part);
    for (int width = CPU_DOT_LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
}

/* out[r] = sum over k of w[k] * rows[r][k]; n_rows is a compile-time constant, so that the running sums stay in registers. */
static inline __attribute__((always_inline)) void cpu_dot_block(const float *w, const float *const *rows, int n_rows, int64_t k, float *out)
{
    cpu_lanes first[CPU_DOT_ROWS] = {0}, second[CPU_DOT_ROWS] = {0};
    int64_t i = 0;
    for (; i + 2 * CPU_DOT_LANES <= k; i += 2 * CPU_DOT_LANES) {
        cpu_lanes w0 = *(const cpu_lanes *)(w + i), w1 = *(const cpu_lanes *)(w + i + CPU_DOT_LANES);
        for (int r = 0; r < n_rows; r++) {
            first[r] += w0 * *(const cpu_lanes *)(rows[r] + i);
            second[r] += w1 * *(const cpu_lanes *)(rows[r] + i + CPU_DOT_LANES);
        }
    }
    for (int r = 0; r < n_rows; r++) {
        float sum = cpu_lanes_sum(first[r] + second[r]);
        for (int64_t j = i; j < k; j++) sum = __builtin_fmaf(w[j], rows[r][j], sum);
        out[r] = sum;
    }
}

/* out[r] for any number of rows up to CPU_DOT_ROWS. */
static inline void cpu_dot_rows(const float *w, const float *const *rows, int n_rows, int64_t k, float *out)
{
    if (n_rows == CPU_DOT_ROWS)
        cpu_dot_block(w, rows, CPU_DOT_ROWS, k, out);
    else
        for (int r = 0; r < n_rows; r++) cpu_dot_block(w, rows + r, 1, k, out + r);
}

#endif
