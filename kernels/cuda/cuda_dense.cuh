/* The ways of a dense product; internal to cuda_dense*.cu. */
#ifndef KERNELS_CUDA_CUDA_DENSE_CUH
#define KERNELS_CUDA_CUDA_DENSE_CUH

#include <stdint.h>

#include "kernels/cuda/cuda.h"

/* Up to 16 rows at the speed of memory, as cuda_dense says; bias may be NULL. `serves`: whether this GPU, shape and alignment suit. */
bool dense_stream_serves(const ops_context *c, int n, const ops_weight *w);
void dense_stream_launch(ops_context *c, int n, const bf16 *rows, const ops_weight *w, const bf16 *bias, void *out, int64_t out_stride, dtype type);

#endif
