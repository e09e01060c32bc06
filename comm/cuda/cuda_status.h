/* From CUDA's return codes to ours. */
#ifndef COMM_CUDA_CUDA_STATUS_H
#define COMM_CUDA_CUDA_STATUS_H

#include <cuda_runtime_api.h>

#include "runtime/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* STATUS_OK for cudaSuccess; otherwise STATUS_MACHINE with "what: CUDA's name and text". */
status cuda_status(cudaError_t code, const char *what, status_detail *detail);

#ifdef __cplusplus
}
#endif

#endif
