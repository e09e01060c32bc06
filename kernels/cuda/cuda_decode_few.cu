/* The decode kernel for up to MAX_SEQUENCES sequences. */
#define DECODE_SEQUENCES MAX_SEQUENCES
#include "kernels/cuda/cuda_decode_kernel.cuh"

decode_variant cuda_decode_few(void) { return decode_kernel_variant(); }
