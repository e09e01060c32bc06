/* The expert stage's two products, for few and for many rows per expert; internal to cuda_experts*.cu. */
#ifndef KERNELS_CUDA_CUDA_EXPERTS_CUH
#define KERNELS_CUDA_CUDA_EXPERTS_CUH

#include "kernels/cuda/cuda_mxfp4.cuh"

/* (row, choice) pairs that go to local experts, sorted by expert, and cut into items of at most `tile` pairs of one expert. A pair is
 * row * top_k + choice; its place in the sorted order is its position. Device arrays. */
typedef struct expert_groups {
    int *pairs;        /* [positions] pair at each position */
    int *item_expert;  /* [items] local expert */
    int *item_start;   /* [items] first position */
    int *item_count;   /* [items] pairs, 1..tile */
    int *n_items;      /* [1] */
} expert_groups;

typedef enum expert_product { EXPERT_GATE_UP, EXPERT_DOWN } expert_product;

typedef struct expert_args {
    mxfp4_stack stack;
    expert_groups groups;
    const bf16 *rows;  /* gate_up: [n_rows, in_stride] indexed by pair / top_k; down: [positions, in_stride] */
    bf16 *out;         /* gate_up: activations [positions, out_stride]; down: [pairs, out_stride] */
    int in_stride, out_stride; /* elements */
    int cols;          /* valid elements of a row; the rest of the last column tile counts as zero */
    int top_k;
    float alpha, limit;
} expert_args;

/* Items of at most 8 pairs: bound by reading the weights. */
enum { EXPERT_SMALL_TILE = 8 };
void expert_small_launch(cudaStream_t stream, expert_product product, const expert_args *args, int max_items);
/* Items of at most `tile` pairs (32, 64 or 128): bound by the tensor cores. */
void expert_large_launch(cudaStream_t stream, expert_product product, const expert_args *args, int tile, int max_items);
/* Lets the large kernels have their shared memory; once per device. */
cudaError_t expert_large_prepare(void);

#endif
