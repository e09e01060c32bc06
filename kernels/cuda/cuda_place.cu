/* Weights on the device. BF16: rows tightly packed, and weights that are placed together side by side without a gap, so
 * that a stage may take them as one. MXFP4: the tiles of cuda_mxfp4.cuh. */
#include "kernels/cuda/cuda_loader.cuh"
#include "kernels/cuda/cuda_random.cuh"

enum { MAX_TOGETHER = 8, RANDOM_THREADS = 256, RANDOM_BLOCKS_PER_SM = 16 };

__global__ void __launch_bounds__(RANDOM_THREADS)
    random_kernel(bf16 *out, int64_t count, uint64_t seed, float mean, float deviation)
{
    int64_t step = (int64_t)gridDim.x * RANDOM_THREADS;
    for (int64_t i = (int64_t)blockIdx.x * RANDOM_THREADS + threadIdx.x; i < count; i += step)
        out[i] = __float2bfloat16(mean + deviation * cuda_random_normal(cuda_random_at(seed, i)));
}

static int64_t elements(const ops_weight *w) { return w->batches * w->rows * w->cols; }

static status place_bf16(ops_context *c, ops_weight *w, uint8_t *out, uint64_t seed, status_detail *detail)
{
    ops_weight view = *w;
    w->data = out;
    w->row_stride = w->cols * (int64_t)sizeof(bf16);
    w->batch_stride = w->rows * w->row_stride;
    if (view.data) {
        cuda_loader_job job = {.view = view, .out = out, .tiles = {}};
        return cuda_loader_add(c, &job, detail);
    }
    unsigned blocks = (unsigned)(c->sm_count * RANDOM_BLOCKS_PER_SM);
    random_kernel<<<blocks, RANDOM_THREADS, 0, c->stream>>>((bf16 *)out, elements(w), seed, w->mean, w->deviation);
    cuda_check(c, cudaGetLastError(), "random weights");
    return STATUS_OK;
}

static status place_mxfp4(ops_context *c, ops_weight *w, uint64_t seed, status_detail *detail)
{
    ops_weight view = *w;
    int64_t rows = w->batches * w->rows;
    cuda_tiles tiles = {};
    if (w->rows % MXFP4_TILE_ROWS || w->cols % 32)
        return status_fail(detail, STATUS_MODEL,
                           "experts of %lld rows and %lld columns do not fit the CUDA backend: rows must be a multiple "
                           "of %d; use backend: cpu",
                           (long long)w->rows, (long long)w->cols, MXFP4_TILE_ROWS);
    tiles.cols = (int)w->cols;
    STATUS_TRY(cuda_allocate(c, cuda_tiles_bytes(rows, w->cols), (void **)&tiles.tiles, detail));
    STATUS_TRY(cuda_allocate(c, cuda_tiles_scale_bytes(rows, w->cols), (void **)&tiles.scales, detail));
    w->data = tiles.tiles;
    w->scales = (const uint8_t *)tiles.scales;
    w->row_stride = w->batch_stride = w->scale_row_stride = w->scale_batch_stride =
        0; /* tiles have no rows to step over */
    if (view.data) {
        cuda_loader_job job = {.view = view, .out = NULL, .tiles = tiles};
        return cuda_loader_add(c, &job, detail);
    }
    cuda_tiles_random(c->stream, &tiles, rows, seed);
    cuda_check(c, cudaGetLastError(), "random weights");
    return STATUS_OK;
}

status cuda_place(ops_context *c, const ops_weight *host, int n, uint64_t seed, ops_weight *placed,
                  status_detail *detail)
{
    ops_weight out[MAX_TOGETHER];
    uint8_t *together = NULL;
    size_t bytes = 0;
    if (n > MAX_TOGETHER)
        return status_fail(detail, STATUS_INTERNAL, "%d weights are placed together; the CUDA backend takes %d", n,
                           MAX_TOGETHER);
    cuda_check(c, cudaSetDevice(c->device), "placing weights");
    for (int i = 0; i < n; i++) {
        out[i] = host[i];
        if (host[i].format == OPS_BF16) bytes += (size_t)elements(&host[i]) * sizeof(bf16);
    }
    if (bytes) STATUS_TRY(cuda_allocate(c, bytes, (void **)&together, detail));
    for (int i = 0; i < n; i++) {
        uint64_t own = seed * 8 + (uint64_t)i;
        if (elements(&out[i]) == 0) continue; /* absent */
        if (out[i].format == OPS_MXFP4) {
            STATUS_TRY(place_mxfp4(c, &out[i], own, detail));
        } else {
            STATUS_TRY(place_bf16(c, &out[i], together, own, detail));
            together += (size_t)elements(&out[i]) * sizeof(bf16);
        }
    }
    memcpy(placed, out, (size_t)n * sizeof *out);
    return STATUS_OK;
}

status cuda_place_end(ops_context *c, status_detail *detail)
{
    cuda_check(c, cudaSetDevice(c->device), "placing weights");
    STATUS_TRY(cuda_loader_finish(c, detail));
    cuda_check(c, cudaStreamSynchronize(c->stream), "placing weights");
    return cuda_report(c, detail);
}
