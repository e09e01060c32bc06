/* A decode step of one sequence, or of few, a row each, from the embedding to the logits, in one kernel: one block per SM, all of them running at once until the step is
 * done. Compiled twice, for SEQUENCES = 1 (cuda_decode_one.cu) and MAX_SEQUENCES (cuda_decode_few.cu).
 *
 * The stages of a layer, and what crosses between blocks (as words, cuda_decode_words.cuh: no barrier anywhere, a reader waits for what it reads):
 *
 *   x, normed   every block adds up the residual stream and norms it, all of it, for itself
 *   qkv         each block its share of the rows          -> qkv
 *   attention   a sequence's kv head and a share of the keys a block -> [partial ->] attn
 *   out         a share of the rows                       -> delta;  every block: x, normed again
 *   router      a row a block                             -> logits; every block chooses the experts itself
 *   gate_up     a share of the row tiles of the chosen    -> activations
 *   down        likewise                                  -> returned; the next layer's start adds them up
 *   [combine    of several sequences: a share of what the experts returned, added up -> combined, which the next layer's start takes]
 *
 * and after the last layer the LM head, a share of the rows each. Weights are read by
 *
 *   producer warp     walks through the same stages, ahead of everybody, and fills the ring with the weights of this block's shares, and its keys and values,
 *     | full[], empty[]   by bulk copies: 7 slots of 24 KB a block, 22 MB over the GPU, five microseconds of memory (6 slots for several sequences); two of them on
 *     |                   their way at a time. They do not depend on activations; only the experts' weights wait until the router has spoken (routed).
 *   18 consumer warps two teams of nine, which take a product's slots by turns, a warp a part of the columns; in attention a warp has 16 keys. What they come to for
 *                     a row meets in shared memory (cuda_decode_sums.cuh). Between the products they gather vectors, and meet at decode_sync_workers().
 *
 * Several sequences are columns of the B operand, which has eight: a slot's weights are unpacked once for all of them. Chosen experts follow each other over the blocks
 * (cuda_decode_choose.cuh); a block works for the sequences that chose its expert.
 *
 * Shared memory: the ring; x; normed for both number formats, or the result of attention, or the activations; the sums of a product; and attention's partial sums, which
 * take the place of the one or the other (decode_shared). What a stage needs to know that is the same in every layer is worked out once (prepare).
 * Results are rounded where the stages of ops.h round them. */
#ifndef KERNELS_CUDA_CUDA_DECODE_KERNEL_CUH
#define KERNELS_CUDA_CUDA_DECODE_KERNEL_CUH

#include "kernels/cuda/cuda_decode_attention.cuh"
#include "kernels/cuda/cuda_decode_choose.cuh"
#include "kernels/cuda/cuda_decode_dense.cuh"
#include "kernels/cuda/cuda_decode_experts.cuh"
#include "kernels/cuda/cuda_decode_vectors.cuh"

__device__ static void produce(void)
{
    const decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    uint64_t once = ring_read_once();
    int units = 0;
    for (int l = 0; l <= a.n_layers; l++) {
        const decode_layer &layer = s.layers[l % 2];
        bool last = l == a.n_layers;
        dense_produce(units, last ? a.head : layer.qkv, last ? DENSE_HEAD : DENSE_QKV, once);
        if (last) break;
        attention_produce(units, l, once);
        dense_produce(units, layer.o, DENSE_OUT, once);
        dense_produce(units, layer.router, DENSE_ROUTER, once);
        ring_wait((uint64_t *)&s.routed, l);
        for (int i = 0; i < EXPERTS_OF_BLOCK; i++) experts_produce(units, layer.gate_up, s.experts[i], EXPERT_GATE_UP, once);
        for (int i = 0; i < EXPERTS_OF_BLOCK; i++) experts_produce(units, layer.down, s.experts[i], EXPERT_DOWN, once);
    }
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
    if (thread == 0) prefetch_line(layer.qkv_bias + s.dense[DENSE_QKV].rows.begin);
    if (thread == 1) prefetch_line(layer.qkv_bias + s.dense[DENSE_QKV].rows.end - 1);
    if (thread == 2 && layer.o_bias) prefetch_line(layer.o_bias + s.dense[DENSE_OUT].rows.begin);
    if (thread == 3) prefetch_line(layer.router_bias + s.dense[DENSE_ROUTER].rows.begin);
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
                experts ? VECTOR_DELTA : l > 0 ? VECTOR_EXPERTS : VECTOR_NOTHING, experts ? -1 : l);
}

/* One loop over one switch, so that the code of each kind of stage is there once. */
__device__ static inline void work(void)
{
    decode_shared &s = decode_memory();
    decode_cursor c = {0};
    for (int i = 0; i < decode_sequences(); i++) vector_embed(i);
#pragma unroll 1
    for (int step = 0; step <= s.args.n_layers * STAGES + STAGE_QKV; step++) {
        int l = step / STAGES;
        decode_stage stage = (decode_stage)(step - l * STAGES);
        switch (stage) {
        case STAGE_NORM_ATTENTION:
        case STAGE_NORM_EXPERTS: norm_stage(l, stage); break;
        case STAGE_QKV:
        case STAGE_OUT:
        case STAGE_ROUTER: dense_stage(c, l, l == s.args.n_layers ? DENSE_HEAD : stage == STAGE_QKV ? DENSE_QKV : stage == STAGE_OUT ? DENSE_OUT : DENSE_ROUTER); break;
        case STAGE_ATTENTION: attention_stage(c, l); break;
        case STAGE_TAKE_ATTN:
        case STAGE_TAKE_ACTIVATIONS: vector_take(stage == STAGE_TAKE_ATTN); break;
        case STAGE_CHOOSE:
            choose_stage();
            prefetch_layer(l + 1);
            break;
        default:
            experts_stage(c, l, stage == STAGE_GATE_UP ? EXPERT_GATE_UP : EXPERT_DOWN);
            if (SEQUENCES > 1 && stage == STAGE_DOWN) vector_combine();
        }
    }
}

/* rows_at_a_time: whole pairs, where rows go as pairs; bias: where its address is in decode_layer */
__device__ static inline dense_plan plan_dense(int rows, int cols, int stride, int rows_at_a_time, int place, size_t bias, dense_target target)
{
    decode_range range = decode_share(rows / rows_at_a_time, blockIdx.x, gridDim.x);
    int at_once = dense_slot_rows(cols), n = (range.end - range.begin) * rows_at_a_time;
    return {{range.begin * rows_at_a_time, range.end * rows_at_a_time}, cols * (int)sizeof(bf16), at_once, (n + at_once - 1) / at_once, SUMS / SEQUENCES / at_once, stride, place, (int)bias, target};
}

/* What is the same in every layer; by all threads of a block, once there is the first layer's description. */
__device__ static void prepare(void)
{
    decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    int thread = threadIdx.x, attn = a.q_heads * HEAD_DIM, kind = thread / TEAM_WARPS, member = thread % TEAM_WARPS, of_hidden = (int)sizeof s.normed[0];
    if (kind < 2) {
        s.dense_parts[kind][member] = dense_part_of(kind ? attn : a.hidden, member);
        s.expert_parts[kind][member] = experts_part_of(kind == EXPERT_GATE_UP ? s.layers[0].gate_up.col_tiles : s.layers[0].down.col_tiles, member);
    }
    if (thread > 0) return;
    s.dense[DENSE_QKV] = plan_dense(attn + 2 * a.kv_heads * HEAD_DIM, a.hidden, of_hidden, 2, a.places.qkv, offsetof(decode_layer, qkv_bias), DENSE_PAIRS);
    s.dense[DENSE_OUT] = plan_dense(a.hidden, attn, (int)sizeof s.attn[0], 2, a.places.delta, offsetof(decode_layer, o_bias), DENSE_PAIRS);
    s.dense[DENSE_ROUTER] = plan_dense(a.n_experts, a.hidden, of_hidden, 1, a.places.logits, offsetof(decode_layer, router_bias), DENSE_WORDS);
    s.dense[DENSE_HEAD] = plan_dense(a.vocab, a.hidden, of_hidden, 1, 0, 0, DENSE_LOGITS);
    unsigned each = gridDim.x / (unsigned)a.top_k; /* of one sequence: blocks of a choice, so that a block has one only; if some are left, they have none */
    s.experts[0].choice[0] = min((int)(blockIdx.x / each), a.top_k - 1);
    for (int i = 0; i < 2; i++) {
        s.row_tiles[i] = i == EXPERT_GATE_UP ? s.layers[0].gate_up.row_tiles : s.layers[0].down.row_tiles;
        decode_range range = decode_share(s.row_tiles[i], blockIdx.x % each, each);
        s.experts[0].tiles[i] = {range.begin, blockIdx.x < each * (unsigned)a.top_k ? range.end : range.begin};
    }
    s.epoch = (uint32_t)*a.serial * (uint32_t)(a.n_layers + 1) + 1;
}
static_assert((int)EXPERT_GATE_UP + (int)EXPERT_DOWN == 1, "they are counted");

static __global__ void __launch_bounds__(DECODE_THREADS, 1) decode_kernel(const __grid_constant__ decode_args a)
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
    }
    __syncthreads();
    if (threadIdx.x < 32) decode_keep_layer(0, threadIdx.x, decode_ask_layer(0, threadIdx.x));
    attention_prepare();
    __syncthreads();
    prepare();
    __syncthreads();
    if (threadIdx.x < WORKER_THREADS)
        work();
    else
        produce();
}

static inline decode_variant decode_kernel_variant(void) { return {decode_kernel, sizeof(decode_shared)}; }

#endif
