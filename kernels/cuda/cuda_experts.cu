/* The expert stage: pairs sorted by expert, gate_up with SwiGLU, down, weighted sum per row. */
#include "kernels/cuda/cuda_experts.cuh"

#include <cuda_fp16.h>

/* MANY: the average of pairs an expert from which on the tensor cores are the limit. */
enum { GROUP_THREADS = 1024, MAX_EXPERTS = 1024, COMBINE_THREADS = 128, MANY = 12, VALUES = 8 }; /* VALUES: of one 16-byte access */
enum { LARGE_TILE = 64, COLUMNS = 8 }; /* from this tile on, items are cut evenly, in steps of the tensor cores' columns */

struct cuda_experts_state {
    expert_groups groups;
    half *rows;        /* [rows that the small kernels may get, hidden] the stage's input as FP16 */
    bf16 *activations; /* [pairs, intermediate padded to 64]; FP16 between the small kernels */
    bf16 *returned;    /* [pairs, hidden] what each pair's expert gave, unweighted */
    int activation_stride;
};

/* At most 32 pairs, at most `tile` of an expert: one warp, a lane a pair. */
__device__ static void group_few(const int32_t *ids, int n_pairs, int first, int experts, const expert_groups &groups)
{
    int lane = threadIdx.x, expert = lane < n_pairs ? ids[lane] - first : -1;
    bool local = expert >= 0 && expert < experts;
    unsigned before = (1u << lane) - 1, members = __match_any_sync(~0u, local ? expert : -1);
    bool leads = local && (members & before) == 0;
    unsigned leaders = __ballot_sync(~0u, leads);
    int count = __popc(members), start = leads ? count : 0;
    for (int step = 1; step < 32; step *= 2) {
        int other = __shfl_up_sync(~0u, start, step);
        if (lane >= step) start += other;
    }
    start = __shfl_sync(~0u, start, __ffs((int)members) - 1) - count; /* the leader's running sum, itself left out */
    if (local) groups.pairs[start + __popc(members & before)] = lane;
    if (leads) groups.items[__popc(leaders & before)] = make_int4(expert, start, count, 0);
    if (lane == 0) *groups.n_items = __popc(leaders);
}

/* One block. Within an expert the order of pairs is left to the atomics: a pair's result does not depend on its place. */
__device__ static void group_many(const int32_t *ids, int n_pairs, int first, int experts, int tile, const expert_groups &groups)
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
        int parts = (counts[i] + tile - 1) / tile, even = parts ? ((counts[i] + parts - 1) / parts + COLUMNS - 1) / COLUMNS * COLUMNS : tile;
        int step = tile >= LARGE_TILE ? even : tile; /* at most `parts` items either way */
        for (int part = 0; part < parts; part++)
            groups.items[items[i] + part] = make_int4(i, starts[i] + part * step, min(step, counts[i] - part * step), 0);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n_pairs; i += GROUP_THREADS) {
        int expert = ids[i] - first;
        if (expert >= 0 && expert < experts) groups.pairs[atomicAdd(&starts[expert], 1)] = i;
    }
}

/* Two BF16 values as FP16; beyond its range the largest. */
__device__ static uint32_t to_half(uint32_t pair)
{
    const float largest = 65504.0f;
    float2 value = __bfloat1622float2(*(const __nv_bfloat162 *)&pair);
    half2 out = __floats2half2_rn(fminf(fmaxf(value.x, -largest), largest), fminf(fmaxf(value.y, -largest), largest));
    return *(uint32_t *)&out;
}

typedef struct group_args {
    const int32_t *ids;
    const bf16 *rows; /* [n_rows, hidden] */
    half *halves;     /* likewise */
    expert_groups groups;
    int n_pairs, first, experts, tile, hidden;
    bool few; /* one warp can group them, and no expert has more than a tile */
} group_args;

/* Block 0 groups; block 1 + r converts row r, where the small kernels follow. */
__global__ void __launch_bounds__(GROUP_THREADS) group_kernel(const __grid_constant__ group_args a)
{
    cuda_wait_for_previous();
    cuda_let_next_start();
    if (blockIdx.x > 0) {
        int64_t row = (int64_t)(blockIdx.x - 1) * a.hidden;
        for (int i = threadIdx.x * VALUES; i < a.hidden; i += GROUP_THREADS * VALUES) {
            uint4 in = *(const uint4 *)(a.rows + row + i);
            *(uint4 *)(a.halves + row + i) = make_uint4(to_half(in.x), to_half(in.y), to_half(in.z), to_half(in.w));
        }
    } else if (a.few) {
        if (threadIdx.x < 32) group_few(a.ids, a.n_pairs, a.first, a.experts, a.groups);
    } else {
        group_many(a.ids, a.n_pairs, a.first, a.experts, a.tile, a.groups);
    }
}

/* out = sum over a row's local pairs of weight * returned, in the order of choice, rounded once. */
__global__ void __launch_bounds__(COMBINE_THREADS) combine_kernel(const bf16 *returned, const int32_t *ids, const float *weights, int top_k, int first, int experts,
                                                                  int hidden, bf16 *out)
{
    cuda_wait_for_previous();
    cuda_let_next_start();
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

/* Rows below which the small kernels are taken; see tile_for. */
static int most_few_rows(const ops_shape *s) { return (MANY + 1) * s->n_experts / s->top_k + 1; }

status cuda_experts_configure(ops_context *c, status_detail *detail)
{
    const ops_shape *s = &c->shape;
    if (s->expert_count > MAX_EXPERTS) return status_fail(detail, STATUS_MODEL, "the CUDA backend holds at most %d experts a rank, not %d", MAX_EXPERTS, s->expert_count);
    size_t pairs = (size_t)s->max_expert_rows * (size_t)s->top_k, items = pairs; /* an item holds at least one pair */
    cuda_experts_state *e;
    STATUS_TRY(cuda_host_allocate(c, sizeof *e, (void **)&e, detail));
    e->activation_stride = (s->intermediate + MXFP4_TILE_COLS - 1) / MXFP4_TILE_COLS * MXFP4_TILE_COLS;
    STATUS_TRY(cuda_allocate(c, pairs * sizeof(int), (void **)&e->groups.pairs, detail));
    STATUS_TRY(cuda_allocate(c, items * sizeof(int4), (void **)&e->groups.items, detail));
    STATUS_TRY(cuda_allocate(c, sizeof(int), (void **)&e->groups.n_items, detail));
    size_t few = most_few_rows(s) < s->max_expert_rows ? (size_t)most_few_rows(s) : (size_t)s->max_expert_rows;
    STATUS_TRY(cuda_allocate(c, few * (size_t)s->hidden * sizeof(half), (void **)&e->rows, detail));
    STATUS_TRY(cuda_allocate(c, pairs * (size_t)e->activation_stride * sizeof(bf16), (void **)&e->activations, detail));
    STATUS_TRY(cuda_allocate(c, pairs * (size_t)s->hidden * sizeof(bf16), (void **)&e->returned, detail));
    cuda_check(c, expert_large_prepare(c), "expert kernels");
    c->experts = e;
    return STATUS_OK;
}

mxfp4_stack mxfp4_stack_of(const ops_weight *w, const ops_weight *bias)
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

/* Pairs per item by the average load of an expert: the smallest tile that most experts fit into, since weights are read once per item. */
static int tile_for(int n_pairs, int experts)
{
    int average = n_pairs / (experts > 0 ? experts : 1);
    return average < 6 ? 8 : average < MANY ? 16 : average < 32 ? 64 : 128;
}

static void run_product(ops_context *c, expert_product product, const expert_args *args, int tile, int max_items)
{
    if (expert_stream_serves(c, args, tile))
        expert_stream_launch(c, product, args, tile);
    else if (tile < LARGE_TILE)
        expert_small_launch(c, product, args, tile, max_items);
    else
        expert_large_launch(c, product, args, tile, max_items);
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
        bool small = tile < LARGE_TILE;
        group_args grouping = {ids, (const bf16 *)rows, e->rows, e->groups, n_pairs, s->expert_first, experts, tile, s->hidden, n_pairs <= 32 && n_rows <= tile};
        cuda_launch(c, "experts grouping", group_kernel, dim3(small ? 1 + (unsigned)n_rows : 1), dim3(GROUP_THREADS), 0, grouping);

        expert_args args = {};
        args.groups = e->groups;
        args.top_k = s->top_k;
        args.alpha = s->swiglu_alpha;
        args.limit = s->swiglu_limit;
        args.stack = mxfp4_stack_of(&layer->gate_up, &layer->gate_up_bias);
        args.rows = small ? (const bf16 *)e->rows : (const bf16 *)rows;
        args.in_stride = args.cols = s->hidden;
        args.out = e->activations;
        args.out_stride = e->activation_stride;
        run_product(c, EXPERT_GATE_UP, &args, tile, max_items);

        args.stack = mxfp4_stack_of(&layer->down, &layer->down_bias);
        args.rows = e->activations;
        args.in_stride = e->activation_stride;
        args.cols = s->intermediate;
        args.out = e->returned;
        args.out_stride = s->hidden;
        run_product(c, EXPERT_DOWN, &args, tile, max_items);
    }
    dim3 grid((unsigned)n_rows, (unsigned)(s->hidden / 2 + COMBINE_THREADS - 1) / COMBINE_THREADS);
    cuda_launch(c, "experts combine", combine_kernel, grid, dim3(COMBINE_THREADS), 0, e->returned, ids, weights, s->top_k, s->expert_first, experts, s->hidden,
                (bf16 *)out);
}
