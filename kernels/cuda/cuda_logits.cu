/* The LM head over the rows whose logits are wanted: one product, so the head is read once. */
#include "kernels/cuda/cuda.h"

enum { GATHER_THREADS = 128, VALUES = 8 }; /* VALUES: of one 16-byte load */

struct cuda_logits_state {
    bf16 *gathered; /* [max_logit_rows, hidden] */
};

status cuda_logits_configure(ops_context *c, status_detail *detail)
{
    STATUS_TRY(cuda_host_allocate(c, sizeof *c->logits, (void **)&c->logits, detail));
    return cuda_allocate(c, (size_t)c->shape.max_logit_rows * (size_t)c->shape.hidden * sizeof(bf16),
                         (void **)&c->logits->gathered, detail);
}

/* A block per row; hidden is a multiple of VALUES. */
__global__ void __launch_bounds__(GATHER_THREADS)
    gather_kernel(const bf16 *normed, const ops_logit_row *rows, int hidden, bf16 *out)
{
    cuda_wait_for_previous();
    cuda_let_next_start();
    const uint4 *from = (const uint4 *)(normed + (int64_t)rows[blockIdx.x].row * hidden);
    uint4 *to = (uint4 *)(out + (int64_t)blockIdx.x * hidden);
    for (int i = threadIdx.x; i < hidden / VALUES; i += GATHER_THREADS) to[i] = from[i];
}

static bool consecutive(const ops_logit_row *rows, int n)
{
    for (int i = 1; i < n; i++)
        if (rows[i].row != rows[0].row + i) return false;
    return true;
}

void cuda_logits(ops_context *c, const ops_weight *head, const void *normed, const ops_logit_row *rows, int n,
                 float *logits)
{
    const bf16 *in = (const bf16 *)normed;
    int hidden = c->shape.hidden;
    if (n == 0 || head->rows == 0) return; /* no rows: a shard past the end of the vocabulary */
    if (consecutive(rows, n)) {
        in += (int64_t)rows[0].row * hidden;
    } else {
        const ops_logit_row *device_rows = cuda_step_rows(c, rows, n);
        cuda_launch(c, "rows of logits", gather_kernel, dim3((unsigned)n), dim3(GATHER_THREADS), 0, in, device_rows, hidden, c->logits->gathered);
        in = c->logits->gathered;
    }
    cuda_dense(c, n, in, head, NULL, logits, c->shape.logit_shard_cols, DTYPE_F32);
}
