/* The host's side of the decode kernel: which models and steps it serves, and what it is told. */
#include "kernels/cuda/cuda_decode_args.cuh"

enum { VARIANTS = 2 };

struct cuda_decode_state {
    decode_args args; /* without what the batch decides */
    decode_variant variants[VARIANTS]; /* for one sequence, and for few */
};

static bool serves(const ops_context *c, const ops_stack *stack)
{
    const ops_shape *s = &c->shape;
    const ops_weight *up = &stack->layers[0].gate_up, *down = &stack->layers[0].down;
    int group = s->q_heads / s->kv_heads;
    bool whole = s->logit_shards == 1 && s->expert_count == s->n_experts && up->rows == 2 * (int64_t)s->intermediate && stack->head.rows == s->vocab;
    bool fits = s->head_dim == HEAD_DIM && group <= MAX_GROUP && s->hidden <= MAX_HIDDEN && s->hidden % MXFP4_TILE_COLS == 0 && s->intermediate <= MAX_HIDDEN &&
                s->intermediate % MXFP4_TILE_ROWS == 0 && s->q_heads * HEAD_DIM <= MAX_ATTN && s->q_heads >= CUT_TILES && s->top_k <= MAX_TOP_K && s->n_experts <= MAX_ROUTED;
    int64_t units = up->rows / MXFP4_TILE_ROWS / (c->sm_count / s->top_k) + 1;
    bool busy = s->hidden >= 2 * c->sm_count && s->kv_heads <= c->sm_count; /* every block has a part of `out`, which keeps its producer within a layer of its workers */
    fits = fits && s->block_tokens % GROUP_KEYS == 0 && s->hidden > (CUT_TILES - 1) * MXFP4_TILE_COLS && s->intermediate > (CUT_TILES - 1) * MXFP4_TILE_COLS;
    bool few = (s->q_heads + 2 * s->kv_heads) * HEAD_DIM / c->sm_count + 2 < MAX_SUMS && units * MXFP4_TILE_ROWS <= MAX_SUMS;
    return c->major >= 9 && whole && fits && few && busy && down->rows == s->hidden;
}

static decode_layer describe(const ops_layer *l)
{
    decode_layer d = {};
    d.attn_norm = (const bf16 *)l->attn_norm.data;
    d.qkv = (const bf16 *)l->q.data; /* place() laid q, k and v side by side */
    d.qkv_bias = (const bf16 *)l->q_bias.data;
    d.sinks = (const bf16 *)l->sinks.data;
    d.o = (const bf16 *)l->o.data;
    d.o_bias = (const bf16 *)l->o_bias.data;
    d.mlp_norm = (const bf16 *)l->mlp_norm.data;
    d.router = (const bf16 *)l->router.data;
    d.router_bias = (const bf16 *)l->router_bias.data;
    d.gate_up = mxfp4_stack_of(&l->gate_up, &l->gate_up_bias);
    d.down = mxfp4_stack_of(&l->down, &l->down_bias);
    d.k_cache = (bf16 *)l->k_cache;
    d.v_cache = (bf16 *)l->v_cache;
    d.kind = l->kind;
    return d;
}

/* Regions of even size, one after the other. */
static decode_places lay_out(const ops_shape *s)
{
    decode_places p = {};
    int group = s->q_heads / s->kv_heads, *const regions[] = {&p.qkv, &p.partial, &p.attn, &p.delta, &p.logits, &p.activations, &p.returned, &p.combined, &p.size};
    const int sizes[] = {(s->q_heads + 2 * s->kv_heads) * HEAD_DIM / 2, s->kv_heads * MAX_SPLITS * group * (HEAD_DIM + 2), s->q_heads * HEAD_DIM / 2, s->hidden / 2, s->n_experts,
                         s->top_k * s->intermediate / 2, s->top_k * s->hidden / 2, s->hidden / 2, 0};
    int at = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *regions[i] = at;
        at += (sizes[i] + 1) / 2 * 2;
    }
    return p;
}

/* [tokens, kv_heads, 64] as boxes of 16 tokens of a head. No box is asked for that lies beyond the cache, whose size need not be known. */
static bool describe_cache(const ops_shape *s, void *cache, CUtensorMap *map)
{
    typedef CUresult encode(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *, const cuuint64_t *, const cuuint32_t *, const cuuint32_t *,
                            CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
    const cuuint64_t row = HEAD_DIM * sizeof(bf16), sizes[] = {HEAD_DIM, (cuuint64_t)s->kv_heads, (cuuint64_t)1 << 31}, strides[] = {row, row * (cuuint64_t)s->kv_heads};
    const cuuint32_t box[] = {HEAD_DIM, 1, GROUP_KEYS}, steps[] = {1, 1, 1};
    cudaDriverEntryPointQueryResult found;
    void *function = NULL;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found) != cudaSuccess || found != cudaDriverEntryPointSuccess)
        return false;
    return ((encode *)function)(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, cache, sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

/* Both for each layer, on the device; *out stays NULL if the driver has no such thing. */
static status describe_caches(ops_context *c, const ops_stack *stack, const CUtensorMap **out, status_detail *detail)
{
    size_t bytes = 2 * (size_t)stack->n_layers * sizeof(CUtensorMap);
    CUtensorMap *maps;
    STATUS_TRY(cuda_host_allocate(c, bytes, (void **)&maps, detail));
    for (int i = 0; i < stack->n_layers; i++)
        if (!describe_cache(&c->shape, stack->layers[i].k_cache, &maps[2 * i]) || !describe_cache(&c->shape, stack->layers[i].v_cache, &maps[2 * i + 1])) return STATUS_OK;
    STATUS_TRY(cuda_allocate(c, bytes, (void **)out, detail));
    cuda_check(c, cudaMemcpyAsync((void *)*out, maps, bytes, cudaMemcpyHostToDevice, c->stream), "the decode kernel");
    return STATUS_OK;
}

/* Whether blocks of it can run, one on each SM. */
static bool fits(ops_context *c, const decode_variant *v)
{
    int blocks = 0;
    if (v->shared_bytes > c->shared_max) return false;
    cuda_check(c, cudaFuncSetAttribute(v->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)v->shared_bytes), "the decode kernel");
    cuda_check(c, cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, v->kernel, DECODE_THREADS, v->shared_bytes), "the decode kernel");
    return blocks > 0;
}

status cuda_decode_open(ops_context *c, const ops_stack *stack, int *max_rows, status_detail *detail)
{
    const ops_shape *s = &c->shape;
    *max_rows = 0;
    if (stack->n_layers == 0 || !serves(c, stack)) return STATUS_OK;
    cuda_check(c, cudaSetDevice(c->device), "the decode kernel");
    STATUS_TRY(cuda_host_allocate(c, sizeof *c->decode, (void **)&c->decode, detail));
    c->decode->variants[0] = cuda_decode_one();
    c->decode->variants[1] = cuda_decode_few();
    for (int i = 0; i < VARIANTS; i++)
        if (!fits(c, &c->decode->variants[i])) return STATUS_OK;
    STATUS_TRY(cuda_report(c, detail));

    decode_args *a = &c->decode->args;
    size_t bytes = (size_t)stack->n_layers * sizeof(decode_layer);
    decode_layer *layers;
    STATUS_TRY(cuda_host_allocate(c, bytes, (void **)&layers, detail));
    for (int i = 0; i < stack->n_layers; i++) layers[i] = describe(&stack->layers[i]);
    STATUS_TRY(describe_caches(c, stack, &a->maps, detail));
    if (!a->maps) return STATUS_OK; /* stage by stage, then */
    a->places = lay_out(s);
    size_t words = 2 * MAX_SEQUENCES * (size_t)a->places.size * sizeof(decode_word);
    STATUS_TRY(cuda_allocate(c, bytes, (void **)&a->layers, detail));
    STATUS_TRY(cuda_allocate(c, words, (void **)&a->words, detail));
    cuda_check(c, cudaMemcpyAsync((void *)a->layers, layers, bytes, cudaMemcpyHostToDevice, c->stream), "the decode kernel");
    cuda_check(c, cudaMemsetAsync(a->words, 0, words, c->stream), "the decode kernel"); /* no step has the epoch 0 soon */
    a->embedding = (const bf16 *)stack->embedding.data;
    a->final_norm = (const bf16 *)stack->final_norm.data;
    a->head = (const bf16 *)stack->head.data;
    a->serial = cuda_step_serial(c);
    a->slot_last = cuda_sampler_last(c);
    cuda_rope_tables(c, &a->cosine, &a->sine);
    a->windows[OPS_SLIDING] = s->sliding_window;
    a->n_layers = stack->n_layers;
    a->hidden = s->hidden;
    a->q_heads = s->q_heads;
    a->kv_heads = s->kv_heads;
    a->group = s->q_heads / s->kv_heads;
    a->n_experts = s->n_experts;
    a->top_k = s->top_k;
    a->intermediate = s->intermediate;
    a->vocab = s->vocab;
    a->block_tokens = s->block_tokens;
    a->per_element = 1.0f / (float)s->hidden;
    a->eps = s->rms_eps;
    a->scale = 1.0f / sqrtf((float)HEAD_DIM);
    a->alpha = s->swiglu_alpha;
    a->limit = s->swiglu_limit;
    *max_rows = MAX_SEQUENCES < c->sm_count / s->kv_heads ? MAX_SEQUENCES : 1;
    return cuda_report(c, detail);
}

void cuda_decode(ops_context *c, float *logits)
{
    decode_args a = c->decode->args;
    const cuda_batch *b = &c->batch;
    const decode_variant *variant = &c->decode->variants[b->n_tokens > 1];
    int splits = c->sm_count / c->shape.kv_heads / b->n_tokens;
    a.max_splits = splits < MAX_SPLITS ? splits : MAX_SPLITS;
    a.sequences = b->n_tokens;
    a.table_stride = b->table_stride;
    a.token_ids = b->token_ids;
    a.slots = b->slots;
    a.contexts = b->contexts;
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) a.tables[kind] = b->tables[kind];
    a.logits = logits;
    cudaLaunchAttribute together = {}; /* blocks wait for each other: all run, or none */
    together.id = cudaLaunchAttributeCooperative;
    together.val.cooperative = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)c->sm_count);
    config.blockDim = dim3(DECODE_THREADS);
    config.dynamicSmemBytes = variant->shared_bytes;
    config.stream = c->stream;
    config.attrs = &together;
    config.numAttrs = 1;
    cuda_check(c, cudaLaunchKernelEx(&config, variant->kernel, a), "the decode kernel");
}
