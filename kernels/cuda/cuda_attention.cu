/* Attention over the paged cache: chooses a kernel by the batch's shape. Head sizes 16, 32, 64 and 128 use the tensor cores; other sizes take the plain
 * kernel, which is right before it is fast. */
#include "kernels/cuda/cuda_attention_decode.cuh"
#include "kernels/cuda/cuda_attention_prefill.cuh"

enum { MAX_SPLITS = 16, MAX_GROUP = 16, PLAIN_MAX_DIM = 256 };

struct cuda_attention_state {
    float *partial;       /* see attention_args */
    size_t partial_floats;
};

/* One warp per (row, query head); lanes share the head's dimensions. */
__global__ void __launch_bounds__(32) attention_plain_kernel(const __grid_constant__ attention_args a, const int32_t *row_sequence, const int32_t *positions)
{
    cuda_wait_for_previous();
    cuda_let_next_start();
    int64_t row = blockIdx.x;
    int head = blockIdx.y, kv_head = head / a.group, lane = threadIdx.x, position = positions[row];
    const int32_t *table = a.table + (int64_t)row_sequence[row] * a.table_stride;
    const bf16 *q = a.q + (row * a.q_heads + head) * a.head_dim;
    float sums[PLAIN_MAX_DIM / 32] = {}, largest = __bfloat162float(a.sinks[head]), total = 1;
    for (int j = a.window && position >= a.window ? position - a.window + 1 : 0; j <= position; j++) {
        int64_t token = (int64_t)table[j / a.block_tokens] * a.block_tokens + j % a.block_tokens, at = (token * a.kv_heads + kv_head) * a.head_dim;
        float score = 0;
        for (int d = lane; d < a.head_dim; d += 32) score += __bfloat162float(q[d]) * __bfloat162float(a.k_cache[at + d]);
        for (int step = 16; step; step /= 2) score += __shfl_xor_sync(~0u, score, step);
        score *= a.scale;
        float best = fmaxf(largest, score), shrink = __expf(largest - best), weight = __expf(score - best);
        largest = best;
        total = total * shrink + weight;
#pragma unroll
        for (int i = 0; i < PLAIN_MAX_DIM / 32; i++)
            if (lane + 32 * i < a.head_dim) sums[i] = sums[i] * shrink + weight * __bfloat162float(a.v_cache[at + lane + 32 * i]);
    }
#pragma unroll
    for (int i = 0; i < PLAIN_MAX_DIM / 32; i++)
        if (lane + 32 * i < a.head_dim) a.out[(row * a.q_heads + head) * a.head_dim + lane + 32 * i] = __float2bfloat16(sums[i] / total);
}

template <int DIM> static cudaError_t prepare(void)
{
    cudaError_t result = cudaFuncSetAttribute(attention_prefill_kernel<DIM>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)prefill_shared_bytes<DIM>());
    if (result != cudaSuccess) return result;
    return cudaFuncSetAttribute(attention_decode_kernel<DIM>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)decode_shared_bytes<DIM>());
}

template <int DIM> constexpr size_t shared_bytes(void)
{
    return prefill_shared_bytes<DIM>() > decode_shared_bytes<DIM>() ? prefill_shared_bytes<DIM>() : decode_shared_bytes<DIM>();
}

/* Whether the tensor-core kernels take this shape; a block of a smaller GPU may not have the shared memory for the largest head size. */
static bool uses_tensor_cores(const ops_context *c)
{
    const ops_shape *s = &c->shape;
    if (s->q_heads / s->kv_heads > MAX_GROUP) return false;
    switch (s->head_dim) {
    case 16: return shared_bytes<16>() <= c->shared_max;
    case 32: return shared_bytes<32>() <= c->shared_max;
    case 64: return shared_bytes<64>() <= c->shared_max;
    case 128: return shared_bytes<128>() <= c->shared_max;
    default: return false;
    }
}

status cuda_attention_configure(ops_context *c, status_detail *detail)
{
    const ops_shape *s = &c->shape;
    if (s->head_dim > PLAIN_MAX_DIM) return status_fail(detail, STATUS_MODEL, "head_dim %d exceeds %d, the CUDA backend's limit", s->head_dim, PLAIN_MAX_DIM);
    STATUS_TRY(cuda_host_allocate(c, sizeof *c->attention, (void **)&c->attention, detail));
    c->attention->partial_floats = (size_t)s->max_sequences * (size_t)s->q_heads * MAX_SPLITS * DECODE_WARPS * (size_t)(s->head_dim + 2);
    STATUS_TRY(cuda_allocate(c, c->attention->partial_floats * sizeof(float), (void **)&c->attention->partial, detail));
    if (uses_tensor_cores(c))
        cuda_check(c, (s->head_dim == 16 ? prepare<16> : s->head_dim == 32 ? prepare<32> : s->head_dim == 64 ? prepare<64> : prepare<128>)(), "attention kernels");
    return STATUS_OK;
}

int cuda_attention_tile_tokens(const ops_shape *shape)
{
    int tokens = PREFILL_ROWS / (shape->q_heads / shape->kv_heads);
    return tokens > 0 ? tokens : 1;
}

/* Enough blocks for two per SM; a block's warps take a tile of 64 keys each, so more splits than that would be empty. A constant of (sequences, longest
 * possible context), so that a captured graph serves any context. */
static int choose_splits(const ops_context *c, const attention_args *a, int sequences, int longest)
{
    int keys = a->window && a->window < longest ? a->window : longest;
    int useful = (keys + ATTENTION_KEYS * DECODE_WARPS - 1) / (ATTENTION_KEYS * DECODE_WARPS), wanted = 2 * c->sm_count / (sequences * a->kv_heads);
    int splits = wanted < useful ? wanted : useful;
    return splits < 1 ? 1 : splits > MAX_SPLITS ? MAX_SPLITS : splits;
}

template <int DIM> static void launch(ops_context *c, const attention_args *a)
{
    const cuda_batch *b = &c->batch;
    if (b->longest_run > 1) {
        dim3 grid((unsigned)b->n_tiles, (unsigned)a->kv_heads);
        cuda_launch(c, "attention", attention_prefill_kernel<DIM>, grid, dim3(32 * PREFILL_WARPS), prefill_shared_bytes<DIM>(), *a);
        return;
    }
    dim3 grid((unsigned)a->splits, (unsigned)a->kv_heads, (unsigned)b->n_sequences), heads((unsigned)a->q_heads, (unsigned)b->n_sequences);
    cuda_launch(c, "attention", attention_decode_kernel<DIM>, grid, dim3(32 * DECODE_WARPS), decode_shared_bytes<DIM>(), *a);
    cuda_launch(c, "attention", attention_merge_kernel<DIM>, heads, dim3(DIM), 0, *a);
}

void cuda_attention(ops_context *c, const ops_layer *layer, const void *q, void *out)
{
    const ops_shape *s = &c->shape;
    const cuda_batch *b = &c->batch;
    attention_args a = {};
    if (b->n_tokens == 0) return;
    a.q = (const bf16 *)q;
    a.out = (bf16 *)out;
    a.k_cache = (const bf16 *)layer->k_cache;
    a.v_cache = (const bf16 *)layer->v_cache;
    a.sinks = (const bf16 *)layer->sinks.data;
    a.table = b->tables[layer->kind];
    a.sequence_start = b->sequence_start;
    a.contexts = b->contexts;
    a.tile_sequence = b->tile_sequence;
    a.tile_token = b->tile_token;
    a.partial = c->attention->partial;
    a.table_stride = b->table_stride;
    a.block_tokens = s->block_tokens;
    a.q_heads = s->q_heads;
    a.kv_heads = s->kv_heads;
    a.group = s->q_heads / s->kv_heads;
    a.head_dim = s->head_dim;
    a.window = layer->kind == OPS_SLIDING ? s->sliding_window : 0;
    a.scale = 1.0f / sqrtf((float)s->head_dim);
    a.splits = choose_splits(c, &a, b->n_sequences, b->longest_context);
    if (uses_tensor_cores(c)) {
        (s->head_dim == 16 ? launch<16> : s->head_dim == 32 ? launch<32> : s->head_dim == 64 ? launch<64> : launch<128>)(c, &a);
    } else {
        dim3 grid((unsigned)b->n_tokens, (unsigned)s->q_heads);
        cuda_launch(c, "attention", attention_plain_kernel, grid, dim3(32), 0, a, b->row_sequence, b->positions);
    }
}
