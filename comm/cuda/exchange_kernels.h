/* What runs on the GPU for the expert exchange: rows into place, choices sifted, sums on the way home. */
#ifndef COMM_CUDA_EXCHANGE_KERNELS_H
#define COMM_CUDA_EXCHANGE_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What one rank tells about its rows: int32 id[max_rows, top_k], then float weight[max_rows, top_k]. */
typedef struct exchange_pack {
    int n_rows, max_rows, top_k;
    size_t row_bytes;
    const void *rows;        /* [n_rows] of row_bytes */
    const int32_t *experts;  /* [n_rows, top_k] */
    const float *weights;    /* [n_rows, top_k] */
    void *packed_rows;       /* [max_rows] of row_bytes; those past n_rows keep what they hold */
    void *choices;           /* as above; ids past n_rows become -1 */
} exchange_pack;

typedef struct exchange_sift {
    int n_ranks, rank, max_rows, top_k, per_rank; /* experts of one rank */
    const void *choices;     /* [n_ranks] of one rank's choices */
    int32_t *experts;        /* [n_ranks * max_rows, top_k] -1: not this rank's */
    float *weights;          /* the same; 0 where experts is -1 */
} exchange_sift;

typedef struct exchange_home {
    int n_ranks, n_rows, max_rows, top_k, per_rank, row_size;
    bool bf16;               /* else F32 */
    const int32_t *experts;  /* [n_rows, top_k] what the rows chose */
    const void *returned;    /* [n_ranks, max_rows, row_size] rank r's sum for each row, read only where it has an expert */
    void *out;               /* [n_rows, row_size] */
} exchange_home;

cudaError_t exchange_kernels_pack(const exchange_pack *pack, cudaStream_t stream);
cudaError_t exchange_kernels_sift(const exchange_sift *sift, cudaStream_t stream);
/* In rank order in F32, rounded once; a row without an expert becomes 0. */
cudaError_t exchange_kernels_home(const exchange_home *home, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
