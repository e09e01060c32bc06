/* Products of BF16 rows with BF16 matrices. Up to 16 rows: cuda_dense_stream.cu, where it serves. Otherwise up to 4 rows
 * a plain kernel, and cuBLASLt for more. */
#include "kernels/cuda/cuda_dense.cuh"

enum { FEW_ROWS = 4, WARPS = 8, CHUNK = 8 }; /* CHUNK: BF16 values of one 16-byte load */
enum { MAX_PLANS = 512, WORKSPACE = 32 << 20 };

/* A cuBLASLt plan for one shape: found once, when the shape is first seen (before graphs are captured, by the warm-up). */
typedef struct dense_plan {
    int n;
    int64_t rows, cols, weight_stride, out_stride;
    bool bias;
    dtype type;
    uint32_t weight_alignment, input_alignment, output_alignment; /* bytes, see alignment_of */
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t weight, input, output;
    cublasLtMatmulAlgo_t algorithm;
} dense_plan;

struct cuda_dense_state {
    void *workspace;
    dense_plan plans[MAX_PLANS];
    int n_plans;
};

status cuda_dense_configure(ops_context *c, status_detail *detail)
{
    STATUS_TRY(cuda_host_allocate(c, sizeof *c->dense, (void **)&c->dense, detail));
    return cuda_allocate(c, WORKSPACE, &c->dense->workspace, detail);
}

/* ---- few rows ---------------------------------------------------------------------------------------------------- */

__device__ static float dot_chunk(uint4 w, uint4 x, float sum)
{
    const __nv_bfloat162 *a = (const __nv_bfloat162 *)&w, *b = (const __nv_bfloat162 *)&x;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 p = __bfloat1622float2(a[i]), q = __bfloat1622float2(b[i]);
        sum = fmaf(p.x, q.x, fmaf(p.y, q.y, sum));
    }
    return sum;
}

__device__ static void store(void *out, int64_t at, float value, bool wide)
{
    if (wide)
        ((float *)out)[at] = value;
    else
        ((bf16 *)out)[at] = __float2bfloat16(value);
}

/* The chunks base, base + 32, ... of a matrix row. */
template <int BATCH> __device__ static void load_chunks(uint4 out[BATCH], const uint4 *row, int base, int chunks)
{
#pragma unroll
    for (int i = 0; i < BATCH; i++)
        if (base + 32 * i < chunks) out[i] = __ldcs(row + base + 32 * i);
}

/* A warp per matrix row, with BATCH chunks a lane in flight, the first of them before the kernel before this one is done. cols is a multiple of CHUNK. */
template <int N, int BATCH>
__global__ void __launch_bounds__(32 * WARPS) few_rows_kernel(const bf16 *rows, const bf16 *w, int64_t w_stride, const bf16 *bias, int w_rows, int cols, void *out,
                                                              int64_t out_stride, bool wide)
{
    int lane = threadIdx.x % 32, row = blockIdx.x * WARPS + threadIdx.x / 32, chunks = cols / CHUNK;
    const uint4 *matrix = (const uint4 *)(w + (int64_t)min(row, w_rows - 1) * w_stride);
    uint4 weights[BATCH];
    load_chunks<BATCH>(weights, matrix, lane, chunks);
    float add = bias ? __bfloat162float(bias[min(row, w_rows - 1)]) : 0;
    cuda_wait_for_previous();
    cuda_let_next_start();
    if (row >= w_rows) return;
    float sums[N] = {};
    for (int base = lane; base < chunks; base += 32 * BATCH) {
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            if (base + 32 * i >= chunks) break;
#pragma unroll
            for (int n = 0; n < N; n++) sums[n] = dot_chunk(weights[i], *((const uint4 *)(rows + (int64_t)n * cols) + base + 32 * i), sums[n]);
        }
        load_chunks<BATCH>(weights, matrix, base + 32 * BATCH, chunks);
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        for (int step = 16; step; step /= 2) sums[n] += __shfl_xor_sync(~0u, sums[n], step);
        if (lane == 0) store(out, n * out_stride + row, sums[n] + add, wide);
    }
}

template <int N> static void launch_few(ops_context *c, const bf16 *rows, const ops_weight *w, const bf16 *bias, void *out, int64_t out_stride, dtype type)
{
    enum { SHORT = 12, LONG = 16 }; /* chunks a lane: rows of up to 3072 columns are in flight as a whole, or of 4096 */
    auto kernel = w->cols <= 32 * CHUNK * SHORT ? few_rows_kernel<N, SHORT> : few_rows_kernel<N, LONG>;
    cuda_launch(c, "dense product", kernel, dim3((unsigned)((w->rows + WARPS - 1) / WARPS)), dim3(32 * WARPS), 0, rows, (const bf16 *)w->data, w->row_stride / 2, bias,
                (int)w->rows, (int)w->cols, out, out_stride, type == DTYPE_F32);
}

/* ---- many rows ---------------------------------------------------------------------------------------------------- */

/* Up to 16 bytes, the widest access that kernels make. Rows may start anywhere in a batch, and a rank's share of the logits at any float, while
 * cuBLASLt takes all operands to be aligned to 256 bytes unless told. */
static uint32_t alignment_of(const void *start)
{
    uintptr_t bits = (uintptr_t)start | 16;
    return (uint32_t)(bits & -bits);
}

static cublasStatus_t prefer(cublasLtMatmulPreference_t preference, const dense_plan *p)
{
    size_t workspace = WORKSPACE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        uint32_t bytes;
    } alignments[] = {{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, p->weight_alignment},
                      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, p->input_alignment},
                      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, p->output_alignment},
                      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, p->output_alignment}};
    cublasStatus_t s = cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    for (size_t i = 0; i < sizeof alignments / sizeof *alignments && s == CUBLAS_STATUS_SUCCESS; i++)
        s = cublasLtMatmulPreferenceSetAttribute(preference, alignments[i].attribute, &alignments[i].bytes, sizeof alignments[i].bytes);
    return s;
}

/* Column-major as cuBLASLt sees it: out [rows, n] = W^T [rows, cols] * input [cols, n]. */
static cublasStatus_t make_plan(ops_context *c, dense_plan *p)
{
    cublasOperation_t transpose = CUBLAS_OP_T;
    cudaDataType_t out = p->type == DTYPE_F32 ? CUDA_R_32F : CUDA_R_16BF;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    cublasStatus_t s = cublasLtMatmulDescCreate(&p->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (s == CUBLAS_STATUS_SUCCESS) s = cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof transpose);
    if (s == CUBLAS_STATUS_SUCCESS && p->bias) {
        cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
        cudaDataType_t bias = CUDA_R_16BF;
        s = cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
        if (s == CUBLAS_STATUS_SUCCESS) s = cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias, sizeof bias);
    }
    if (s == CUBLAS_STATUS_SUCCESS) s = cublasLtMatrixLayoutCreate(&p->weight, CUDA_R_16BF, (uint64_t)p->cols, (uint64_t)p->rows, p->weight_stride);
    if (s == CUBLAS_STATUS_SUCCESS) s = cublasLtMatrixLayoutCreate(&p->input, CUDA_R_16BF, (uint64_t)p->cols, (uint64_t)p->n, p->cols);
    if (s == CUBLAS_STATUS_SUCCESS) s = cublasLtMatrixLayoutCreate(&p->output, out, (uint64_t)p->rows, (uint64_t)p->n, p->out_stride);
    if (s == CUBLAS_STATUS_SUCCESS) s = cublasLtMatmulPreferenceCreate(&preference);
    if (s == CUBLAS_STATUS_SUCCESS) s = prefer(preference, p);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulAlgoGetHeuristic(c->lt, p->operation, p->weight, p->input, p->output, p->output, preference, 1, &found, &count);
    if (preference) cublasLtMatmulPreferenceDestroy(preference);
    if (s == CUBLAS_STATUS_SUCCESS && count == 0) s = CUBLAS_STATUS_NOT_SUPPORTED;
    if (s == CUBLAS_STATUS_SUCCESS) p->algorithm = found.algo;
    return s;
}

static void free_plan(dense_plan *p)
{
    if (p->operation) cublasLtMatmulDescDestroy(p->operation);
    if (p->weight) cublasLtMatrixLayoutDestroy(p->weight);
    if (p->input) cublasLtMatrixLayoutDestroy(p->input);
    if (p->output) cublasLtMatrixLayoutDestroy(p->output);
    *p = (dense_plan){};
}

static dense_plan *find_plan(ops_context *c, const dense_plan *wanted)
{
    cuda_dense_state *d = c->dense;
    for (int i = 0; i < d->n_plans; i++) {
        dense_plan *p = &d->plans[i];
        if (p->n == wanted->n && p->rows == wanted->rows && p->cols == wanted->cols && p->weight_stride == wanted->weight_stride &&
            p->out_stride == wanted->out_stride && p->bias == wanted->bias && p->type == wanted->type && p->weight_alignment == wanted->weight_alignment &&
            p->input_alignment == wanted->input_alignment && p->output_alignment == wanted->output_alignment)
            return p;
    }
    /* prompt chunks come in any size: once the table is full, its oldest plans make room, one after the other */
    dense_plan *p = &d->plans[d->n_plans < MAX_PLANS ? d->n_plans++ : wanted->n % MAX_PLANS];
    free_plan(p);
    *p = *wanted;
    if (make_plan(c, p) != CUBLAS_STATUS_SUCCESS) {
        p->n = -1; /* never matches again */
        return NULL;
    }
    return p;
}

void cuda_dense_close(ops_context *c)
{
    for (int i = 0; c->dense && i < c->dense->n_plans; i++) free_plan(&c->dense->plans[i]);
}

static void run_many(ops_context *c, int n, const bf16 *rows, const ops_weight *w, const bf16 *bias, void *out, int64_t out_stride, dtype type)
{
    dense_plan wanted = {};
    wanted.n = n;
    wanted.rows = w->rows;
    wanted.cols = w->cols;
    wanted.weight_stride = w->row_stride / 2;
    wanted.out_stride = out_stride;
    wanted.bias = bias != NULL;
    wanted.type = type;
    wanted.weight_alignment = alignment_of(w->data);
    wanted.input_alignment = alignment_of(rows);
    wanted.output_alignment = alignment_of(out);
    dense_plan *p = find_plan(c, &wanted);
    const float one = 1, zero = 0;
    cublasStatus_t s = p ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
    if (p && bias) s = cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmul(c->lt, p->operation, &one, w->data, p->weight, rows, p->input, &zero, out, p->output, out, p->output, &p->algorithm, c->dense->workspace,
                           WORKSPACE, c->stream);
    if (s != CUBLAS_STATUS_SUCCESS) cuda_check(c, cudaErrorUnknown, cublasLtGetStatusName(s));
}

void cuda_dense(ops_context *c, int n, const bf16 *rows, const ops_weight *w, const ops_weight *bias, void *out, int64_t out_stride, dtype type)
{
    const bf16 *add = bias && bias->rows ? (const bf16 *)bias->data : NULL;
    if (n == 0 || w->rows == 0) return;
    if (dense_stream_serves(c, n, w)) {
        dense_stream_launch(c, n, rows, w, add, out, out_stride, type);
        return;
    }
    switch (n) {
    case 1: launch_few<1>(c, rows, w, add, out, out_stride, type); break;
    case 2: launch_few<2>(c, rows, w, add, out, out_stride, type); break;
    case 3: launch_few<3>(c, rows, w, add, out, out_stride, type); break;
    case FEW_ROWS: launch_few<FEW_ROWS>(c, rows, w, add, out, out_stride, type); break;
    default: run_many(c, n, rows, w, add, out, out_stride, type);
    }
    cuda_check(c, cudaGetLastError(), "dense product");
}
