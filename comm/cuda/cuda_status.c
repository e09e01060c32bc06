#include "comm/cuda/cuda_status.h"

status cuda_status(cudaError_t code, const char *what, status_detail *detail)
{
    if (code == cudaSuccess) return STATUS_OK;
    return status_fail(detail, STATUS_MACHINE, "%s: CUDA says %s: %s; see nvidia-smi", what, cudaGetErrorName(code),
                       cudaGetErrorString(code));
}
