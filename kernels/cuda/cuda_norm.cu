/* Embedding rows, and residual plus RMSNorm in one pass over a row. */
#include "kernels/cuda/cuda.h"

enum { NORM_THREADS = 256, PAIRS_HELD = 8 }; /* pairs of elements a thread keeps in registers: rows up to 4096 are read once */

__global__ void embed_kernel(const bf16 *table, const int32_t *ids, const int32_t *row_sequence, const int32_t *slots, const int32_t *slot_last, int hidden, bf16 *x)
{
    cuda_wait_for_previous();
    cuda_let_next_start();
    int64_t row = blockIdx.x;
    int id = ids[row] >= 0 ? ids[row] : slot_last[slots[row_sequence[row]]];
    for (int i = threadIdx.x * 2; i < hidden; i += blockDim.x * 2)
        *(__nv_bfloat162 *)(x + row * hidden + i) = *(const __nv_bfloat162 *)(table + (int64_t)id * hidden + i);
}

void cuda_embed(ops_context *c, const ops_weight *embedding, void *x)
{
    const cuda_batch *b = &c->batch;
    if (b->n_tokens == 0) return;
    cuda_launch(c, "embed", embed_kernel, dim3((unsigned)b->n_tokens), dim3(NORM_THREADS), 0, (const bf16 *)embedding->data, b->token_ids, b->row_sequence, b->slots,
                cuda_sampler_last(c), c->shape.hidden, (bf16 *)x);
}

/* comm/cuda/peer_kernels.cu does the same after adding up ranks, to the bit: a change to the order of sums here belongs there too. */
__global__ void __launch_bounds__(NORM_THREADS) add_norm_kernel(bf16 *x, const bf16 *delta, const bf16 *norm, bf16 *normed, int hidden, float eps)
{
    __shared__ float warps[NORM_THREADS / 32];
    cuda_wait_for_previous();
    cuda_let_next_start();
    __nv_bfloat162 *row = (__nv_bfloat162 *)(x + (int64_t)blockIdx.x * hidden);
    const __nv_bfloat162 *add = (const __nv_bfloat162 *)(delta ? delta + (int64_t)blockIdx.x * hidden : NULL);
    float2 held[PAIRS_HELD];
    float squares = 0;
    int pairs = hidden / 2;
#pragma unroll
    for (int i = 0; i < PAIRS_HELD; i++) {
        int at = threadIdx.x + i * NORM_THREADS;
        if (at >= pairs) break;
        held[i] = __bfloat1622float2(row[at]);
        if (add) {
            float2 more = __bfloat1622float2(add[at]);
            __nv_bfloat162 sum = __floats2bfloat162_rn(held[i].x + more.x, held[i].y + more.y);
            row[at] = sum;
            held[i] = __bfloat1622float2(sum); /* what the next layers will read */
        }
        squares += held[i].x * held[i].x + held[i].y * held[i].y;
    }
    for (int step = 16; step; step /= 2) squares += __shfl_xor_sync(~0u, squares, step);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = squares;
    __syncthreads();
    float total = 0;
#pragma unroll
    for (int i = 0; i < NORM_THREADS / 32; i++) total += warps[i];
    float inverse = rsqrtf(total / (float)hidden + eps);
    const __nv_bfloat162 *scale = (const __nv_bfloat162 *)norm;
    __nv_bfloat162 *out = (__nv_bfloat162 *)(normed + (int64_t)blockIdx.x * hidden);
#pragma unroll
    for (int i = 0; i < PAIRS_HELD; i++) {
        int at = threadIdx.x + i * NORM_THREADS;
        if (at >= pairs) break;
        float2 factor = __bfloat1622float2(scale[at]);
        out[at] = __floats2bfloat162_rn(held[i].x * inverse * factor.x, held[i].y * inverse * factor.y);
    }
}

int cuda_norm_max_hidden(void) { return 2 * PAIRS_HELD * NORM_THREADS; }

void cuda_add_norm(ops_context *c, int n_rows, void *x, const void *delta, const ops_weight *norm, void *normed)
{
    if (n_rows == 0) return;
    cuda_launch(c, "add_norm", add_norm_kernel, dim3((unsigned)n_rows), dim3(NORM_THREADS), 0, (bf16 *)x, (const bf16 *)delta, (const bf16 *)norm->data, (bf16 *)normed,
                c->shape.hidden, c->shape.rms_eps);
}
