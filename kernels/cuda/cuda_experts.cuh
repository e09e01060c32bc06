/* The expert stage's two products, for few and for many rows per expert; internal to cuda_experts*.cu. */
#ifndef KERNELS_CUDA_CUDA_EXPERTS_CUH
#define KERNELS_CUDA_CUDA_EXPERTS_CUH

#include <cuda_fp16.h>

#include "kernels/cuda/cuda_mxfp4.cuh"

/* (row, choice) pairs that go to local experts, sorted by expert, and cut into items of at most `tile` pairs of one expert. A pair is
 * row * top_k + choice; its place in the sorted order is its position. Device arrays. */
typedef struct expert_groups {
    int *pairs;    /* [positions] pair at each position */
    int4 *items;   /* [items] x: local expert, y: first position, z: pairs, 1..tile */
    int *n_items;  /* [1] */
} expert_groups;

typedef enum expert_product { EXPERT_GATE_UP, EXPERT_DOWN } expert_product;

typedef struct expert_args {
    mxfp4_stack stack;
    expert_groups groups;
    const bf16 *rows;  /* gate_up: [n_rows, in_stride] indexed by pair / top_k; down: [positions, in_stride]. FP16 for the small kernels */
    bf16 *out;         /* gate_up: activations [positions, out_stride], FP16 from the small kernels; down: [pairs, out_stride] BF16 */
    int in_stride, out_stride; /* elements */
    int cols;          /* valid elements of a row; the rest of the last column tile counts as zero */
    int top_k;
    float alpha, limit;
} expert_args;

/* Finishes and writes the matrix rows `row` and `row` + 1 of one pair, from sums over FP16 fragments. */
template <expert_product product>
__device__ static inline void expert_write_two(const expert_args &args, int position, int row, __nv_bfloat162 bias, float first, float second)
{
    first = first * MXFP4_HALF_UNSCALE + __low2float(bias);
    second = second * MXFP4_HALF_UNSCALE + __high2float(bias);
    if (product == EXPERT_GATE_UP)
        ((half *)args.out)[(int64_t)position * args.out_stride + row / 2] = __float2half_rn(mxfp4_swiglu(first, second, args.alpha, args.limit));
    else
        *(__nv_bfloat162 *)(args.out + (int64_t)args.groups.pairs[position] * args.out_stride + row) = __floats2bfloat162_rn(first, second);
}

/* Items of at most `tile` pairs (8 or 16), at the speed of memory, where it serves. */
bool expert_stream_serves(const ops_context *c, const expert_args *args, int tile);
void expert_stream_launch(ops_context *c, expert_product product, const expert_args *args, int tile);
/* Items of at most `tile` pairs (8 or 16): bound by reading the weights. */
void expert_small_launch(ops_context *c, expert_product product, const expert_args *args, int tile, int max_items);
/* Items of at most `tile` pairs (64 or 128): bound by the tensor cores. */
void expert_large_launch(ops_context *c, expert_product product, const expert_args *args, int tile, int max_items);
/* Lets the large kernels have their shared memory; once per device. */
cudaError_t expert_large_prepare(ops_context *c);

#endif
