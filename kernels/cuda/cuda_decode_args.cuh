/* What the host gives the decode kernel, and the limits of what it serves: internal to cuda_decode*. Read cuda_decode_kernel.cuh first. */
#ifndef KERNELS_CUDA_CUDA_DECODE_ARGS_CUH
#define KERNELS_CUDA_CUDA_DECODE_ARGS_CUH

#include "kernels/cuda/cuda_mxfp4.cuh"
#include "kernels/cuda/cuda_ring.cuh"

/* Warps of a block: consumers, which are all its workers, and one that produces. In products the consumers are teams, which take the slots by turns: while one waits for
 * its slot, or begins or ends with it, the other one has work. A warp of a team has the same part of the columns of every slot, CUT_TILES column tiles of an expert. */
enum { TEAMS = 2, TEAM_WARPS = 9, CUT_TILES = 5, CONSUMERS = TEAMS * TEAM_WARPS, WORKER_THREADS = 32 * CONSUMERS, DECODE_THREADS = WORKER_THREADS + 32 };
/* Sums of matrix rows that a block keeps, of one sequence. */
enum { MAX_SUMS = 384 };
/* Sequences of a step that the larger of the two kernels takes. */
enum { MAX_SEQUENCES = 4 };
/* Of what the kernel serves. */
enum { HEAD_DIM = 64, MAX_GROUP = 8, MAX_HIDDEN = TEAM_WARPS * CUT_TILES * MXFP4_TILE_COLS, MAX_ATTN = 4096, MAX_TOP_K = 4, MAX_ROUTED = 128, MAX_SPLITS = 16 };
/* A slot of the ring holds a unit: an expert's row tile, a few rows of a BF16 matrix, or keys and values. */
enum { SLOT_BYTES = 24576 };
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
    int qkv, partial, attn, delta, logits, activations, returned, combined, size;
} decode_places;

typedef struct decode_args {
    const decode_layer *layers;
    const CUtensorMap *maps; /* [n_layers, 2] of keys and of values: boxes of GROUP_KEYS tokens of a head */
    const bf16 *embedding, *final_norm, *head;
    decode_word *words;  /* [2, MAX_SEQUENCES, places.size] */
    decode_places places;
    const int32_t *serial; /* of the step: no two steps in flight or in sequence have the same */
    const int32_t *token_ids, *slots, *slot_last, *contexts, *tables[OPS_KV_KINDS]; /* as in cuda_batch, a row a sequence */
    const float *cosine, *sine;
    float *logits; /* [sequences, vocab] */
    int windows[OPS_KV_KINDS]; /* keys visible, 0: all */
    int sequences, table_stride, n_layers, hidden, q_heads, kv_heads, group, n_experts, top_k, intermediate, vocab, block_tokens, max_splits;
    float eps, scale, alpha, limit, per_element; /* per_element: 1 / hidden */
} decode_args;

/* The kernel for up to so many sequences, started with DECODE_THREADS a block. */
typedef struct decode_variant {
    void (*kernel)(decode_args);
    size_t shared_bytes; /* of a block */
} decode_variant;

decode_variant cuda_decode_one(void); /* 1 */
decode_variant cuda_decode_few(void); /* MAX_SEQUENCES */

#endif
