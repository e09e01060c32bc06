/* Products of rows with weights: a weight row is dequantised once and used for all rows. */
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_dot.h"

void cpu_product_rows(const cpu_product *p, int64_t first, int64_t last, float *scratch)
{
    for (int64_t r = first; r < last; r++) {
        float bias = 0, sums[CPU_DOT_ROWS];
        cpu_weight_row(p->w, p->batch, r, scratch);
        if (p->bias && p->bias->rows) {
            const uint16_t *values = (const uint16_t *)((const uint8_t *)p->bias->data + p->batch * p->bias->batch_stride);
            bias = dtype_bf16_to_f32(values[r]);
        }
        for (int i = 0; i < p->n; i += CPU_DOT_ROWS) {
            int rows = p->n - i < CPU_DOT_ROWS ? p->n - i : CPU_DOT_ROWS;
            const float *pointers[CPU_DOT_ROWS];
            for (int j = 0; j < rows; j++) pointers[j] = p->rows + (i + j) * p->row_stride;
            cpu_dot_rows(scratch, pointers, rows, p->w->cols, sums);
            for (int j = 0; j < rows; j++) p->out[(i + j) * p->out_stride + r] = sums[j] + bias;
        }
    }
}

void cpu_product_run(ops_context *c, const cpu_product *p)
{
    enum { TILE = 16 };
    int64_t tiles = (p->w->rows + TILE - 1) / TILE;
#pragma omp parallel for num_threads(c->threads) schedule(dynamic, 4)
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t last = (tile + 1) * TILE;
        cpu_product_rows(p, tile * TILE, last < p->w->rows ? last : p->w->rows,
                         c->row_scratch + (size_t)omp_get_thread_num() * c->row_scratch_size);
    }
}
