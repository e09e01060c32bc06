/* How the consumer warps of a block share a product of the decode kernel: a slot is a team's, a warp of which has the same part of the columns of every slot, and
 * leaves what that comes to for each row; when the block's rows are through, a thread adds up a row. */
#ifndef KERNELS_CUDA_CUDA_DECODE_SUMS_CUH
#define KERNELS_CUDA_CUDA_DECODE_SUMS_CUH

#include "kernels/cuda/cuda_decode_words.cuh"

static_assert((int)TEAMS == 2, "a comparison says which");
__device__ static inline int sums_team(int warp) { return warp >= TEAM_WARPS; }
__device__ static inline int sums_member(int warp) { return warp - sums_team(warp) * TEAM_WARPS; }

/* After decode_sync_workers(). */
__device__ static inline float sums_of(int row)
{
    const decode_shared &s = decode_memory();
    float sum = 0;
#pragma unroll
    for (int warp = 0; warp < TEAM_WARPS; warp++) sum += s.product.sums[warp][row];
    return sum;
}

/* Asks for a bias, or not. Written so that the compiler does not look at it before it is needed, a trip to memory later. */
__device__ static inline unsigned short sums_ask_bias(const bf16 *bias, bool has)
{
    unsigned short value;
    asm volatile("{\n .reg .pred p;\n setp.ne.s32 p, %2, 0;\n mov.u16 %0, 0;\n @p ld.global.nc.u16 %0, [%1];\n}" : "=h"(value) : "l"(bias), "r"((int)has));
    return value;
}
__device__ static inline float sums_bias(unsigned short value) { return __uint_as_float((uint32_t)value << 16); }

#endif
