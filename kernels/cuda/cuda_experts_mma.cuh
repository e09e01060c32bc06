/* Expert products for many rows per expert on any GPU from compute capability 8.0: blocks of 128 weight rows by up to 128 tokens, 8 warps as 4 by 2,
 * mma.sync. Weights go from global memory straight to registers, dequantised there once per 16 x 64 tile and warp; token rows are gathered into a ring in
 * shared memory. Part of cuda_experts_large.cu, which takes it where there is no kernel for the architecture itself. */
#ifndef KERNELS_CUDA_CUDA_EXPERTS_MMA_CUH
#define KERNELS_CUDA_CUDA_EXPERTS_MMA_CUH

#include "kernels/cuda/cuda_experts_write.cuh"

enum { MMA_BLOCK_ROWS = 128, MMA_WARPS_M = 4, MMA_WARPS_N = 2, MMA_THREADS = 32 * MMA_WARPS_M * MMA_WARPS_N, MMA_STAGES = 4, MMA_CHUNKS = 8 };
enum { MMA_ROW_TILES = MMA_BLOCK_ROWS / MXFP4_TILE_ROWS, MMA_WARP_ROW_TILES = MMA_ROW_TILES / MMA_WARPS_M };

__device__ static inline void mma_copy_16(void *shared, const void *global, bool valid)
{
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    int bytes = valid ? 16 : 0; /* the rest is filled with zeros */
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes));
}

/* A row of a stage is 128 bytes, 8 chunks of 16; the two rows that a quarter warp reads at once must not share banks. */
__device__ static inline int mma_swizzle(int row, int chunk) { return chunk ^ ((row & 1) << 2); }

/* Token rows of a column tile into one stage. `sources` holds the row index of each of the tile's tokens, -1 past the item's end. */
template <int TOKENS> __device__ static inline void mma_load_stage(uint4 *stage, const expert_args &args, const int *sources, int col_tile)
{
#pragma unroll
    for (int i = threadIdx.x; i < TOKENS * MMA_CHUNKS; i += MMA_THREADS) {
        int token = i / MMA_CHUNKS, chunk = i % MMA_CHUNKS, col = col_tile * MXFP4_TILE_COLS + chunk * 8;
        bool valid = sources[token] >= 0 && col < args.cols && col_tile < args.stack.col_tiles;
        const bf16 *from = args.rows + (valid ? (int64_t)sources[token] * args.in_stride + col : 0);
        mma_copy_16(stage + token * MMA_CHUNKS + mma_swizzle(token, chunk), from, valid);
    }
    asm volatile("cp.async.commit_group;");
}

struct mma_weights {
    uint4 codes;
    uint32_t scales;
};

__device__ static inline void mma_load_weights(mma_weights out[MMA_WARP_ROW_TILES], const mxfp4_stack &s, int expert, int first_tile, int col_tile, int lane)
{
#pragma unroll
    for (int i = 0; i < MMA_WARP_ROW_TILES; i++) {
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
__device__ static inline void mma_multiply(const uint4 *stage, const mma_weights weights[MMA_WARP_ROW_TILES], int first_token, int lane,
                                       float sums[MMA_WARP_ROW_TILES][TOKENS / MMA_WARPS_N / 8][4])
{
    int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint32_t a[MMA_WARP_ROW_TILES][2][4];
#pragma unroll
        for (int i = 0; i < MMA_WARP_ROW_TILES; i++) {
            uint32_t low = mxfp4_multiplier((weights[i].scales >> (8 * half)) & 255u);
            uint32_t high = mxfp4_multiplier((weights[i].scales >> (8 * half + 16)) & 255u);
            mxfp4_fragment(half ? weights[i].codes.z : weights[i].codes.x, low, high, a[i][0]);
            mxfp4_fragment(half ? weights[i].codes.w : weights[i].codes.y, low, high, a[i][1]);
        }
#pragma unroll
        for (int j = 0; j < TOKENS / MMA_WARPS_N / 8; j++) {
            int token = first_token + 8 * j + g;
            uint4 x = stage[token * MMA_CHUNKS + mma_swizzle(token, 4 * half + t)];
#pragma unroll
            for (int i = 0; i < MMA_WARP_ROW_TILES; i++) {
                mxfp4_mma(sums[i][j], a[i][0], x.x, x.y);
                mxfp4_mma(sums[i][j], a[i][1], x.z, x.w);
            }
        }
    }
}

template <expert_product product, int TOKENS>
__global__ void __launch_bounds__(MMA_THREADS, TOKENS == 128 ? 1 : 2) expert_mma_kernel(const __grid_constant__ expert_args args)
{
    extern __shared__ uint4 ring[]; /* [MMA_STAGES, TOKENS, MMA_CHUNKS] */
    __shared__ int sources[TOKENS];
    int item = blockIdx.y;
    cuda_wait_for_previous();
    cuda_let_next_start();
    if (item >= *args.groups.n_items) return;
    const mxfp4_stack &s = args.stack;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int4 found = args.groups.items[item];
    int expert = found.x, start = found.y, count = found.z;
    for (int i = threadIdx.x; i < TOKENS; i += MMA_THREADS)
        sources[i] = i >= count ? -1 : product == EXPERT_GATE_UP ? args.groups.pairs[start + i] / args.top_k : start + i;
    __syncthreads();

    int first_tile = blockIdx.x * MMA_ROW_TILES + (warp / MMA_WARPS_N) * MMA_WARP_ROW_TILES, first_token = (warp % MMA_WARPS_N) * (TOKENS / MMA_WARPS_N);
    float sums[MMA_WARP_ROW_TILES][TOKENS / MMA_WARPS_N / 8][4] = {};
    mma_weights current[MMA_WARP_ROW_TILES], next[MMA_WARP_ROW_TILES];
#pragma unroll
    for (int i = 0; i < MMA_STAGES - 1; i++) mma_load_stage<TOKENS>(ring + i * TOKENS * MMA_CHUNKS, args, sources, i);
    mma_load_weights(next, s, expert, first_tile, 0, lane);

    for (int tile = 0; tile < s.col_tiles; tile++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(MMA_STAGES - 2));
        __syncthreads(); /* the stage is there for all, and all are done with the one that is filled next */
#pragma unroll
        for (int i = 0; i < MMA_WARP_ROW_TILES; i++) current[i] = next[i];
        mma_load_weights(next, s, expert, first_tile, tile + 1, lane);
        mma_load_stage<TOKENS>(ring + (tile + MMA_STAGES - 1) % MMA_STAGES * TOKENS * MMA_CHUNKS, args, sources, tile + MMA_STAGES - 1);
        mma_multiply<TOKENS>(ring + tile % MMA_STAGES * TOKENS * MMA_CHUNKS, current, first_token, lane, sums);
    }
    asm volatile("cp.async.wait_group 0;");

    int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < MMA_WARP_ROW_TILES; i++) {
        if (first_tile + i >= s.row_tiles) break;
        int row = (first_tile + i) * MXFP4_TILE_ROWS + 2 * g;
        float2 bias = expert_bias(s, expert, row);
#pragma unroll
        for (int j = 0; j < TOKENS / MMA_WARPS_N / 4; j++) {
            int token = first_token + j / 2 * 8 + 2 * t + j % 2;
            bf16 *to = expert_place<product>(args, start + min(token, count - 1), row);
            expert_write<product>(args, to, bias, sums[i][j / 2][j % 2], sums[i][j / 2][j % 2 + 2], token < count);
        }
    }
}

template <int TOKENS> static size_t mma_ring_bytes(void) { return (size_t)MMA_STAGES * TOKENS * MMA_CHUNKS * sizeof(uint4); }

template <int TOKENS> static cudaError_t mma_prepare_tokens(void)
{
    cudaError_t result = cudaFuncSetAttribute(expert_mma_kernel<EXPERT_GATE_UP, TOKENS>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                              (int)mma_ring_bytes<TOKENS>());
    if (result != cudaSuccess) return result;
    return cudaFuncSetAttribute(expert_mma_kernel<EXPERT_DOWN, TOKENS>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)mma_ring_bytes<TOKENS>());
}

static cudaError_t mma_prepare(void)
{
    cudaError_t result = mma_prepare_tokens<64>();
    if (result == cudaSuccess) result = mma_prepare_tokens<128>();
    return result;
}

template <int TOKENS> static void mma_launch_tokens(ops_context *c, expert_product product, const expert_args *args, dim3 grid)
{
    auto kernel = product == EXPERT_GATE_UP ? expert_mma_kernel<EXPERT_GATE_UP, TOKENS> : expert_mma_kernel<EXPERT_DOWN, TOKENS>;
    cuda_launch(c, product == EXPERT_GATE_UP ? "experts gate_up" : "experts down", kernel, grid, dim3(MMA_THREADS), mma_ring_bytes<TOKENS>(), *args);
}

static void mma_launch(ops_context *c, expert_product product, const expert_args *args, int tile, int max_items)
{
    dim3 grid((unsigned)(args->stack.row_tiles + MMA_ROW_TILES - 1) / MMA_ROW_TILES, (unsigned)max_items);
    if (tile == 64)
        mma_launch_tokens<64>(c, product, args, grid);
    else
        mma_launch_tokens<128>(c, product, args, grid);
}

#endif
