#include "comm/cuda/exchange_kernels.h"

#include "comm/cuda/element.cuh"

enum { THREADS = 256 };
static const size_t MAX_BLOCKS = 1024;

/* ---- kernels ------------------------------------------------------------------------------------------------------ */

/* A block takes a row at a time. */
__global__ void __launch_bounds__(THREADS) pack_rows(const __grid_constant__ exchange_pack p)
{
    int32_t *ids = (int32_t *)p.choices;
    float *weights = (float *)(ids + (size_t)p.max_rows * (size_t)p.top_k);
    for (size_t row = blockIdx.x; row < (size_t)p.max_rows; row += gridDim.x) {
        bool filled = row < (size_t)p.n_rows;
        for (int k = (int)threadIdx.x; k < p.top_k; k += THREADS) {
            size_t at = row * (size_t)p.top_k + (size_t)k;
            ids[at] = filled ? p.experts[at] : -1;
            weights[at] = filled ? p.weights[at] : 0.0f;
        }
        if (!filled) continue;
        const unsigned char *from = (const unsigned char *)p.rows + row * p.row_bytes;
        unsigned char *to = (unsigned char *)p.packed_rows + row * p.row_bytes;
        for (size_t i = threadIdx.x; i * 8 < p.row_bytes; i += THREADS)
            element_store(to, i, p.row_bytes, element_load(from, i, p.row_bytes));
    }
}

__global__ void __launch_bounds__(THREADS) sift_choices(const __grid_constant__ exchange_sift s)
{
    size_t each = (size_t)s.max_rows * (size_t)s.top_k, all = each * (size_t)s.n_ranks;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < all; i += (size_t)gridDim.x * THREADS) {
        const int32_t *ids = (const int32_t *)s.choices + i / each * 2 * each;
        const float *weights = (const float *)(ids + each);
        int32_t id = ids[i % each];
        bool ours = id >= 0 && id / s.per_rank == s.rank;
        s.experts[i] = ours ? id : -1;
        s.weights[i] = ours ? weights[i % each] : 0.0f;
    }
}

__device__ static bool chose(const exchange_home &h, size_t row, int rank)
{
    for (int k = 0; k < h.top_k; k++) {
        int32_t id = h.experts[row * (size_t)h.top_k + (size_t)k];
        if (id >= 0 && id / h.per_rank == rank) return true;
    }
    return false;
}

/* A block takes a row at a time; the ranks that a row chose are the same for all its threads. */
template <int PER> __global__ void __launch_bounds__(THREADS) sum_rows(const __grid_constant__ exchange_home h)
{
    size_t row_bytes = (size_t)h.row_size * (8 / PER);
    for (size_t row = blockIdx.x; row < (size_t)h.n_rows; row += gridDim.x) {
        for (size_t i = threadIdx.x; i * 8 < row_bytes; i += THREADS) {
            float sum[PER] = {};
            bool first = true;
            for (int r = 0; r < h.n_ranks; r++) {
                if (!chose(h, row, r)) continue;
                float part[PER];
                size_t from = (size_t)r * (size_t)h.max_rows + row;
                element_widen<PER>(element_load((const unsigned char *)h.returned + from * row_bytes, i, row_bytes), part);
#pragma unroll
                for (int e = 0; e < PER; e++) sum[e] = first ? part[e] : sum[e] + part[e];
                first = false;
            }
            element_store((unsigned char *)h.out + row * row_bytes, i, row_bytes, element_narrow<PER>(sum));
        }
    }
}

/* ---- launchers ---------------------------------------------------------------------------------------------------- */

static unsigned blocks_for(size_t wanted) { return (unsigned)(wanted < MAX_BLOCKS ? wanted : MAX_BLOCKS); }

cudaError_t exchange_kernels_pack(const exchange_pack *pack, cudaStream_t stream)
{
    pack_rows<<<blocks_for((size_t)pack->max_rows), THREADS, 0, stream>>>(*pack);
    return cudaGetLastError();
}

cudaError_t exchange_kernels_sift(const exchange_sift *sift, cudaStream_t stream)
{
    size_t choices = (size_t)sift->n_ranks * (size_t)sift->max_rows * (size_t)sift->top_k;
    sift_choices<<<blocks_for((choices + THREADS - 1) / THREADS), THREADS, 0, stream>>>(*sift);
    return cudaGetLastError();
}

cudaError_t exchange_kernels_home(const exchange_home *home, cudaStream_t stream)
{
    if (home->n_rows == 0) return cudaSuccess;
    unsigned blocks = blocks_for((size_t)home->n_rows);
    if (home->bf16)
        sum_rows<4><<<blocks, THREADS, 0, stream>>>(*home);
    else
        sum_rows<2><<<blocks, THREADS, 0, stream>>>(*home);
    return cudaGetLastError();
}
