/* A ring of buffers in shared memory that bulk copies fill and warps empty (PTX ISA, cp.async.bulk and mbarrier). Copies need no registers and no
 * warps while they are under way, so a block can have as many bytes in flight as it has shared memory. Compute capability 9 and later; on
 * earlier ones these do nothing, and the kernels built on them are not launched.
 *
 * Stage k is filled for the i-th time (from 0) once its readers have arrived at empty[k] for the i-th time, and read once full[k] has
 * completed phase i. */
#ifndef KERNELS_CUDA_CUDA_RING_CUH
#define KERNELS_CUDA_CUDA_RING_CUH

#include <cuda.h>

#include "kernels/cuda/cuda.h"

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define RING_ASM(...) asm volatile(__VA_ARGS__)
#else
#define RING_ASM(...) (void)0
#endif

__device__ static inline uint32_t ring_address(const void *shared) { return (uint32_t)__cvta_generic_to_shared(shared); }

/* `arrivals`: how many complete a phase. One thread sets up all barriers, then calls ring_barriers_ready, then the block synchronises. */
__device__ static inline void ring_barrier_begin(uint64_t *barrier, int arrivals)
{
    RING_ASM("mbarrier.init.shared.b64 [%0], %1;" ::"r"(ring_address(barrier)), "r"(arrivals) : "memory");
}
__device__ static inline void ring_barriers_ready(void) { RING_ASM("fence.mbarrier_init.release.cluster;" ::: "memory"); }

__device__ static inline void ring_arrive(uint64_t *barrier, int times = 1)
{
    RING_ASM("mbarrier.arrive.shared.b64 _, [%0], %1;" ::"r"(ring_address(barrier)), "r"(times) : "memory");
}

/* Arrives, and makes the phase wait for so many bytes of copies. */
__device__ static inline void ring_expect(uint64_t *barrier, uint32_t bytes)
{
    RING_ASM("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(ring_address(barrier)), "r"(bytes) : "memory");
}

/* Until phase number `phase` (from 0) is complete. */
__device__ static inline void ring_wait(uint64_t *barrier, int phase)
{
    uint32_t done = 0;
    while (!done) {
        RING_ASM("{\n .reg .pred p;\n mbarrier.try_wait.parity.shared.b64 p, [%1], %2;\n selp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(ring_address(barrier)), "r"(phase & 1)
                 : "memory");
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
        done = 1;
#endif
    }
}

/* Says that data is read once: it is the first to leave the cache. */
__device__ static inline uint64_t ring_read_once(void)
{
    uint64_t policy = 0;
    RING_ASM("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

/* 16-byte aligned, a multiple of 16 bytes; counts against what `full` expects. */
__device__ static inline void ring_copy(void *to, const void *from, uint32_t bytes, uint64_t *full, uint64_t policy)
{
    RING_ASM("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(ring_address(to)), "l"(from),
             "r"(bytes), "r"(ring_address(full)), "l"(policy)
             : "memory");
}

/* The box of a tensor of three dimensions that begins at (x, y, z), as `map`, in global memory, describes it. */
__device__ static inline void ring_copy_box(void *to, const CUtensorMap *map, int x, int y, int z, uint64_t *full, uint64_t policy)
{
    RING_ASM("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(ring_address(to)),
             "l"(map), "r"(x), "r"(y), "r"(z), "r"(ring_address(full)), "l"(policy)
             : "memory");
}

/* Between what threads' own stores and copies do to shared memory, this thread's or others' that it knows of through a barrier, and what bulk copies and matrix units do
 * afterwards, which go another way (proxy): orders the two. */
__device__ static inline void ring_fence(void) { RING_ASM("fence.proxy.async.shared::cta;" ::: "memory"); }

/* Until all that this thread copied by itself (cp.async) has landed. */
__device__ static inline void copy_async_wait(void) { asm volatile("cp.async.wait_all;" ::: "memory"); }

#endif
