/* Products of up to 16 BF16 rows with a BF16 matrix at the speed of memory: one block per SM walks over its share of the matrix, 8 of its rows at a time.
 *
 *   copies (bulk)         one thread of a warp fills `stages` buffers ahead, 8 matrix rows each
 *     | full[], empty[]
 *   15 consumer warps     each has the same few columns of every matrix row, so that its share of the input rows stays in registers: the A operand
 *     |                   of mma.m16n8k16, the matrix rows being B; partial sums of 16 x 8 go to shared memory
 *     | summed[], taken[]
 *   2 finishing warps     add the partial sums in turn and write 8 columns of the output
 *
 * Within 32 columns lane t of a quad takes columns 8 t to 8 t + 7 of both operands: the order of k is free as long as both agree, and this one is 16
 * contiguous bytes a lane. Rows lie 64 bytes past a multiple of 128 apart in shared memory, so that two of them are read without a conflict. */
#include "kernels/cuda/cuda_dense.cuh"
#include "kernels/cuda/cuda_ring.cuh"

enum { CONSUMERS = 15, FINISHERS = 2, THREADS = 32 * (CONSUMERS + FINISHERS + 1), MAX_STAGES = 4, PARTIALS = 4, TILE_ROWS = 8, STEP = 32, VALUES = 8 };

struct dense_barriers {
    uint64_t full[MAX_STAGES], empty[MAX_STAGES];
    uint64_t summed[PARTIALS], taken[PARTIALS];
};

typedef struct dense_stream_args {
    const bf16 *rows, *w, *bias; /* [n, cols], [w_rows, cols] w_stride apart, [w_rows] or NULL */
    void *out;                   /* [n, w_rows] out_stride apart; F32 if wide */
    int64_t w_stride, out_stride;
    int n, w_rows, cols, stages, pitch; /* pitch: bytes between rows of a stage */
    bool wide;
} dense_stream_args;

__device__ static int first_tile(const dense_stream_args &a, int block)
{
    int64_t tiles = (a.w_rows + TILE_ROWS - 1) / TILE_ROWS;
    return (int)(tiles * block / gridDim.x);
}

__device__ static void fill_ring(const dense_stream_args &a, uint8_t *ring, dense_barriers &b)
{
    int begin = first_tile(a, blockIdx.x), end = first_tile(a, blockIdx.x + 1);
    uint32_t row_bytes = (uint32_t)a.cols * sizeof(bf16);
    uint64_t once = ring_read_once();
    for (int tile = begin; tile < end; tile++) {
        int index = tile - begin, k = index % a.stages, round = index / a.stages, rows = min(TILE_ROWS, a.w_rows - tile * TILE_ROWS);
        if (round > 0) ring_wait(&b.empty[k], round - 1);
        ring_expect(&b.full[k], row_bytes * rows);
        for (int r = 0; r < rows; r++)
            ring_copy(ring + (k * TILE_ROWS + r) * a.pitch, a.w + (tile * TILE_ROWS + r) * a.w_stride, row_bytes, &b.full[k], once);
    }
}

__device__ static void multiply(float d[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

__device__ static void store_two(const dense_stream_args &a, int token, int row, float first, float second)
{
    if (token >= a.n) return;
    int64_t at = token * a.out_stride + row;
    if (a.wide) {
        ((float *)a.out)[at] = first;
        if (row + 1 < a.w_rows) ((float *)a.out)[at + 1] = second;
    } else {
        ((bf16 *)a.out)[at] = __float2bfloat16(first);
        if (row + 1 < a.w_rows) ((bf16 *)a.out)[at + 1] = __float2bfloat16(second);
    }
}

/* HALVES: of the 16 input rows that a product takes, the first 8 or all. */
template <int HALVES> __device__ static void finish(const dense_stream_args &a, const float *partials, dense_barriers &b)
{
    int lane = threadIdx.x % 32, finisher = threadIdx.x / 32 - CONSUMERS - 1, begin = first_tile(a, blockIdx.x), end = first_tile(a, blockIdx.x + 1);
    for (int tile = begin + finisher; tile < end; tile += FINISHERS) {
        int index = tile - begin, slot = index % PARTIALS, row = tile * TILE_ROWS + 2 * (lane % 4);
        const float *partial = partials + slot * CONSUMERS * 2 * HALVES * 32;
        float sums[2 * HALVES];
#pragma unroll
        for (int i = 0; i < 2 * HALVES; i++) sums[i] = a.bias ? __bfloat162float(a.bias[min(row + i % 2, a.w_rows - 1)]) : 0;
        ring_wait(&b.summed[slot], index / PARTIALS);
#pragma unroll
        for (int warp = 0; warp < CONSUMERS; warp++)
#pragma unroll
            for (int i = 0; i < 2 * HALVES; i++) sums[i] += partial[(warp * 2 * HALVES + i) * 32 + lane];
        __syncwarp();
        if (lane == 0) ring_arrive(&b.taken[slot]);
        if (row >= a.w_rows) continue;
#pragma unroll
        for (int h = 0; h < HALVES; h++) store_two(a, lane / 4 + 8 * h, row, sums[2 * h], sums[2 * h + 1]);
    }
}

template <int STEPS, int HALVES> __device__ static void consume(const dense_stream_args &a, const uint8_t *ring, float *partials, dense_barriers &b)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4, all = a.cols / STEP;
    int first = all * warp / CONSUMERS, steps = all * (warp + 1) / CONSUMERS - first, begin = first_tile(a, blockIdx.x), end = first_tile(a, blockIdx.x + 1);
    uint4 x[STEPS][HALVES];
#pragma unroll
    for (int s = 0; s < STEPS; s++)
#pragma unroll
        for (int h = 0; h < HALVES; h++) {
            x[s][h] = make_uint4(0, 0, 0, 0);
            if (s < steps && g + 8 * h < a.n) x[s][h] = *(const uint4 *)(a.rows + (int64_t)(g + 8 * h) * a.cols + (first + s) * STEP + VALUES * t);
        }
    for (int tile = begin; tile < end; tile++) {
        int index = tile - begin, k = index % a.stages, slot = index % PARTIALS, turn = index / PARTIALS;
        const uint8_t *row = ring + (k * TILE_ROWS + g) * a.pitch + ((first * STEP) + VALUES * t) * (int)sizeof(bf16);
        float d[4] = {0, 0, 0, 0};
        ring_wait(&b.full[k], index / a.stages);
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
            if (s >= steps) break;
            uint4 w = *(const uint4 *)(row + s * STEP * (int)sizeof(bf16));
            multiply(d, x[s][0].x, HALVES > 1 ? x[s][HALVES - 1].x : 0, x[s][0].y, HALVES > 1 ? x[s][HALVES - 1].y : 0, w.x, w.y);
            multiply(d, x[s][0].z, HALVES > 1 ? x[s][HALVES - 1].z : 0, x[s][0].w, HALVES > 1 ? x[s][HALVES - 1].w : 0, w.z, w.w);
        }
        __syncwarp();
        if (lane == 0) ring_arrive(&b.empty[k]);

        float *partial = partials + slot * CONSUMERS * 2 * HALVES * 32;
        if (turn > 0) ring_wait(&b.taken[slot], turn - 1);
#pragma unroll
        for (int i = 0; i < 2 * HALVES; i++) partial[(warp * 2 * HALVES + i) * 32 + lane] = d[i];
        __syncwarp();
        if (lane == 0) ring_arrive(&b.summed[slot]);
    }
}

template <int STEPS, int HALVES>
__global__ void __launch_bounds__(THREADS, 1) dense_stream_kernel(const __grid_constant__ dense_stream_args a)
{
    extern __shared__ __align__(128) uint8_t shared[]; /* [stages][8][pitch], then partial sums [PARTIALS][CONSUMERS][2 HALVES][32] */
    __shared__ dense_barriers b;
    if (threadIdx.x == 0) {
        for (int k = 0; k < a.stages; k++) {
            ring_barrier_begin(&b.full[k], 1);
            ring_barrier_begin(&b.empty[k], CONSUMERS);
        }
        for (int slot = 0; slot < PARTIALS; slot++) {
            ring_barrier_begin(&b.summed[slot], CONSUMERS);
            ring_barrier_begin(&b.taken[slot], 1);
        }
        ring_barriers_ready();
    }
    __syncthreads();
    if (threadIdx.x == 32 * CONSUMERS) fill_ring(a, shared, b); /* weights: no need to wait */
    cuda_wait_for_previous();
    cuda_let_next_start();
    float *partials = (float *)(shared + a.stages * TILE_ROWS * a.pitch);
    if (threadIdx.x < 32 * CONSUMERS)
        consume<STEPS, HALVES>(a, shared, partials, b);
    else if (threadIdx.x >= 32 * (CONSUMERS + 1))
        finish<HALVES>(a, partials, b);
}

/* ---- launching ---------------------------------------------------------------------------------------------------------- */

enum { SHORT_STEPS = 6, LONG_STEPS = 9, PITCH_UNIT = 128 };

static int pitch_of(int64_t cols) { return (int)(cols * (int64_t)sizeof(bf16)) / PITCH_UNIT * PITCH_UNIT + PITCH_UNIT / 2; }

static size_t partial_size(int n) { return (size_t)PARTIALS * CONSUMERS * (n > 8 ? 4 : 2) * 32 * sizeof(float); }

static int stages_for(const ops_context *c, const ops_weight *w, int n)
{
    size_t room = c->shared_max - 2048, stage = (size_t)TILE_ROWS * (size_t)pitch_of(w->cols);
    size_t stages = (room - partial_size(n)) / stage;
    return stages > MAX_STAGES ? MAX_STAGES : (int)stages;
}

bool dense_stream_serves(const ops_context *c, int n, const ops_weight *w)
{
    bool aligned = (uintptr_t)w->data % 16 == 0 && w->row_stride % 16 == 0 && w->cols % STEP == 0;
    return c->major >= 9 && n <= 16 && aligned && w->cols / STEP <= CONSUMERS * LONG_STEPS && stages_for(c, w, n) >= 2;
}

template <int STEPS, int HALVES> static void launch(ops_context *c, const dense_stream_args *a, size_t bytes)
{
    cuda_check(c, cudaFuncSetAttribute(dense_stream_kernel<STEPS, HALVES>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes), "dense product");
    cuda_launch(c, "dense product", dense_stream_kernel<STEPS, HALVES>, dim3((unsigned)c->sm_count), dim3(THREADS), bytes, *a);
}

void dense_stream_launch(ops_context *c, int n, const bf16 *rows, const ops_weight *w, const bf16 *bias, void *out, int64_t out_stride, dtype type)
{
    dense_stream_args a = {};
    a.rows = rows;
    a.w = (const bf16 *)w->data;
    a.bias = bias;
    a.out = out;
    a.w_stride = w->row_stride / (int64_t)sizeof(bf16);
    a.out_stride = out_stride;
    a.n = n;
    a.w_rows = (int)w->rows;
    a.cols = (int)w->cols;
    a.stages = stages_for(c, w, n);
    a.pitch = pitch_of(w->cols);
    a.wide = type == DTYPE_F32;
    size_t bytes = (size_t)a.stages * TILE_ROWS * (size_t)a.pitch + partial_size(n);
    bool brief = a.cols / STEP <= CONSUMERS * SHORT_STEPS;
    if (n > 8)
        brief ? launch<SHORT_STEPS, 2>(c, &a, bytes) : launch<LONG_STEPS, 2>(c, &a, bytes);
    else
        brief ? launch<SHORT_STEPS, 1>(c, &a, bytes) : launch<LONG_STEPS, 1>(c, &a, bytes);
}
