/* Copies weights from host memory, usually a mapped file, to the device: several threads, each with page-locked
 * buffers, a stream and scratch memory of its own, so that reading, copying and repacking overlap. Threads live from
 * the first cuda_loader_add to cuda_loader_finish. */
#ifndef KERNELS_CUDA_CUDA_LOADER_CUH
#define KERNELS_CUDA_CUDA_LOADER_CUH

#include "kernels/cuda/cuda_tiles.cuh"

/* One tensor. The view's memory must live until cuda_loader_finish. */
typedef struct cuda_loader_job {
    ops_weight view;
    uint8_t *out;     /* BF16: device rows, tightly packed */
    cuda_tiles tiles; /* MXFP4 */
} cuda_loader_job;

status cuda_loader_add(ops_context *c, const cuda_loader_job *job, status_detail *detail);
/* Waits for all that was added, ends the threads and gives their memory back. The first failure of any thread;
 * STATUS_MODEL for bytes that cannot be read and for scales that the tiles cannot hold. */
status cuda_loader_finish(ops_context *c, status_detail *detail);

#endif
