/* Expert products for many rows per expert: blocks of 128 weight rows by up to 128 tokens, 8 warps as 4 by 2, mma.sync. Weights go from global
 * memory straight to registers, dequantised there once per 16 x 64 tile and warp; token rows are gathered into a ring in shared memory. */
#include "kernels/cuda/cuda_experts.cuh"

enum { BLOCK_ROWS = 128, WARPS_M = 4, WARPS_N = 2, THREADS = 32 * WARPS_M * WARPS_N, STAGES = 4, CHUNKS = 8 };
enum { ROW_TILES = BLOCK_ROWS / MXFP4_TILE_ROWS, WARP_ROW_TILES = ROW_TILES / WARPS_M };

__device__ static void copy_16(void *shared, const void *global, bool valid)
{
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    int bytes = valid ? 16 : 0; /* the rest is filled with zeros */
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes));
}

/* A row of a stage is 128 bytes, 8 chunks of 16; the two rows that a quarter warp reads at once must not share banks. */
__device__ static int swizzle(int row, int chunk) { return chunk ^ ((row & 1) << 2); }

/* Token rows of a column tile into one stage. `sources` holds the row index of each of the tile's tokens, -1 past the item's end. */
template <int TOKENS> __device__ static void load_stage(uint4 *stage, const expert_args &args, const int *sources, int col_tile)
{
#pragma unroll
    for (int i = threadIdx.x; i < TOKENS * CHUNKS; i += THREADS) {
        int token = i / CHUNKS, chunk = i % CHUNKS, col = col_tile * MXFP4_TILE_COLS + chunk * 8;
        bool valid = sources[token] >= 0 && col < args.cols && col_tile < args.stack.col_tiles;
        const bf16 *from = args.rows + (valid ? (int64_t)sources[token] * args.in_stride + col : 0);
        copy_16(stage + token * CHUNKS + swizzle(token, chunk), from, valid);
    }
    asm volatile("cp.async.commit_group;");
}

struct weight_tile {
    uint4 codes;
    uint32_t scales;
};

__device__ static void load_weights(weight_tile out[WARP_ROW_TILES], const mxfp4_stack &s, int expert, int first_tile, int col_tile, int lane)
{
#pragma unroll
    for (int i = 0; i < WARP_ROW_TILES; i++) {
        out[i].codes = make_uint4(0, 0, 0, 0);
        out[i].scales = 0;
        if (first_tile + i < s.row_tiles && col_tile < s.col_tiles) {
            int64_t index = ((int64_t)expert * s.row_tiles + first_tile + i) * s.col_tiles + col_tile;
            out[i].codes = __ldg(s.tiles + index * 32 + lane);
            out[i].scales = __ldg(s.scales + index * 8 + lane / 4);
        }
    }
}

/* One column tile: sums[i][j] are row tile i of the warp, tokens 8 j .. 8 j + 7 of the warp. */
template <int TOKENS>
__device__ static void multiply(const uint4 *stage, const weight_tile weights[WARP_ROW_TILES], int first_token, int lane,
                                float sums[WARP_ROW_TILES][TOKENS / WARPS_N / 8][4])
{
    int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint32_t a[WARP_ROW_TILES][2][4];
#pragma unroll
        for (int i = 0; i < WARP_ROW_TILES; i++) {
            uint32_t low = mxfp4_multiplier((weights[i].scales >> (8 * half)) & 255u);
            uint32_t high = mxfp4_multiplier((weights[i].scales >> (8 * half + 16)) & 255u);
            mxfp4_fragment(half ? weights[i].codes.z : weights[i].codes.x, low, high, a[i][0]);
            mxfp4_fragment(half ? weights[i].codes.w : weights[i].codes.y, low, high, a[i][1]);
        }
#pragma unroll
        for (int j = 0; j < TOKENS / WARPS_N / 8; j++) {
            int token = first_token + 8 * j + g;
            uint4 x = stage[token * CHUNKS + swizzle(token, 4 * half + t)];
#pragma unroll
            for (int i = 0; i < WARP_ROW_TILES; i++) {
                mxfp4_mma(sums[i][j], a[i][0], x.x, x.y);
                mxfp4_mma(sums[i][j], a[i][1], x.z, x.w);
            }
        }
    }
}

template <expert_product product>
__device__ static void write_two(const expert_args &args, int expert, int position, int row, float first, float second)
{
    const mxfp4_stack &s = args.stack;
    if (s.bias) {
        __nv_bfloat162 bias = *(const __nv_bfloat162 *)(s.bias + expert * s.bias_stride + row);
        first += __low2float(bias);
        second += __high2float(bias);
    }
    if (product == EXPERT_GATE_UP)
        args.out[(int64_t)position * args.out_stride + row / 2] = __float2bfloat16(mxfp4_swiglu(first, second, args.alpha, args.limit));
    else
        *(__nv_bfloat162 *)(args.out + (int64_t)args.groups.pairs[position] * args.out_stride + row) = __floats2bfloat162_rn(first, second);
}

template <expert_product product, int TOKENS>
__global__ void __launch_bounds__(THREADS, TOKENS == 128 ? 1 : 2) expert_large_kernel(const __grid_constant__ expert_args args)
{
    extern __shared__ uint4 ring[]; /* [STAGES, TOKENS, CHUNKS] */
    __shared__ int sources[TOKENS];
    int item = blockIdx.y;
    if (item >= *args.groups.n_items) return;
    const mxfp4_stack &s = args.stack;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int expert = args.groups.item_expert[item], start = args.groups.item_start[item], count = args.groups.item_count[item];
    for (int i = threadIdx.x; i < TOKENS; i += THREADS)
        sources[i] = i >= count ? -1 : product == EXPERT_GATE_UP ? args.groups.pairs[start + i] / args.top_k : start + i;
    __syncthreads();

    int first_tile = blockIdx.x * ROW_TILES + (warp / WARPS_N) * WARP_ROW_TILES, first_token = (warp % WARPS_N) * (TOKENS / WARPS_N);
    float sums[WARP_ROW_TILES][TOKENS / WARPS_N / 8][4] = {};
    weight_tile current[WARP_ROW_TILES], next[WARP_ROW_TILES];
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) load_stage<TOKENS>(ring + i * TOKENS * CHUNKS, args, sources, i);
    load_weights(next, s, expert, first_tile, 0, lane);

    for (int tile = 0; tile < s.col_tiles; tile++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
        __syncthreads(); /* the stage is there for all, and all are done with the one that is filled next */
#pragma unroll
        for (int i = 0; i < WARP_ROW_TILES; i++) current[i] = next[i];
        load_weights(next, s, expert, first_tile, tile + 1, lane);
        load_stage<TOKENS>(ring + (tile + STAGES - 1) % STAGES * TOKENS * CHUNKS, args, sources, tile + STAGES - 1);
        multiply<TOKENS>(ring + tile % STAGES * TOKENS * CHUNKS, current, first_token, lane, sums);
    }
    asm volatile("cp.async.wait_group 0;");

    int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < WARP_ROW_TILES; i++) {
        if (first_tile + i >= s.row_tiles) break;
        int row = (first_tile + i) * MXFP4_TILE_ROWS + 2 * g;
#pragma unroll
        for (int j = 0; j < TOKENS / WARPS_N / 8; j++) {
            int token = first_token + 8 * j + 2 * t;
            if (token < count) write_two<product>(args, expert, start + token, row, sums[i][j][0], sums[i][j][2]);
            if (token + 1 < count) write_two<product>(args, expert, start + token + 1, row, sums[i][j][1], sums[i][j][3]);
        }
    }
}

template <int TOKENS> static size_t ring_bytes(void) { return (size_t)STAGES * TOKENS * CHUNKS * sizeof(uint4); }

template <int TOKENS> static cudaError_t prepare(void)
{
    cudaError_t result = cudaFuncSetAttribute(expert_large_kernel<EXPERT_GATE_UP, TOKENS>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                              (int)ring_bytes<TOKENS>());
    if (result != cudaSuccess) return result;
    return cudaFuncSetAttribute(expert_large_kernel<EXPERT_DOWN, TOKENS>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)ring_bytes<TOKENS>());
}

cudaError_t expert_large_prepare(void)
{
    cudaError_t result = prepare<32>();
    if (result == cudaSuccess) result = prepare<64>();
    if (result == cudaSuccess) result = prepare<128>();
    return result;
}

template <int TOKENS> static void launch(cudaStream_t stream, expert_product product, const expert_args *args, dim3 grid)
{
    if (product == EXPERT_GATE_UP)
        expert_large_kernel<EXPERT_GATE_UP, TOKENS><<<grid, THREADS, ring_bytes<TOKENS>(), stream>>>(*args);
    else
        expert_large_kernel<EXPERT_DOWN, TOKENS><<<grid, THREADS, ring_bytes<TOKENS>(), stream>>>(*args);
}

void expert_large_launch(cudaStream_t stream, expert_product product, const expert_args *args, int tile, int max_items)
{
    dim3 grid((unsigned)(args->stack.row_tiles + ROW_TILES - 1) / ROW_TILES, (unsigned)max_items);
    if (tile == 32)
        launch<32>(stream, product, args, grid);
    else if (tile == 64)
        launch<64>(stream, product, args, grid);
    else
        launch<128>(stream, product, args, grid);
}
