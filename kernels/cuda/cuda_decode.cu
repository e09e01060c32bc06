/* A decode step of one row, from the embedding to the logits, in one kernel: one block per SM, all of them running at once until the step is done.
 *
 * The stages of a layer, and what crosses between blocks (as words, cuda_decode_words.cuh: no barrier anywhere, a reader waits for what it reads):
 *
 *   x, normed   every block adds up the residual stream and norms it, all of it, for itself
 *   qkv         each block its share of the rows          -> qkv
 *   attention   a kv head and a share of the keys a block -> [partial ->] attn
 *   out         a share of the rows                       -> delta;  every block: x, normed again
 *   router      a row a block                             -> logits; every block chooses the experts itself
 *   gate_up     a share of the row tiles of the chosen    -> activations
 *   down        likewise                                  -> returned; the next layer's start adds them up
 *
 * and after the last layer the LM head, a share of the rows each. Weights are read by
 *
 *   producer warp     walks through the same stages, ahead of everybody, and fills the ring with the weights of this block's shares, and its keys and values,
 *     | full[], empty[]   by bulk copies: 7 slots of 24 KB a block, 22 MB over the GPU, five microseconds of memory; two of them on their way at a time.
 *     |                   They do not depend on activations; only the experts' weights wait until the router has spoken (routed).
 *   18 consumer warps two teams of nine, which take a product's slots by turns, a warp a part of the columns; in attention a warp has 16 keys. What they come to for
 *                     a row meets in shared memory (cuda_decode_sums.cuh). Between the products they gather vectors, and meet at decode_sync_workers().
 *
 * Shared memory: the ring; x; normed for both number formats, or the result of attention; and one region for attention's partial sums, or those of a
 * product and the activations. Results are rounded where the stages of ops.h round them. */
#include "kernels/cuda/cuda_decode_attention.cuh"
#include "kernels/cuda/cuda_decode_dense.cuh"
#include "kernels/cuda/cuda_decode_experts.cuh"
#include "kernels/cuda/cuda_decode_vectors.cuh"

struct cuda_decode_state {
    decode_args args; /* without what the batch decides */
};

__device__ static inline int qkv_rows(const decode_args &a) { return (a.q_heads + 2 * a.kv_heads) * HEAD_DIM; }

__device__ static void produce(void)
{
    const decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    uint64_t once = ring_read_once();
    int units = 0;
    for (int l = 0; l <= a.n_layers; l++) {
        const decode_layer &layer = s.layers[l % 2];
        bool last = l == a.n_layers;
        dense_produce(units, last ? a.head : layer.qkv, s.shares[last ? SHARE_HEAD : SHARE_QKV], a.hidden, once);
        if (last) break;
        attention_produce(units, l, once);
        dense_produce(units, layer.o, s.shares[SHARE_OUT], a.q_heads * HEAD_DIM, once);
        dense_produce(units, layer.router, s.shares[SHARE_ROUTER], a.hidden, once);
        ring_wait((uint64_t *)&s.routed, l);
        experts_produce(units, layer.gate_up, s.shares[SHARE_GATE_UP], once);
        experts_produce(units, layer.down, s.shares[SHARE_DOWN], once);
    }
}

__device__ static inline void load_layer(int l)
{
    static_assert(sizeof(decode_layer) % sizeof(uint64_t) == 0, "copied by words");
    decode_shared &s = decode_memory();
    if (l < s.args.n_layers && threadIdx.x < sizeof(decode_layer) / sizeof(uint64_t))
        ((uint64_t *)&s.layers[l % 2])[threadIdx.x] = ((const uint64_t *)(s.args.layers + l))[threadIdx.x];
}

__device__ static inline void prefetch_line(const void *address) { asm volatile("prefetch.global.L2 [%0];" ::"l"(address)); }

/* Brings the small things that layer l will read into the L2 cache: from memory they would come too late. A line each, or this block's part of one. */
DECODE_STAGE void prefetch_layer(int l)
{
    enum { LINE = 64 }; /* elements */
    const decode_shared &s = decode_memory();
    const decode_layer &layer = s.layers[l % 2];
    if (l >= s.args.n_layers) return;
    int thread = decode_thread(), line = (int)blockIdx.x * LINE;
    if (thread == 0) prefetch_line(layer.qkv_bias + s.shares[SHARE_QKV].begin);
    if (thread == 1) prefetch_line(layer.qkv_bias + s.shares[SHARE_QKV].end - 1);
    if (thread == 2 && layer.o_bias) prefetch_line(layer.o_bias + s.shares[SHARE_OUT].begin);
    if (thread == 3) prefetch_line(layer.router_bias + s.shares[SHARE_ROUTER].begin);
    if (thread == 4) prefetch_line(layer.sinks);
    if (thread == 5 && line < s.args.hidden) prefetch_line(layer.attn_norm + line);
    if (thread == 6 && line < s.args.hidden) prefetch_line(layer.mlp_norm + line);
}

/* What a block does in a layer, in this order; the step ends with the first two after the last layer. */
enum decode_stage {
    STAGE_NORM_ATTENTION,
    STAGE_QKV,
    STAGE_ATTENTION,
    STAGE_TAKE_ATTN,
    STAGE_OUT,
    STAGE_NORM_EXPERTS,
    STAGE_ROUTER,
    STAGE_CHOOSE,
    STAGE_GATE_UP,
    STAGE_TAKE_ACTIVATIONS,
    STAGE_DOWN,
    STAGES
};

DECODE_STAGE void norm_stage(int l, decode_stage stage)
{
    decode_shared &s = decode_memory();
    bool experts = stage == STAGE_NORM_EXPERTS, last = l == s.args.n_layers;
    vector_norm(experts ? s.layers[l % 2].mlp_norm : last ? s.args.final_norm : s.layers[l % 2].attn_norm,
                experts ? VECTOR_DELTA : l > 0 ? VECTOR_EXPERTS : VECTOR_NOTHING, decode_place_of(experts ? l : l - 1));
    if (!experts) load_layer(l + 1); /* nobody needs the one before any more */
}

DECODE_STAGE void dense_stage(decode_cursor &c, int l, decode_stage stage)
{
    decode_shared &s = decode_memory();
    const decode_layer &layer = s.layers[l % 2];
    bool head = l == s.args.n_layers, qkv = stage == STAGE_QKV, out = stage == STAGE_OUT;
    decode_shares share = head ? SHARE_HEAD : qkv ? SHARE_QKV : out ? SHARE_OUT : SHARE_ROUTER;
    const bf16 *bias = head ? NULL : qkv ? layer.qkv_bias : out ? layer.o_bias : layer.router_bias;
    int place = qkv ? s.args.places.qkv : out ? s.args.places.delta : s.args.places.logits;
    dense_product(c, bias, share, out ? s.args.q_heads * HEAD_DIM : s.args.hidden, head ? DENSE_LOGITS : qkv || out ? DENSE_PAIRS : DENSE_WORDS, place, decode_place_of(l));
}

/* One loop over one switch, so that the code of each kind of stage is there once. */
__device__ static inline void work(void)
{
    decode_shared &s = decode_memory();
    decode_cursor c = {0, 0};
    vector_embed(s.args.token_ids[0] >= 0 ? s.args.token_ids[0] : s.args.slot_last[s.args.slots[0]]);
#pragma unroll 1
    for (int step = 0; step <= s.args.n_layers * STAGES + STAGE_QKV; step++) {
        int l = step / STAGES;
        decode_stage stage = (decode_stage)(step - l * STAGES);
        switch (stage) {
        case STAGE_NORM_ATTENTION:
        case STAGE_NORM_EXPERTS: norm_stage(l, stage); break;
        case STAGE_QKV:
        case STAGE_OUT:
        case STAGE_ROUTER: dense_stage(c, l, stage); break;
        case STAGE_ATTENTION: attention_stage(c, l); break;
        case STAGE_TAKE_ATTN: vector_take_attn(decode_place_of(l)); break;
        case STAGE_CHOOSE:
            vector_choose(decode_place_of(l));
            prefetch_layer(l + 1);
            break;
        case STAGE_GATE_UP:
        case STAGE_DOWN: experts_stage(c, l, stage == STAGE_GATE_UP ? EXPERT_GATE_UP : EXPERT_DOWN, decode_place_of(l)); break;
        default: vector_take_activations(decode_place_of(l));
        }
    }
}

/* What is the same in every layer; by one thread, once there is the first layer's description. */
__device__ static void prepare(void)
{
    decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    unsigned each = gridDim.x / (unsigned)a.top_k; /* blocks of a choice, so that a block has one only; if some are left, they have none */
    const int totals[SHARES] = {qkv_rows(a), a.hidden, a.n_experts, s.layers[0].gate_up.row_tiles, s.layers[0].down.row_tiles, a.vocab};
    s.choice = min((int)(blockIdx.x / each), a.top_k - 1);
    for (int i = 0; i < SHARES; i++) {
        bool experts = i == SHARE_GATE_UP || i == SHARE_DOWN;
        int of = i == SHARE_QKV || i == SHARE_OUT ? 2 : 1; /* rows that go as pairs */
        decode_range range = experts ? decode_share(totals[i], blockIdx.x % each, each) : decode_share(totals[i] / of, blockIdx.x, gridDim.x);
        range = {range.begin * of, range.end * of};
        if (experts && blockIdx.x >= each * (unsigned)a.top_k) range.end = range.begin;
        if (experts) range = {range.begin + s.choice * totals[i], range.end + s.choice * totals[i]};
        s.shares[i] = range;
    }
    s.epoch = (uint32_t)*a.serial * (uint32_t)(a.n_layers + 1) + 1;
}

__global__ void __launch_bounds__(DECODE_THREADS, 1) decode_kernel(const __grid_constant__ decode_args a)
{
    decode_shared &s = decode_memory();
    if (threadIdx.x == 0) {
        for (int i = 0; i < SLOTS; i++) {
            ring_barrier_begin(&s.full[i], 1);
            ring_barrier_begin(&s.empty[i], CONSUMERS);
        }
        ring_barrier_begin(&s.routed, 1);
        ring_barriers_ready();
        s.args = a;
        s.context = a.contexts[0];
    }
    __syncthreads();
    load_layer(0);
    attention_prepare();
    __syncthreads();
    if (threadIdx.x == 0) prepare();
    __syncthreads();
    if (threadIdx.x < WORKER_THREADS)
        work();
    else
        produce();
}

/* ---- the host's side ---------------------------------------------------------------------------------------------- */

static bool serves(const ops_context *c, const ops_stack *stack)
{
    const ops_shape *s = &c->shape;
    const ops_weight *up = &stack->layers[0].gate_up, *down = &stack->layers[0].down;
    int group = s->q_heads / s->kv_heads;
    bool whole = s->logit_shards == 1 && s->expert_count == s->n_experts && up->rows == 2 * (int64_t)s->intermediate && stack->head.rows == s->vocab;
    bool fits = s->head_dim == HEAD_DIM && group <= MAX_GROUP && s->hidden <= MAX_HIDDEN && s->hidden % MXFP4_TILE_COLS == 0 && s->intermediate <= MAX_HIDDEN &&
                s->intermediate % MXFP4_TILE_ROWS == 0 && s->q_heads * HEAD_DIM <= MAX_ATTN && s->top_k <= MAX_TOP_K && s->n_experts <= MAX_ROUTED;
    int64_t units = up->rows / MXFP4_TILE_ROWS / (c->sm_count / s->top_k) + 1;
    bool busy = s->hidden >= 2 * c->sm_count && s->kv_heads <= c->sm_count; /* every block has a part of `out`, which keeps its producer within a layer of its workers */
    fits = fits && s->block_tokens % GROUP_KEYS == 0 && s->hidden > (CUT_TILES - 1) * MXFP4_TILE_COLS && s->intermediate > (CUT_TILES - 1) * MXFP4_TILE_COLS;
    bool few = (s->q_heads + 2 * s->kv_heads) * HEAD_DIM / c->sm_count + 2 < MAX_SUMS && units * MXFP4_TILE_ROWS <= MAX_SUMS;
    return c->major >= 9 && whole && fits && few && busy && down->rows == s->hidden && sizeof(decode_shared) <= c->shared_max;
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
    int group = s->q_heads / s->kv_heads, *const regions[] = {&p.qkv, &p.partial, &p.attn, &p.delta, &p.logits, &p.activations, &p.returned, &p.size};
    const int sizes[] = {(s->q_heads + 2 * s->kv_heads) * HEAD_DIM / 2, s->kv_heads * MAX_SPLITS * group * (HEAD_DIM + 2), s->q_heads * HEAD_DIM / 2, s->hidden / 2, s->n_experts,
                         s->top_k * s->intermediate / 2, s->top_k * s->hidden / 2, 0};
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

status cuda_decode_open(ops_context *c, const ops_stack *stack, int *max_rows, status_detail *detail)
{
    const ops_shape *s = &c->shape;
    int blocks = 0;
    *max_rows = 0;
    if (stack->n_layers == 0 || !serves(c, stack)) return STATUS_OK;
    cuda_check(c, cudaSetDevice(c->device), "the decode kernel");
    cuda_check(c, cudaFuncSetAttribute(decode_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)sizeof(decode_shared)), "the decode kernel");
    cuda_check(c, cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, decode_kernel, DECODE_THREADS, sizeof(decode_shared)), "the decode kernel");
    STATUS_TRY(cuda_report(c, detail));
    if (blocks < 1) return STATUS_OK;

    STATUS_TRY(cuda_host_allocate(c, sizeof *c->decode, (void **)&c->decode, detail));
    decode_args *a = &c->decode->args;
    size_t bytes = (size_t)stack->n_layers * sizeof(decode_layer);
    decode_layer *layers;
    STATUS_TRY(cuda_host_allocate(c, bytes, (void **)&layers, detail));
    for (int i = 0; i < stack->n_layers; i++) layers[i] = describe(&stack->layers[i]);
    STATUS_TRY(describe_caches(c, stack, &a->maps, detail));
    if (!a->maps) return STATUS_OK; /* stage by stage, then */
    a->places = lay_out(s);
    size_t words = 2 * (size_t)a->places.size * sizeof(decode_word);
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
    a->max_splits = c->sm_count / s->kv_heads < MAX_SPLITS ? c->sm_count / s->kv_heads : MAX_SPLITS;
    a->eps = s->rms_eps;
    a->scale = 1.0f / sqrtf((float)HEAD_DIM);
    a->alpha = s->swiglu_alpha;
    a->limit = s->swiglu_limit;
    *max_rows = 1;
    return cuda_report(c, detail);
}

void cuda_decode(ops_context *c, float *logits)
{
    decode_args a = c->decode->args;
    const cuda_batch *b = &c->batch;
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
    config.dynamicSmemBytes = sizeof(decode_shared);
    config.stream = c->stream;
    config.attrs = &together;
    config.numAttrs = 1;
    cuda_check(c, cudaLaunchKernelEx(&config, decode_kernel, a), "the decode kernel");
}
