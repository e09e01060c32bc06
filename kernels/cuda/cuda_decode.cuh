/* A decode step of few rows in one kernel that stays: what its stages share. Internal to cuda_decode*. Read cuda_decode_kernel.cuh first. */
#ifndef KERNELS_CUDA_CUDA_DECODE_CUH
#define KERNELS_CUDA_CUDA_DECODE_CUH

#include "kernels/cuda/cuda_decode_args.cuh"

/* Whoever includes this says for how many sequences, as DECODE_SEQUENCES: a step of one is the most frequent, and it has the shared memory for more slots. */
enum { SEQUENCES = DECODE_SEQUENCES, SLOTS = SEQUENCES == 1 ? 7 : 6, SUMS = SEQUENCES == 1 ? MAX_SUMS : 336 };

/* A block's share of so many things. */
struct decode_range {
    int begin, end;
};

/* A block's part of attention: keys [from, to) of one kv head of a sequence, which has `context` keys with this step's, those from `visible` on; the last one is this step's own token in the last split. Of `from` on
 * 16 keys lie side by side in the cache. */
struct attention_part {
    int sequence, context, kv_head, split, splits, from, to, visible;
    int own;                  /* where this step's own token lies in the cache, in tokens */
    decode_range merged;      /* pairs of dimensions, of all heads of the group, that the block adds up over the splits */
    const int32_t *table;
};

/* An expert that a block works for in a layer, as its neighbours do. Of one sequence, `choice` and `tiles` are the same in every layer, and the id is ids[0][choice[0]]. */
struct decode_expert {
    decode_range tiles[2];                      /* the block's row tiles of gate_up, and of down; there may be none */
    int id, users, column_bits;                 /* sequences that chose it: at most 1 << column_bits */
    int sequence[SEQUENCES], choice[SEQUENCES]; /* of each user */
    int row;                                    /* where its users' activations lie, or -1 if there is no room for them beside the other expert's */
};
/* A block's row tiles may be one expert's last and the next one's first, if there are more sequences than one. */
enum { EXPERTS_OF_BLOCK = SEQUENCES == 1 ? 1 : 2 };

/* What follows is worked out once a step: 18 warps that each work out where their part lies, at the start of every product, cost a third of a microsecond. */

/* BF16 products. */
enum dense_kind { DENSE_QKV, DENSE_OUT, DENSE_ROUTER, DENSE_HEAD, DENSE_KINDS };
/* Where a product's rows go: words from `place` on, two to a word in BF16 or as they are, or the logits. */
enum dense_target { DENSE_PAIRS, DENSE_WORDS, DENSE_LOGITS };

struct alignas(16) dense_plan {
    decode_range rows;          /* the block's */
    int row_bytes, at_once;     /* rows that share a slot */
    int units, most;            /* slots that it is; how many have room for their sums at a time */
    int stride;                 /* bytes between the vectors of two sequences */
    int place, bias;            /* bias: where its address is in decode_layer, in bytes */
    dense_target target;
};

/* A warp's chunks of a vector, DENSE_FEW of them, or DENSE_CHUNKS: where the first is, in bytes, which way its lanes of the second half turn, and which are its own. */
struct alignas(16) dense_part {
    int offset, turn;
    unsigned live;
    int many;
};

/* A warp's column tiles of an expert product: where they begin in a slot, their scales as well, and in the vector, in bytes, and which are its own. */
struct alignas(16) expert_part {
    int codes, scales, x;
    unsigned live;
};

/* Where a layer's words are, those of the first sequence, and how to know them. */
struct alignas(16) decode_place {
    decode_word *words;
    uint32_t epoch;
};

/* What attention's warps leave for each other. */
struct decode_attention_memory {
    float sums[ATTENTION_WARPS][MAX_GROUP * HEAD_DIM];
    float largest[ATTENTION_WARPS][MAX_GROUP], total[ATTENTION_WARPS][MAX_GROUP];
    bf16 q[MAX_GROUP][Q_STRIDE], k[HEAD_DIM], v[HEAD_DIM]; /* q: a stride that keeps rows apart */
};

/* What the warps of a product leave. */
struct decode_product_memory {
    float sums[TEAM_WARPS][SUMS];
    bf16 bias[SUMS]; /* of an expert's rows */
};

/* Attention's memory is a product's, or, of several sequences, which need more of everything, that of the vectors, which then have to wait for attention's end. */
struct decode_shared {
    uint8_t ring[SLOTS][SLOT_BYTES];
    bf16 x[SEQUENCES][MAX_HIDDEN]; /* residual stream */
    union {
        struct {
            bf16 normed[SEQUENCES][MAX_HIDDEN];
            __half halves[SEQUENCES][MAX_HIDDEN]; /* the same for experts */
        };
        bf16 attn[SEQUENCES][MAX_ATTN];
        __half activations[SEQUENCES][MAX_HIDDEN]; /* of this block's experts */
        uint8_t vectors[SEQUENCES == 1 ? 1 : sizeof(decode_attention_memory)];
    };
    union {
        decode_product_memory product;
        uint8_t behind[SEQUENCES == 1 ? sizeof(decode_attention_memory) : 1];
    };
    decode_args args;
    decode_layer layers[2]; /* of this layer and the next, by turns */
    uint64_t full[SLOTS], empty[SLOTS], routed;
    alignas(16) float squares[SEQUENCES][CONSUMERS + 2];
    dense_plan dense[DENSE_KINDS];
    dense_part dense_parts[2][TEAM_WARPS];   /* of vectors as long as the residual stream, and as attention's result */
    expert_part expert_parts[2][TEAM_WARPS]; /* of gate_up, and of down */
    uint32_t epoch;              /* of the first layer */
    decode_place place;          /* of this layer */
    attention_part parts[OPS_KV_KINDS];
    int tokens[OPS_KV_KINDS][KNOWN_GROUPS]; /* where the first groups of each part lie in the cache, in tokens */
    int ids[SEQUENCES][MAX_TOP_K]; /* of the experts chosen */
    float weights[SEQUENCES][MAX_TOP_K];
    decode_expert experts[EXPERTS_OF_BLOCK];
    int row_tiles[2]; /* of an expert's gate_up, and of its down */
};

static_assert(sizeof(decode_shared) <= 227 * 1024, "what a block of compute capability 9 may have");
/* A warp may put q, k and v there while others still add up the sums of the product before. */
static_assert(SEQUENCES > 1 || offsetof(decode_attention_memory, q) >= offsetof(decode_product_memory, bias), "they lie behind");

/* The block's. A function, so that the compiler sees that it is shared memory wherever it is used. */
__device__ static inline decode_shared &decode_memory(void)
{
    extern __shared__ __align__(1024) uint8_t memory[]; /* boxes of tensor maps want it so */
    return *(decode_shared *)memory;
}

__device__ static inline decode_attention_memory &decode_attention(void)
{
    decode_shared &s = decode_memory();
    return *(decode_attention_memory *)(SEQUENCES == 1 ? s.behind : s.vectors);
}

/* A stage of the kernel: inlined, and there once, in the switch of decode_kernel. */
#define DECODE_STAGE __device__ __forceinline__ static

/* threadIdx.x, so that the compiler cannot know it: what a stage derives from it is then derived anew, instead of being kept for the whole kernel on a
 * stack that has no room in the first-level cache beside so much shared memory. */
__device__ static inline int decode_thread(void)
{
    int thread = (int)threadIdx.x;
    asm volatile("" : "+r"(thread));
    __builtin_assume(thread >= 0 && thread < DECODE_THREADS);
    return thread;
}

__device__ static inline decode_place decode_place_at(decode_place p, int sequence)
{
    if (SEQUENCES > 1) p.words += sequence * decode_memory().args.places.size;
    return p;
}

/* A lane's word of a layer's description; of none: 0. */
__device__ static inline uint64_t decode_ask_layer(int l, int lane)
{
    static_assert(sizeof(decode_layer) % sizeof(uint64_t) == 0 && sizeof(decode_layer) <= 32 * sizeof(uint64_t), "a word a lane");
    const decode_args &a = decode_memory().args;
    return l < a.n_layers && lane < (int)(sizeof(decode_layer) / sizeof(uint64_t)) ? ((const uint64_t *)(a.layers + l))[lane] : 0;
}

__device__ static inline void decode_keep_layer(int l, int lane, uint64_t word)
{
    if (lane < (int)(sizeof(decode_layer) / sizeof(uint64_t))) ((uint64_t *)&decode_memory().layers[l % 2])[lane] = word;
}

/* By a warp when nobody needs the layer before any more: the description of the next one, asked for before, takes its place. */
__device__ static inline void decode_begin_layer(int l, int lane, uint64_t next)
{
    decode_shared &s = decode_memory();
    if (lane == 0) s.place = {s.args.words + (l & 1) * SEQUENCES * s.args.places.size, s.epoch + (uint32_t)l};
    if (l + 1 < s.args.n_layers) decode_keep_layer(l + 1, lane, next);
}

/* How many there are in this step. */
__device__ static inline int decode_sequences(void) { return SEQUENCES == 1 ? 1 : decode_memory().args.sequences; }

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
    int at; /* slot, plus SLOTS in every other turn: one register */
};

/* Past so many units, which this warp need not have read. */
__device__ static inline void decode_skip(decode_cursor &c, int units)
{
    c.at = (int)((unsigned)(c.at + units) % (2 * SLOTS));
}

__device__ static inline int decode_slot(const decode_cursor &c) { return c.at < SLOTS ? c.at : c.at - SLOTS; }

__device__ static inline uint8_t *decode_await(const decode_cursor &c)
{
    decode_shared &s = decode_memory();
    int slot = decode_slot(c);
    ring_wait(&s.full[slot], c.at >= SLOTS);
    return s.ring[slot];
}

/* When all lanes have read the slot: on to the next one of this warp, `step` units further: 1 if all warps read every slot, TEAMS if those of a team do, whose arrivals
 * then count for as many warps each. No parity misleads a warp that skips others' slots: a unit is asked for when the one IN_FLIGHT before is there, so when a unit has
 * come, so have all that lie as far back; and between products all warps meet. */
__device__ static inline void decode_release(decode_cursor &c, int lane, int step)
{
    __syncwarp();
    if (lane == 0) ring_arrive(&decode_memory().empty[decode_slot(c)], step);
    c.at += step;
    if (c.at >= 2 * SLOTS) c.at -= 2 * SLOTS;
}
static_assert((int)TEAMS + (int)IN_FLIGHT <= (int)SLOTS, "else a warp's next slot may be two turns ahead of what it knows");

/* As the stages round what they hand on. */
__device__ static inline float decode_round(float value) { return __bfloat162float(__float2bfloat16(value)); }

#endif
