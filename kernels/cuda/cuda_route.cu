/* Router: logits in F32, the top k of them, softmax over those. Up to 4 rows: one kernel, a warp per expert, so that
 * the matrix is read by many processors at once; the last block to finish chooses. More rows: a dense product, then a
 * warp per row. */
#include "kernels/cuda/cuda.h"

enum {
    MAX_EXPERTS = 1024,
    FEW_ROWS = 4,
    FEW_WARPS = 4,
    MANY_WARPS = 8,
    BATCH = 12,
    CHUNK = 8
}; /* CHUNK: BF16 values of one 16-byte load */

struct cuda_route_state {
    float *logits;    /* [max_tokens, n_experts] */
    unsigned *ticket; /* [1] blocks of the running kernel that are done; 0 between kernels */
};

status cuda_route_configure(ops_context *c, status_detail *detail)
{
    const ops_shape *s = &c->shape;
    STATUS_TRY(cuda_host_allocate(c, sizeof *c->route, (void **)&c->route, detail));
    size_t rows = (size_t)(s->max_tokens > FEW_ROWS ? s->max_tokens : FEW_ROWS);
    STATUS_TRY(cuda_allocate(c, rows * (size_t)s->n_experts * sizeof(float), (void **)&c->route->logits, detail));
    STATUS_TRY(cuda_allocate(c, sizeof(unsigned), (void **)&c->route->ticket, detail));
    cuda_check(c, cudaMemsetAsync(c->route->ticket, 0, sizeof(unsigned), c->stream), "router");
    return STATUS_OK;
}

/* One warp chooses for one row. logits: [experts] F32 in device memory, bias included or given; `held` [experts] in
 * shared memory, the warp's own. */
__device__ static void choose(const float *logits, const bf16 *bias, float *held, int experts, int top_k, int lane,
                              int32_t *ids, float *weights)
{
    for (int e = lane; e < experts; e += 32) held[e] = __ldcg(logits + e) + (bias ? __bfloat162float(bias[e]) : 0.0f);
    __syncwarp();
    float mine = -INFINITY, largest = -INFINITY; /* lane k keeps the logit of choice k */
    for (int k = 0; k < top_k; k++) {
        float best = -INFINITY;
        int index = experts;
        for (int e = lane; e < experts; e += 32)
            if (held[e] > best) best = held[e], index = e;
        for (int step = 16; step; step /= 2) {
            float other = __shfl_xor_sync(~0u, best, step);
            int other_index = __shfl_xor_sync(~0u, index, step);
            if (other > best || (other == best && other_index < index)) best = other, index = other_index;
        }
        if (index >= experts)
            index = k; /* no number among the logits: the result is not one either, but the ids must be */
        if (k == 0) largest = best;
        if (k == lane) mine = best;
        if (lane == 0) {
            ids[k] = index;
            held[index] = -INFINITY;
        }
        __syncwarp();
    }
    float weight = lane < top_k ? __expf(mine - largest) : 0, total = weight;
    for (int step = 16; step; step /= 2) total += __shfl_xor_sync(~0u, total, step);
    if (lane < top_k) weights[lane] = weight / total;
}

typedef struct route_args {
    const bf16 *rows;     /* [n_rows, hidden] */
    const bf16 *w, *bias; /* [experts, hidden], [experts] */
    float *logits;        /* [n_rows, experts] */
    int32_t *ids;         /* [n_rows, top_k] */
    float *weights;       /* likewise */
    unsigned *ticket;
    int n_rows, hidden, experts, top_k;
} route_args;

__device__ static void load_router(uint4 out[BATCH], const uint4 *w, int base, int chunks)
{
#pragma unroll
    for (int i = 0; i < BATCH; i++) out[i] = base + 32 * i < chunks ? __ldg(w + base + 32 * i) : make_uint4(0, 0, 0, 0);
}

template <int N> __device__ static void expert_logits(const route_args &a, int expert, int lane)
{
    const uint4 *w = (const uint4 *)(a.w + (int64_t)expert * a.hidden);
    int chunks = a.hidden / CHUNK;
    float sums[N] = {}, bias = __bfloat162float(a.bias[expert]);
    uint4 weights[BATCH];
    load_router(weights, w, lane, chunks);
    cuda_wait_for_previous();
    cuda_let_next_start();
    for (int base = lane; base < chunks; base += 32 * BATCH) {
        if (base != lane) load_router(weights, w, base, chunks);
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            if (base + 32 * i >= chunks) break;
            const __nv_bfloat162 *p = (const __nv_bfloat162 *)&weights[i];
#pragma unroll
            for (int n = 0; n < N; n++) {
                uint4 x = *((const uint4 *)(a.rows + (int64_t)n * a.hidden) + base + 32 * i);
                const __nv_bfloat162 *q = (const __nv_bfloat162 *)&x;
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    float2 left = __bfloat1622float2(p[j]), right = __bfloat1622float2(q[j]);
                    sums[n] = fmaf(left.x, right.x, fmaf(left.y, right.y, sums[n]));
                }
            }
        }
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        for (int step = 16; step; step /= 2) sums[n] += __shfl_xor_sync(~0u, sums[n], step);
        if (lane == 0) a.logits[(int64_t)n * a.experts + expert] = sums[n] + bias;
    }
}

template <int N>
__global__ void __launch_bounds__(32 * FEW_WARPS) route_few_kernel(const __grid_constant__ route_args a)
{
    __shared__ float held[FEW_WARPS][MAX_EXPERTS];
    __shared__ bool last;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, expert = blockIdx.x * FEW_WARPS + warp;
    if (expert < a.experts) {
        expert_logits<N>(a, expert, lane);
    } else {
        cuda_wait_for_previous();
        cuda_let_next_start();
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(a.ticket, 1) == gridDim.x - 1;
        if (last) *a.ticket = 0;
    }
    __syncthreads();
    if (!last) return;
    __threadfence();
    if (warp < N)
        choose(a.logits + (int64_t)warp * a.experts, NULL, held[warp], a.experts, a.top_k, lane, a.ids + warp * a.top_k,
               a.weights + warp * a.top_k);
}

__global__ void __launch_bounds__(32 * MANY_WARPS) route_many_kernel(const __grid_constant__ route_args a)
{
    __shared__ float held[MANY_WARPS][MAX_EXPERTS];
    cuda_wait_for_previous();
    cuda_let_next_start();
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int64_t row = (int64_t)blockIdx.x * MANY_WARPS + warp;
    if (row < a.n_rows)
        choose(a.logits + row * a.experts, a.bias, held[warp], a.experts, a.top_k, lane, a.ids + row * a.top_k,
               a.weights + row * a.top_k);
}

template <int N> static void launch_few_rows(ops_context *c, const route_args *a)
{
    cuda_launch(c, "router", route_few_kernel<N>, dim3((unsigned)(a->experts + FEW_WARPS - 1) / FEW_WARPS), dim3(32 * FEW_WARPS), 0, *a);
}

static void launch_few(ops_context *c, const route_args *a)
{
    static_assert(FEW_ROWS == 4 && FEW_ROWS <= FEW_WARPS, "a row's choice is one warp's work");
    switch (a->n_rows) {
    case 1: launch_few_rows<1>(c, a); break;
    case 2: launch_few_rows<2>(c, a); break;
    case 3: launch_few_rows<3>(c, a); break;
    default: launch_few_rows<FEW_ROWS>(c, a);
    }
}

void cuda_route(ops_context *c, const ops_layer *layer, int n_rows, const void *normed, int32_t *ids, float *weights)
{
    const ops_shape *s = &c->shape;
    route_args a = {};
    if (n_rows == 0) return;
    a.rows = (const bf16 *)normed;
    a.w = (const bf16 *)layer->router.data;
    a.bias = (const bf16 *)layer->router_bias.data;
    a.logits = c->route->logits;
    a.ids = ids;
    a.weights = weights;
    a.ticket = c->route->ticket;
    a.n_rows = n_rows;
    a.hidden = s->hidden;
    a.experts = s->n_experts;
    a.top_k = s->top_k;
    if (n_rows <= FEW_ROWS) {
        launch_few(c, &a);
    } else { /* the bias is BF16 and the product F32: cuBLASLt adds no such bias, so the choice does */
        cuda_dense(c, n_rows, a.rows, &layer->router, NULL, a.logits, s->n_experts, DTYPE_F32);
        cuda_launch(c, "router", route_many_kernel, dim3((unsigned)(n_rows + MANY_WARPS - 1) / MANY_WARPS), dim3(32 * MANY_WARPS), 0, a);
    }
}
