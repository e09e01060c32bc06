/* The expert stage: pairs sorted by expert, gate_up with SwiGLU, down, weighted sum per row. */
#include "kernels/cuda/cuda_experts.cuh"

enum { GROUP_THREADS = 1024, MAX_EXPERTS = 1024, COMBINE_THREADS = 128 };

struct cuda_experts_state {
    expert_groups groups;
    bf16 *activations; /* [pairs, intermediate padded to 64] */
    bf16 *returned;    /* [pairs, hidden] what each pair's expert gave, unweighted */
    int activation_stride;
};

/* One block. Within an expert the order of pairs is left to the atomics: a pair's result does not depend on its place. */
__global__ void __launch_bounds__(GROUP_THREADS) group_kernel(const int32_t *ids, int n_pairs, int first, int experts, int tile, expert_groups groups)
{
    __shared__ int counts[MAX_EXPERTS], starts[MAX_EXPERTS], items[MAX_EXPERTS];
    for (int i = threadIdx.x; i < experts; i += GROUP_THREADS) counts[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n_pairs; i += GROUP_THREADS) {
        int expert = ids[i] - first;
        if (expert >= 0 && expert < experts) atomicAdd(&counts[expert], 1);
    }
    __syncthreads();
    if (threadIdx.x < 32) { /* running sums of pairs and items, a warp at a time */
        int pairs_before = 0, items_before = 0;
        for (int base = 0; base < experts; base += 32) {
            int expert = base + threadIdx.x, pairs = expert < experts ? counts[expert] : 0, tiles = (pairs + tile - 1) / tile;
            int pair_sum = pairs, tile_sum = tiles;
            for (int step = 1; step < 32; step *= 2) {
                int p = __shfl_up_sync(~0u, pair_sum, step), q = __shfl_up_sync(~0u, tile_sum, step);
                if ((int)threadIdx.x >= step) pair_sum += p, tile_sum += q;
            }
            if (expert < experts) {
                starts[expert] = pairs_before + pair_sum - pairs;
                items[expert] = items_before + tile_sum - tiles;
            }
            pairs_before += __shfl_sync(~0u, pair_sum, 31);
            items_before += __shfl_sync(~0u, tile_sum, 31);
        }
        if (threadIdx.x == 0) *groups.n_items = items_before;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < experts; i += GROUP_THREADS) {
        for (int done = 0, item = items[i]; done < counts[i]; done += tile, item++) {
            groups.item_expert[item] = i;
            groups.item_start[item] = starts[i] + done;
            groups.item_count[item] = min(tile, counts[i] - done);
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n_pairs; i += GROUP_THREADS) {
        int expert = ids[i] - first;
        if (expert >= 0 && expert < experts) groups.pairs[atomicAdd(&starts[expert], 1)] = i;
    }
}

/* out = sum over a row's local pairs of weight * returned, in the order of choice, rounded once. */
__global__ void __launch_bounds__(COMBINE_THREADS) combine_kernel(const bf16 *returned, const int32_t *ids, const float *weights, int top_k, int first, int experts,
                                                                  int hidden, bf16 *out)
{
    int64_t row = blockIdx.x; /* the grid's first size: ranks together may send more than 65535 rows */
    int col = 2 * (blockIdx.y * COMBINE_THREADS + threadIdx.x);
    if (col >= hidden) return;
    float2 sum = make_float2(0, 0);
    for (int k = 0; k < top_k; k++) {
        int64_t pair = row * top_k + k;
        int expert = ids[pair] - first;
        if (expert < 0 || expert >= experts) continue;
        float2 value = __bfloat1622float2(*(const __nv_bfloat162 *)(returned + pair * hidden + col));
        float weight = weights[pair];
        sum.x += weight * value.x;
        sum.y += weight * value.y;
    }
    *(__nv_bfloat162 *)(out + row * hidden + col) = __floats2bfloat162_rn(sum.x, sum.y);
}

status cuda_experts_configure(ops_context *c, status_detail *detail)
{
    const ops_shape *s = &c->shape;
    if (s->expert_count > MAX_EXPERTS) return status_fail(detail, STATUS_MODEL, "the CUDA backend holds at most %d experts a rank, not %d", MAX_EXPERTS, s->expert_count);
    size_t pairs = (size_t)s->max_expert_rows * (size_t)s->top_k, items = pairs; /* an item holds at least one pair */
    cuda_experts_state *e;
    STATUS_TRY(cuda_host_allocate(c, sizeof *e, (void **)&e, detail));
    e->activation_stride = (s->intermediate + MXFP4_TILE_COLS - 1) / MXFP4_TILE_COLS * MXFP4_TILE_COLS;
    STATUS_TRY(cuda_allocate(c, pairs * sizeof(int), (void **)&e->groups.pairs, detail));
    STATUS_TRY(cuda_allocate(c, items * sizeof(int), (void **)&e->groups.item_expert, detail));
    STATUS_TRY(cuda_allocate(c, items * sizeof(int), (void **)&e->groups.item_start, detail));
    STATUS_TRY(cuda_allocate(c, items * sizeof(int), (void **)&e->groups.item_count, detail));
    STATUS_TRY(cuda_allocate(c, sizeof(int), (void **)&e->groups.n_items, detail));
    STATUS_TRY(cuda_allocate(c, pairs * (size_t)e->activation_stride * sizeof(bf16), (void **)&e->activations, detail));
    STATUS_TRY(cuda_allocate(c, pairs * (size_t)s->hidden * sizeof(bf16), (void **)&e->returned, detail));
    cuda_check(c, expert_large_prepare(), "expert kernels");
    c->experts = e;
    return STATUS_OK;
}

static mxfp4_stack stack_of(const ops_weight *w, const ops_weight *bias)
{
    mxfp4_stack s = {};
    s.tiles = (const uint4 *)w->data;
    s.scales = (const uint32_t *)w->scales;
    s.rows = (int)w->rows;
    s.row_tiles = (int)(w->rows / MXFP4_TILE_ROWS);
    s.col_tiles = (int)((w->cols + MXFP4_TILE_COLS - 1) / MXFP4_TILE_COLS);
    if (bias->rows) {
        s.bias = (const bf16 *)bias->data;
        s.bias_stride = bias->batch_stride / (int64_t)sizeof(bf16);
    }
    return s;
}

/* Pairs per item by the average load of an expert: the smallest tile that most experts fill, since a weight tile is dequantised once per item. */
static int tile_for(int n_pairs, int experts)
{
    int average = n_pairs / (experts > 0 ? experts : 1);
    return average <= 6 ? EXPERT_SMALL_TILE : average <= 32 ? 32 : average <= 96 ? 64 : 128;
}

static void run_product(ops_context *c, expert_product product, const expert_args *args, int tile, int max_items)
{
    if (tile == EXPERT_SMALL_TILE)
        expert_small_launch(c->stream, product, args, max_items);
    else
        expert_large_launch(c->stream, product, args, tile, max_items);
    cuda_check(c, cudaGetLastError(), product == EXPERT_GATE_UP ? "experts gate_up" : "experts down");
}

void cuda_experts(ops_context *c, const ops_layer *layer, int n_rows, const void *rows, const int32_t *ids, const float *weights, void *out)
{
    const ops_shape *s = &c->shape;
    cuda_experts_state *e = c->experts;
    int n_pairs = n_rows * s->top_k, experts = layer->gate_up.rows ? s->expert_count : 0; /* no columns here: nothing is local */
    if (n_rows == 0) return;
    if (experts) {
        int tile = tile_for(n_pairs, s->n_experts), max_items = n_pairs / tile + (n_pairs < experts ? n_pairs : experts);
        if (max_items > n_pairs) max_items = n_pairs;
        group_kernel<<<1, GROUP_THREADS, 0, c->stream>>>(ids, n_pairs, s->expert_first, experts, tile, e->groups);
        cuda_check(c, cudaGetLastError(), "experts grouping");

        expert_args args = {};
        args.groups = e->groups;
        args.top_k = s->top_k;
        args.alpha = s->swiglu_alpha;
        args.limit = s->swiglu_limit;
        args.stack = stack_of(&layer->gate_up, &layer->gate_up_bias);
        args.rows = (const bf16 *)rows;
        args.in_stride = args.cols = s->hidden;
        args.out = e->activations;
        args.out_stride = e->activation_stride;
        run_product(c, EXPERT_GATE_UP, &args, tile, max_items);

        args.stack = stack_of(&layer->down, &layer->down_bias);
        args.rows = e->activations;
        args.in_stride = e->activation_stride;
        args.cols = s->intermediate;
        args.out = e->returned;
        args.out_stride = s->hidden;
        run_product(c, EXPERT_DOWN, &args, tile, max_items);
    }
    dim3 grid((unsigned)n_rows, (unsigned)(s->hidden / 2 + COMBINE_THREADS - 1) / COMBINE_THREADS);
    combine_kernel<<<grid, COMBINE_THREADS, 0, c->stream>>>(e->returned, ids, weights, s->top_k, s->expert_first, experts, s->hidden, (bf16 *)out);
    cuda_check(c, cudaGetLastError(), "experts combine");
}
