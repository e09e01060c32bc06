/* What becomes of the sums of the expert products for many rows: internal to cuda_experts_large.cu. */
#ifndef KERNELS_CUDA_CUDA_EXPERTS_WRITE_CUH
#define KERNELS_CUDA_CUDA_EXPERTS_WRITE_CUH

#include "kernels/cuda/cuda_experts.cuh"

/* The bias of rows `row` and `row` + 1, row even. */
__device__ static inline float2 expert_bias(const mxfp4_stack &s, int expert, int row)
{
    return s.bias ? __bfloat1622float2(*(const __nv_bfloat162 *)(s.bias + expert * s.bias_stride + row)) : make_float2(0, 0);
}

/* Columns of a result that so many weight rows make: gate and up, which are neighbours, make one. */
template <expert_product product> __host__ __device__ static constexpr int expert_columns(int rows) { return product == EXPERT_GATE_UP ? rows / 2 : rows; }

/* Where the pair at `position` has what weight rows `row` (even) and the next give. */
template <expert_product product> __device__ static inline bf16 *expert_place(const expert_args &args, int position, int row)
{
    uint32_t index = product == EXPERT_GATE_UP ? position : args.groups.pairs[position], stride = (uint32_t)args.out_stride * sizeof(bf16);
    return (bf16 *)((uint8_t *)(args.out + expert_columns<product>(row)) + (uint64_t)index * stride);
}

/* What these two rows gave: an activation, or two elements of the result. Nothing but the store depends on `wanted`, so that the arithmetic of many calls
 * overlaps. */
template <expert_product product>
__device__ static inline void expert_write(const expert_args &args, bf16 *to, float2 bias, float first, float second, bool wanted)
{
    first += bias.x;
    second += bias.y;
    if (product == EXPERT_GATE_UP) {
        bf16 value = __float2bfloat16(mxfp4_swiglu(first, second, args.alpha, args.limit));
        if (wanted) *to = value;
    } else {
        __nv_bfloat162 value = __floats2bfloat162_rn(first, second);
        if (wanted) *(__nv_bfloat162 *)to = value;
    }
}

#endif
