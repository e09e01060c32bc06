/* The LM head over the rows whose logits are wanted. */
#include "kernels/cpu/cpu.h"

void cpu_logits(ops_context *c, const ops_weight *head, const void *normed, const ops_logit_row *rows, int n, float *logits)
{
    size_t hidden = (size_t)c->shape.hidden;
    if (head->rows == 0) return; /* a shard past the end of the vocabulary */
    for (int i = 0; i < n; i++)
        memcpy(c->gathered + (size_t)i * hidden, (const float *)normed + (size_t)rows[i].row * hidden, hidden * sizeof(float));
    cpu_product product = {.n = n, .rows = c->gathered, .row_stride = c->shape.hidden, .w = head, .out = logits,
                           .out_stride = c->shape.logit_shard_cols};
    cpu_product_run(c, &product);
}
