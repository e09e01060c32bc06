/* A decode step of one row in one kernel that stays: internal to cuda_decode*.cu*. Read cuda_decode.cu first. */
#ifndef KERNELS_CUDA_CUDA_DECODE_CUH
#define KERNELS_CUDA_CUDA_DECODE_CUH

#include "kernels/cuda/cuda_mxfp4.cuh"
#include "kernels/cuda/cuda_ring.cuh"

/* Warps of a block: consumers, which are all its workers, and one that produces. In products the consumers are teams, which take the slots by turns: while one waits for
 * its slot, or begins or ends with it, the other one has work. A warp of a team has the same part of the columns of every slot, CUT_TILES column tiles of an expert. */
enum { TEAMS = 2, TEAM_WARPS = 9, CUT_TILES = 5, CONSUMERS = TEAMS * TEAM_WARPS, WORKER_THREADS = 32 * CONSUMERS, DECODE_THREADS = WORKER_THREADS + 32 };
/* Rows whose sums a block keeps. */
enum { MAX_SUMS = 384 };
/* Of what the kernel serves. */
enum { HEAD_DIM = 64, MAX_GROUP = 8, MAX_HIDDEN = TEAM_WARPS * CUT_TILES * MXFP4_TILE_COLS, MAX_ATTN = 4096, MAX_TOP_K = 4, MAX_ROUTED = 128, MAX_SPLITS = 16 };
/* The ring. A slot holds a unit: an expert's row tile, a few rows of a BF16 matrix, or keys and values. */
enum { SLOTS = 7, SLOT_BYTES = 24576 };
/* Slots of a block that may be on their way at once: what the memory needs to be busy, and no more. Everything else that a block reads, its instructions
 * included, queues up behind them. */
enum { IN_FLIGHT = 2 };
/* Keys that a warp takes at a time, and how many warps do; keys worth a block of their own; groups whose places are looked up once a step. */
enum { GROUP_KEYS = 16, ATTENTION_WARPS = 16, SHARE_KEYS = 128, KNOWN_GROUPS = 16, Q_STRIDE = HEAD_DIM + 8 };

typedef struct decode_layer {
    const bf16 *attn_norm, *qkv, *qkv_bias, *sinks, *o, *o_bias, *mlp_norm, *router, *router_bias; /* o_bias may be NULL */
    mxfp4_stack gate_up, down;
    bf16 *k_cache, *v_cache;
    int64_t kind; /* OPS_FULL or OPS_SLIDING */
} decode_layer;

/* A number on its way between blocks, or a pair of 16 bits each: 32 bits and the epoch that wrote them, stored and loaded as one. */
typedef uint2 decode_word;

/* Where each kind of number lies, in words; a layer uses one of two such sets, by turns. */
typedef struct decode_places {
    int qkv, partial, attn, delta, logits, activations, returned, size;
} decode_places;

typedef struct decode_args {
    const decode_layer *layers;
    const CUtensorMap *maps; /* [n_layers, 2] of keys and of values: boxes of GROUP_KEYS tokens of a head */
    const bf16 *embedding, *final_norm, *head;
    decode_word *words;  /* [2, places.size] */
    decode_places places;
    const int32_t *serial; /* of the step: no two steps in flight or in sequence have the same */
    const int32_t *token_ids, *slots, *slot_last, *contexts, *tables[OPS_KV_KINDS];
    const float *cosine, *sine;
    float *logits; /* [vocab] */
    int windows[OPS_KV_KINDS]; /* keys visible, 0: all */
    int n_layers, hidden, q_heads, kv_heads, group, n_experts, top_k, intermediate, vocab, block_tokens, max_splits;
    float eps, scale, alpha, limit;
} decode_args;

/* A block's share of so many things. */
struct decode_range {
    int begin, end;
};

/* A block's part of attention: keys [from, to) of one kv head, those from `visible` on; the last one is this step's own token in the last split. Of `from` on
 * 16 keys lie side by side in the cache. */
struct attention_part {
    int kv_head, split, splits, from, to, visible;
    const int32_t *table;
};

/* What is shared out. */
enum decode_shares { SHARE_QKV, SHARE_OUT, SHARE_ROUTER, SHARE_GATE_UP, SHARE_DOWN, SHARE_HEAD, SHARES };

struct decode_shared {
    uint8_t ring[SLOTS][SLOT_BYTES];
    bf16 x[MAX_HIDDEN]; /* residual stream */
    union {
        struct {
            bf16 normed[MAX_HIDDEN];
            __half halves[MAX_HIDDEN]; /* the same for experts */
        };
        bf16 attn[MAX_ATTN];
    };
    union {
        struct {
            float sums[ATTENTION_WARPS][MAX_GROUP * HEAD_DIM];
            float largest[ATTENTION_WARPS][MAX_GROUP], total[ATTENTION_WARPS][MAX_GROUP];
            bf16 q[MAX_GROUP][Q_STRIDE], k[HEAD_DIM], v[HEAD_DIM]; /* q: a stride that keeps rows apart */
        } attention;
        struct {
            float sums[TEAM_WARPS][MAX_SUMS];
            __half activations[MAX_HIDDEN]; /* of this block's choice */
        } product;
    };
    decode_args args;
    decode_layer layers[2]; /* of this layer and the next, by turns */
    uint64_t full[SLOTS], empty[SLOTS], routed;
    alignas(16) float squares[CONSUMERS];
    int context; /* keys of the sequence, this step's included */
    decode_range shares[SHARES]; /* the same in every layer */
    uint32_t epoch;              /* of the first layer */
    attention_part parts[OPS_KV_KINDS];
    int tokens[OPS_KV_KINDS][KNOWN_GROUPS]; /* where the first groups of each part lie in the cache, in tokens */
    int choice; /* whose expert is this block's, and that of its neighbours */
    int ids[MAX_TOP_K];
    float weights[MAX_TOP_K];
};

static_assert(sizeof(decode_shared) <= 227 * 1024, "what a block of compute capability 9 may have");
/* A warp may put q, k and v there while others still add up the sums of the product before. */
static_assert(offsetof(decode_shared, attention.q) >= offsetof(decode_shared, product) + sizeof(decode_shared::product), "they lie behind");

/* The block's. A function, so that the compiler sees that it is shared memory wherever it is used. */
__device__ static inline decode_shared &decode_memory(void)
{
    extern __shared__ __align__(1024) uint8_t memory[]; /* boxes of tensor maps want it so */
    return *(decode_shared *)memory;
}

/* A stage of the kernel: inlined, and there once, in the switch of decode_kernel. */
#define DECODE_STAGE __device__ __forceinline__ static

/* threadIdx.x, so that the compiler cannot know it: what a stage derives from it is then derived anew, instead of being kept for the whole kernel on a
 * stack that has no room in the first-level cache beside so much shared memory. */
__device__ static inline int decode_thread(void)
{
    int thread = (int)threadIdx.x;
    asm volatile("" : "+r"(thread));
    return thread;
}

/* Where a layer's words are, and how to know them. */
struct decode_place {
    decode_word *words;
    uint32_t epoch;
};

__device__ static inline decode_place decode_place_of(int l)
{
    const decode_shared &s = decode_memory();
    return {s.args.words + (l & 1) * s.args.places.size, s.epoch + (uint32_t)l};
}

__device__ static inline void decode_sync_workers(void) { asm volatile("bar.sync 1, %0;" ::"r"((int)WORKER_THREADS) : "memory"); }

__device__ static inline float decode_warp_sum(float value)
{
#pragma unroll
    for (int step = 16; step; step /= 2) value += __shfl_xor_sync(~0u, value, step);
    return value;
}

/* Things times blocks are less than 2^32. */
__device__ static inline decode_range decode_share(int total, unsigned block, unsigned blocks)
{
    return {(int)((unsigned)total * block / blocks), (int)((unsigned)total * (block + 1) / blocks)};
}

/* The producer's side, by its whole warp: waits until unit `unit` may be asked for, of so many bytes. */
__device__ static inline int decode_begin_fill(int unit, uint32_t bytes)
{
    decode_shared &s = decode_memory();
    int slot = unit % SLOTS;
    if (unit >= SLOTS) ring_wait(&s.empty[slot], unit / SLOTS - 1);
    if (unit >= IN_FLIGHT) ring_wait(&s.full[(unit - IN_FLIGHT) % SLOTS], (unit - IN_FLIGHT) / SLOTS);
    if (threadIdx.x % 32 == 0) ring_expect(&s.full[slot], bytes);
    __syncwarp();
    return slot;
}

/* The consumers' side: where a warp is in the ring. */
struct decode_cursor {
    int slot, turn;
};

/* Past so many units, which this warp need not have read. */
__device__ static inline void decode_skip(decode_cursor &c, int units)
{
    int at = c.slot + units, turns = at / SLOTS;
    c.slot = at - turns * SLOTS;
    c.turn ^= turns & 1;
}

__device__ static inline uint8_t *decode_await(const decode_cursor &c)
{
    decode_shared &s = decode_memory();
    ring_wait(&s.full[c.slot], c.turn);
    return s.ring[c.slot];
}

/* When all lanes have read the slot: on to the next one of this warp, `step` units further: 1 if all warps read every slot, TEAMS if those of a team do, whose arrivals
 * then count for as many warps each. No parity misleads a warp that skips others' slots: a unit is asked for when the one IN_FLIGHT before is there, so when a unit has
 * come, so have all that lie as far back; and between products all warps meet. */
__device__ static inline void decode_release(decode_cursor &c, int lane, int step)
{
    __syncwarp();
    if (lane == 0) ring_arrive(&decode_memory().empty[c.slot], step);
    c.slot += step;
    if (c.slot >= SLOTS) c.slot -= SLOTS, c.turn ^= 1;
}
static_assert((int)TEAMS + (int)IN_FLIGHT <= (int)SLOTS, "else a warp's next slot may be two turns ahead of what it knows");

/* As the stages round what they hand on. */
__device__ static inline float decode_round(float value) { return __bfloat162float(__float2bfloat16(value)); }

#endif
