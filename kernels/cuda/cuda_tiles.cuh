/* MXFP4 rows into the tiles of cuda_mxfp4.cuh. A stack [batches, rows, cols] counts as batches * rows rows: as rows is
 * a multiple of a tile's, tiles never straddle matrices. */
#ifndef KERNELS_CUDA_CUDA_TILES_CUH
#define KERNELS_CUDA_CUDA_TILES_CUH

#include "kernels/cuda/cuda_mxfp4.cuh"

typedef struct cuda_tiles {
    uint4 *tiles; /* device, as mxfp4_stack */
    uint32_t *scales;
    int cols; /* a multiple of 32; the rest of the last tile gets zeros */
} cuda_tiles;

/* What a stack of so many rows takes. */
size_t cuda_tiles_bytes(int64_t rows, int64_t cols);
size_t cuda_tiles_scale_bytes(int64_t rows, int64_t cols);

/* Writes rows [first, first + n), multiples of 16, from device memory: codes [n, cols / 2] and scales [n, cols / 32] as
 * in a checkpoint. The smallest `tag` + row whose scale exceeds MXFP4_MAX_SCALE ends in *bad (device), which starts as
 * all ones. */
void cuda_tiles_repack(cudaStream_t stream, const cuda_tiles *out, int64_t first, int64_t n, const uint8_t *codes,
                       const uint8_t *scales, uint64_t tag, unsigned long long *bad);
/* Random rows [0, n): the values that the CPU backend makes of the same seed. */
void cuda_tiles_random(cudaStream_t stream, const cuda_tiles *out, int64_t n, uint64_t seed);

#endif
