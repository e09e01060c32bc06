/* Expert products for up to 8 rows per expert. A block owns one tile of 16 weight rows of one item; its warps share the columns, each
 * with all its loads in flight at once, and add up in shared memory. Every weight byte is read once, as 512 contiguous bytes per warp. */
#include "kernels/cuda/cuda_experts.cuh"

enum { WARPS = 8, BATCH = 6 }; /* BATCH column tiles of a warp in flight: 45 tiles over 8 warps is 6 */

struct tile_load {
    uint4 codes;
    uint32_t scales;
};

__device__ static tile_load load_tile(const mxfp4_stack &s, int64_t row_tile, int col_tile, int lane)
{
    int64_t index = row_tile * s.col_tiles + col_tile;
    tile_load out;
    out.codes = __ldcs(s.tiles + index * 32 + lane); /* read once: do not keep in L1 */
    out.scales = __ldg(s.scales + index * 8 + lane / 4);
    return out;
}

/* Adds one tile's share: sums[0..1] row g of tokens 2t, 2t+1; sums[2..3] row g + 8. `row` is this lane's token row, or NULL. */
__device__ static void add_tile(const tile_load &tile, const bf16 *row, int col, int cols, float sums[4])
{
    const uint32_t words[4] = {tile.codes.x, tile.codes.y, tile.codes.z, tile.codes.w};
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint4 x = make_uint4(0, 0, 0, 0);
        if (row && col + 32 * half < cols) x = *(const uint4 *)(row + col + 32 * half);
        uint32_t low = mxfp4_multiplier((tile.scales >> (8 * half)) & 255u), high = mxfp4_multiplier((tile.scales >> (8 * half + 16)) & 255u);
        uint32_t a[4];
        mxfp4_fragment(words[2 * half], low, high, a);
        mxfp4_mma(sums, a, x.x, x.y);
        mxfp4_fragment(words[2 * half + 1], low, high, a);
        mxfp4_mma(sums, a, x.z, x.w);
    }
}

template <expert_product product>
__device__ static void write_pair_of_rows(const expert_args &args, int expert, int position, int tile, int g, float first, float second)
{
    const mxfp4_stack &s = args.stack;
    int row = tile * MXFP4_TILE_ROWS + 2 * g;
    if (s.bias) {
        const bf16 *bias = s.bias + expert * s.bias_stride + row;
        first += __bfloat162float(bias[0]);
        second += __bfloat162float(bias[1]);
    }
    if (product == EXPERT_GATE_UP) {
        args.out[(int64_t)position * args.out_stride + row / 2] = __float2bfloat16(mxfp4_swiglu(first, second, args.alpha, args.limit));
    } else {
        __nv_bfloat162 both = __floats2bfloat162_rn(first, second);
        *(__nv_bfloat162 *)(args.out + (int64_t)args.groups.pairs[position] * args.out_stride + row) = both;
    }
}

template <expert_product product> __global__ void __launch_bounds__(WARPS * 32, 3) expert_small_kernel(const __grid_constant__ expert_args args)
{
    __shared__ float partial[WARPS][MXFP4_TILE_ROWS * EXPERT_SMALL_TILE];
    int item = blockIdx.y;
    if (item >= *args.groups.n_items) return;
    const mxfp4_stack &s = args.stack;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    int expert = args.groups.item_expert[item], start = args.groups.item_start[item], count = args.groups.item_count[item];
    int64_t row_tile = (int64_t)expert * s.row_tiles + blockIdx.x;

    int per_warp = (s.col_tiles + WARPS - 1) / WARPS;
    int first = warp * per_warp, last = min(first + per_warp, s.col_tiles);
    const bf16 *row = NULL;
    if (g < count) {
        int position = start + g;
        int index = product == EXPERT_GATE_UP ? args.groups.pairs[position] / args.top_k : position;
        row = args.rows + (int64_t)index * args.in_stride + 8 * t;
    }
    float sums[4] = {0, 0, 0, 0};
    for (int base = first; base < last; base += BATCH) {
        tile_load tiles[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (base + i < last) tiles[i] = load_tile(s, row_tile, base + i, lane);
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (base + i < last) add_tile(tiles[i], row, (base + i) * MXFP4_TILE_COLS, args.cols, sums);
    }
    *(float2 *)&partial[warp][g * 8 + 2 * t] = make_float2(sums[0], sums[1]);
    *(float2 *)&partial[warp][(g + 8) * 8 + 2 * t] = make_float2(sums[2], sums[3]);
    __syncthreads();
    if (threadIdx.x >= 64) return;
    int out_row = threadIdx.x / 8, token = threadIdx.x % 8;
    if (token >= count) return;
    float low = 0, high = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
        low += partial[w][out_row * 8 + token];
        high += partial[w][(out_row + 8) * 8 + token];
    }
    write_pair_of_rows<product>(args, expert, start + token, blockIdx.x, out_row, low, high);
}

void expert_small_launch(cudaStream_t stream, expert_product product, const expert_args *args, int max_items)
{
    dim3 grid((unsigned)args->stack.row_tiles, (unsigned)max_items);
    if (product == EXPERT_GATE_UP)
        expert_small_kernel<EXPERT_GATE_UP><<<grid, WARPS * 32, 0, stream>>>(*args);
    else
        expert_small_kernel<EXPERT_DOWN><<<grid, WARPS * 32, 0, stream>>>(*args);
}
