/* Random weights that any thread can make: element i of a tensor is a function of (seed, i). The same numbers as
 * kernels/cpu/cpu_weights.c. */
#ifndef KERNELS_CUDA_CUDA_RANDOM_CUH
#define KERNELS_CUDA_CUDA_RANDOM_CUH

#include <stdint.h>

/* splitmix64's output function. */
__device__ static inline uint64_t cuda_random_mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

__device__ static inline uint64_t cuda_random_at(uint64_t seed, int64_t index)
{
    return cuda_random_mix(seed * 0x100000001b3u + (uint64_t)index);
}

/* About normal with deviation 1: the sum of four 16-bit uniforms, centred. */
__device__ static inline float cuda_random_normal(uint64_t bits)
{
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += (float)((bits >> (16 * i)) & 0xffffu) / 65536.0f;
    return (sum - 2.0f) * 1.7320508f;
}

#endif
