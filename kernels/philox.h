/* Philox4x32-10, a counter-based random generator: four words per (counter, key), no state, the same on every backend.
 * Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3.
 */
#ifndef KERNELS_PHILOX_H
#define KERNELS_PHILOX_H

#include <stdint.h>

#ifdef __CUDACC__
#define PHILOX_INLINE static __host__ __device__ __forceinline__
#else
#define PHILOX_INLINE static inline
#endif

typedef struct philox_block {
    uint32_t word[4];
} philox_block;

PHILOX_INLINE philox_block philox(philox_block counter, uint64_t key)
{
    uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32), *w = counter.word;
    for (int round = 0; round < 10; round++) {
        uint64_t first = (uint64_t)0xD2511F53u * w[0], second = (uint64_t)0xCD9E8D57u * w[2];
        uint32_t odd = w[1], last = w[3];
        w[0] = (uint32_t)(second >> 32) ^ odd ^ low;
        w[1] = (uint32_t)second;
        w[2] = (uint32_t)(first >> 32) ^ last ^ high;
        w[3] = (uint32_t)first;
        low += 0x9E3779B9u;
        high += 0xBB67AE85u;
    }
    return counter;
}

#endif
