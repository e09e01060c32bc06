/* Expert products for few pairs an item, at the speed of memory: one block per SM walks over its share of all row tiles of all items.
 *
 *   copies (bulk)         one thread of a warp fills `stages` buffers ahead: a row tile is one contiguous piece of codes and one of scales
 *     | full[], empty[]
 *   consumer warps        in GROUPS groups that take units in turn; each warp has the same few column tiles of every row tile, so that its share of
 *     |                   the token rows stays in registers; unpacks, multiplies, and leaves partial sums of 16 rows x 8 N pairs in shared memory
 *     | summed[], taken[]
 *   2 finishing warps     add the partial sums of a unit in turn, finish the rows and write them: warps of their own, or every unit would wait for the
 *                         one before to be finished
 *
 * Units are numbered item * row_tiles + row tile; a block has a contiguous range, so it changes items, and with them its token rows, rarely. Nothing
 * here waits for the whole block. Numbers as in cuda_experts_small.cu: FP16 fragments, a block's scale on the sums of its 32 columns. */
#include <cuda_fp16.h>

#include "kernels/cuda/cuda_experts.cuh"
#include "kernels/cuda/cuda_ring.cuh"

enum { FINISHERS = 2, MAX_STAGES = 8, PARTIALS = 4, MAX_COL_TILES = 45 };
enum { TILE_BYTES = MXFP4_TILE_BYTES + MXFP4_TILE_SCALE_BYTES };

/* How a block's consumers are cut: with one group of tokens a warp has registers for more columns, which makes less to add up. */
template <int N> struct stream_cut {
    static constexpr int GROUPS = N == 1 ? 2 : 1, WARPS = N == 1 ? 8 : 15, TILES = (MAX_COL_TILES + WARPS - 1) / WARPS, CONSUMERS = GROUPS * WARPS,
                         THREADS = 32 * (CONSUMERS + FINISHERS + 1), PARTIAL_FLOATS = WARPS * N * 4 * 32;
};

struct stream_barriers {
    uint64_t full[MAX_STAGES], empty[MAX_STAGES];
    uint64_t summed[PARTIALS], taken[PARTIALS];
};

/* What a block works on: units [begin, end). */
struct stream_range {
    int begin, end;
};

__device__ static stream_range range_of(const expert_args &args)
{
    int64_t total = (int64_t)*args.groups.n_items * args.stack.row_tiles;
    return {(int)(total * blockIdx.x / gridDim.x), (int)(total * (blockIdx.x + 1) / gridDim.x)};
}

__device__ static void fill_ring(const expert_args &args, const stream_range &range, uint8_t *ring, stream_barriers &b, int stages, int stage_bytes)
{
    const mxfp4_stack &s = args.stack;
    uint32_t code_bytes = (uint32_t)s.col_tiles * MXFP4_TILE_BYTES, scale_bytes = (uint32_t)s.col_tiles * MXFP4_TILE_SCALE_BYTES;
    uint64_t once = ring_read_once();
    for (int unit = range.begin; unit < range.end; unit++) {
        int index = unit - range.begin, k = index % stages, round = index / stages;
        int64_t tile = (int64_t)args.groups.items[unit / s.row_tiles].x * s.row_tiles + unit % s.row_tiles;
        if (round > 0) ring_wait(&b.empty[k], round - 1);
        ring_expect(&b.full[k], code_bytes + scale_bytes);
        ring_copy(ring + k * stage_bytes, (const uint8_t *)s.tiles + tile * code_bytes, code_bytes, &b.full[k], once);
        ring_copy(ring + k * stage_bytes + code_bytes, (const uint8_t *)s.scales + tile * scale_bytes, scale_bytes, &b.full[k], once);
    }
}

/* A warp's columns of an item's token rows: [tile][half][8 tokens each]. */
template <int N> struct stream_rows {
    uint4 x[stream_cut<N>::TILES][2][N];
};

template <expert_product product, int N>
__device__ static void load_rows(stream_rows<N> &r, const expert_args &args, int4 item, int first_tile, int tiles, int lane)
{
    int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int n = 0; n < N; n++) {
        int position = item.y + 8 * n + g;
        bool there = 8 * n + g < item.z;
        int index = !there ? 0 : product == EXPERT_GATE_UP ? args.groups.pairs[position] / args.top_k : position;
        const half *row = (const half *)args.rows + (int64_t)index * args.in_stride + 8 * t;
#pragma unroll
        for (int i = 0; i < stream_cut<N>::TILES; i++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int col = (first_tile + i) * MXFP4_TILE_COLS + 32 * h;
                r.x[i][h][n] = make_uint4(0, 0, 0, 0);
                if (there && i < tiles && col < args.cols) r.x[i][h][n] = *(const uint4 *)(row + col);
            }
    }
}

template <int N> __device__ static void add_half(uint32_t word0, uint32_t word1, float low, float high, const uint4 x[N], float sums[N][4])
{
    uint32_t first[4], second[4];
    mxfp4_fragment_half(word0, first);
    mxfp4_fragment_half(word1, second);
#pragma unroll
    for (int n = 0; n < N; n++) {
        float product[4] = {};
        mxfp4_mma_half(product, first, x[n].x, x[n].y);
        mxfp4_mma_half(product, second, x[n].z, x[n].w);
        sums[n][0] = fmaf(product[0], low, sums[n][0]);
        sums[n][1] = fmaf(product[1], low, sums[n][1]);
        sums[n][2] = fmaf(product[2], high, sums[n][2]);
        sums[n][3] = fmaf(product[3], high, sums[n][3]);
    }
}

/* One row tile: this warp's column tiles, from the ring. Where a warp has fewer tiles than others, it takes one again, times rows of zeros. */
template <int N>
__device__ static void add_tiles(const uint8_t *stage, int col_tiles, int first_tile, int tiles, const stream_rows<N> &rows, int lane, float sums[N][4])
{
    constexpr int TILES = stream_cut<N>::TILES;
    uint4 codes[TILES];
    uint32_t scales[TILES];
#pragma unroll
    for (int i = 0; i < TILES; i++) {
        int tile = min(first_tile + min(i, max(tiles - 1, 0)), col_tiles - 1);
        codes[i] = ((const uint4 *)stage)[tile * 32 + lane];
        scales[i] = ((const uint32_t *)(stage + col_tiles * MXFP4_TILE_BYTES))[tile * 8 + lane / 4];
    }
#pragma unroll
    for (int i = 0; i < TILES; i++) {
        add_half<N>(codes[i].x, codes[i].y, mxfp4_scale(scales[i], 0), mxfp4_scale(scales[i], 2), rows.x[i][0], sums);
        add_half<N>(codes[i].z, codes[i].w, mxfp4_scale(scales[i], 1), mxfp4_scale(scales[i], 3), rows.x[i][1], sums);
    }
}

template <expert_product product, int N>
__device__ static void consume(const expert_args &args, const stream_range &range, const uint8_t *ring, float *partials, stream_barriers &b, int stages, int stage_bytes)
{
    typedef stream_cut<N> cut;
    int lane = threadIdx.x % 32, group = threadIdx.x / 32 / cut::WARPS, warp = threadIdx.x / 32 % cut::WARPS;
    int row_tiles = args.stack.row_tiles, col_tiles = args.stack.col_tiles;
    int first_tile = col_tiles * warp / cut::WARPS, tiles = col_tiles * (warp + 1) / cut::WARPS - first_tile, item_end = range.begin;
    stream_rows<N> rows;
    for (int unit = range.begin + group; unit < range.end; unit += cut::GROUPS) {
        int index = unit - range.begin, k = index % stages, slot = index % PARTIALS, turn = index / PARTIALS;
        if (unit >= item_end) {
            int item = unit / row_tiles;
            item_end = (item + 1) * row_tiles;
            load_rows<product, N>(rows, args, args.groups.items[item], first_tile, tiles, lane);
        }
        float sums[N][4] = {};
        ring_wait(&b.full[k], index / stages);
        add_tiles<N>(ring + k * stage_bytes, col_tiles, first_tile, tiles, rows, lane, sums);
        __syncwarp();
        if (lane == 0) ring_arrive(&b.empty[k]);

        float *partial = partials + slot * cut::PARTIAL_FLOATS + warp * N * 4 * 32 + lane;
        if (turn > 0) ring_wait(&b.taken[slot], turn - 1);
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) partial[(n * 4 + i) * 32] = sums[n][i];
        __syncwarp();
        if (lane == 0) ring_arrive(&b.summed[slot]);
    }
}

template <expert_product product, int N>
__device__ static void finish(const expert_args &args, const stream_range &range, const float *partials, stream_barriers &b)
{
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, finisher = threadIdx.x / 32 - stream_cut<N>::CONSUMERS - 1, row_tiles = args.stack.row_tiles;
    for (int unit = range.begin + finisher; unit < range.end; unit += FINISHERS) {
        int index = unit - range.begin, slot = index % PARTIALS, row = unit % row_tiles * MXFP4_TILE_ROWS + 2 * g;
        int4 item = args.groups.items[unit / row_tiles];
        __nv_bfloat162 bias = __floats2bfloat162_rn(0, 0);
        if (args.stack.bias) bias = *(const __nv_bfloat162 *)(args.stack.bias + item.x * args.stack.bias_stride + row);
        const float *partial = partials + slot * stream_cut<N>::PARTIAL_FLOATS;
        float sums[N][4] = {};
        ring_wait(&b.summed[slot], index / PARTIALS);
#pragma unroll
        for (int warp = 0; warp < stream_cut<N>::WARPS; warp++)
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) sums[n][i] += partial[((warp * N + n) * 4 + i) * 32 + lane];
        __syncwarp();
        if (lane == 0) ring_arrive(&b.taken[slot]);
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                int token = 8 * n + 2 * t + i;
                if (token < item.z) expert_write_two<product>(args, item.y + token, row, bias, sums[n][i], sums[n][2 + i]);
            }
    }
}

template <expert_product product, int N>
__global__ void __launch_bounds__(stream_cut<N>::THREADS, 1) expert_stream_kernel(const __grid_constant__ expert_args args, int stages, int stage_bytes)
{
    typedef stream_cut<N> cut;
    extern __shared__ __align__(128) uint8_t shared[]; /* [stages][stage_bytes], then partial sums [PARTIALS][WARPS][N][4][32] */
    __shared__ stream_barriers b;
    if (threadIdx.x == 0) {
        for (int k = 0; k < stages; k++) {
            ring_barrier_begin(&b.full[k], 1);
            ring_barrier_begin(&b.empty[k], cut::WARPS);
        }
        for (int slot = 0; slot < PARTIALS; slot++) {
            ring_barrier_begin(&b.summed[slot], cut::WARPS);
            ring_barrier_begin(&b.taken[slot], 1);
        }
        ring_barriers_ready();
    }
    __syncthreads();
    bool fills = threadIdx.x == 32 * cut::CONSUMERS;
    /* The groups come from the kernel before gate_up; for down they are older, so that its weights are on their way early. */
    if (product == EXPERT_DOWN && fills) fill_ring(args, range_of(args), shared, b, stages, stage_bytes);
    cuda_wait_for_previous();
    cuda_let_next_start();
    if (product == EXPERT_GATE_UP && fills) fill_ring(args, range_of(args), shared, b, stages, stage_bytes);
    float *partials = (float *)(shared + stages * stage_bytes);
    if (threadIdx.x < 32 * cut::CONSUMERS)
        consume<product, N>(args, range_of(args), shared, partials, b, stages, stage_bytes);
    else if (threadIdx.x >= 32 * (cut::CONSUMERS + 1))
        finish<product, N>(args, range_of(args), partials, b);
}

static size_t stage_size(const expert_args *args) { return ((size_t)args->stack.col_tiles * TILE_BYTES + 127) / 128 * 128; }
static size_t partial_size(int n)
{
    return (size_t)PARTIALS * (size_t)(n == 1 ? stream_cut<1>::PARTIAL_FLOATS : stream_cut<2>::PARTIAL_FLOATS) * sizeof(float);
}

static int stages_for(const ops_context *c, const expert_args *args, int n)
{
    size_t room = c->shared_max - 2048, stages = room > partial_size(n) ? (room - partial_size(n)) / stage_size(args) : 0;
    int most = stages > MAX_STAGES ? MAX_STAGES : (int)stages;
    return n == 1 ? most / stream_cut<1>::GROUPS * stream_cut<1>::GROUPS : most; /* a buffer is always the same group's: only who has read what was in it can tell by parity what is */
}

bool expert_stream_serves(const ops_context *c, const expert_args *args, int tile)
{
    return c->major >= 9 && tile <= 16 && args->stack.col_tiles <= MAX_COL_TILES && stages_for(c, args, tile / 8) >= 2;
}

template <expert_product product, int N> static void launch(ops_context *c, const expert_args *args)
{
    int stages = stages_for(c, args, N);
    size_t bytes = (size_t)stages * stage_size(args) + partial_size(N);
    cuda_check(c, cudaFuncSetAttribute(expert_stream_kernel<product, N>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes), "expert kernels");
    cuda_launch(c, product == EXPERT_GATE_UP ? "experts gate_up" : "experts down", expert_stream_kernel<product, N>, dim3((unsigned)c->sm_count), dim3(stream_cut<N>::THREADS), bytes,
                *args, stages, (int)stage_size(args));
}

void expert_stream_launch(ops_context *c, expert_product product, const expert_args *args, int tile)
{
    if (product == EXPERT_GATE_UP)
        tile <= 8 ? launch<EXPERT_GATE_UP, 1>(c, args) : launch<EXPERT_GATE_UP, 2>(c, args);
    else
        tile <= 8 ? launch<EXPERT_DOWN, 1>(c, args) : launch<EXPERT_DOWN, 2>(c, args);
}
