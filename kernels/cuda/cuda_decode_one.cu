/* The decode kernel for one sequence. */
#define DECODE_SEQUENCES 1
#include "kernels/cuda/cuda_decode_kernel.cuh"

decode_variant cuda_decode_one(void) { return decode_kernel_variant(); }
