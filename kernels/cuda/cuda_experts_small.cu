/* Expert products for up to 16 pairs an item, bound by reading the weights: for shapes and GPUs that cuda_experts_stream.cu does not serve. A warp owns one tile of 16 weight rows, or a share of its columns, and streams
 * it with the next tiles' loads in flight while the present ones are multiplied; every weight byte is read once per item, as 512 contiguous bytes a warp.
 *
 * Unpacking is what a stream at memory speed leaves least time for: about 100 instructions per tile of 16 x 64 and warp. So weights become FP16 without
 * a multiplication (cuda_mxfp4.cuh), and a block's scale meets the sums of its 32 columns. Token rows are FP16 too, which holds them: RMSNorm bounds a
 * normed row by the root of its length times the norm's weight, the clamps bound an activation by limit * (limit + 1). */
#include "kernels/cuda/cuda_experts.cuh"

enum { WARPS = 4, BATCH = 4, MAX_SPLIT = 4 }; /* BATCH: column tiles of a warp in flight, besides those being multiplied */

struct tile_batch {
    uint4 codes[BATCH];
    uint32_t scales[BATCH];
};

__device__ static void load_batch(tile_batch &b, const mxfp4_stack &s, int64_t row_tile, int col_tile, int last, int lane)
{
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
        if (col_tile + i >= last) break;
        int64_t index = row_tile * s.col_tiles + col_tile + i;
        b.codes[i] = __ldcs(s.tiles + index * 32 + lane); /* read once: first to leave the caches */
        b.scales[i] = __ldcs(s.scales + index * 8 + lane / 4);
    }
}

/* sums[n][0..1]: row g of tokens 8 n + 2 t, 8 n + 2 t + 1; sums[n][2..3]: row g + 8. rows[n]: this lane's share of token 8 n + g, or NULL. */
template <int N> __device__ static void add_half(const uint32_t words[2], float low, float high, const half *const rows[N], int col, bool inside, float sums[N][4])
{
    uint32_t first[4], second[4];
    mxfp4_fragment_half(words[0], first);
    mxfp4_fragment_half(words[1], second);
#pragma unroll
    for (int n = 0; n < N; n++) {
        uint4 x = make_uint4(0, 0, 0, 0);
        if (rows[n] && inside) x = *(const uint4 *)(rows[n] + col);
        float product[4] = {};
        mxfp4_mma_half(product, first, x.x, x.y);
        mxfp4_mma_half(product, second, x.z, x.w);
        sums[n][0] = fmaf(product[0], low, sums[n][0]);
        sums[n][1] = fmaf(product[1], low, sums[n][1]);
        sums[n][2] = fmaf(product[2], high, sums[n][2]);
        sums[n][3] = fmaf(product[3], high, sums[n][3]);
    }
}

template <int N> __device__ static void add_batch(const tile_batch &b, const half *const rows[N], int col_tile, int last, int cols, float sums[N][4])
{
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
        if (col_tile + i >= last) break;
        int col = (col_tile + i) * MXFP4_TILE_COLS;
        uint32_t low[2] = {b.codes[i].x, b.codes[i].y}, high[2] = {b.codes[i].z, b.codes[i].w};
        add_half<N>(low, mxfp4_scale(b.scales[i], 0), mxfp4_scale(b.scales[i], 2), rows, col, true, sums);
        add_half<N>(high, mxfp4_scale(b.scales[i], 1), mxfp4_scale(b.scales[i], 3), rows, col + 32, col + 32 < cols, sums);
    }
}

/* Adds what the other warps of this row tile have; their sums end in the first of them. */
template <int N> __device__ static void gather_split(float sums[N][4], int split, int part, int warp, int lane)
{
    __shared__ float shared[WARPS][N][4][32];
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) shared[warp][n][i][lane] = sums[n][i];
    __syncthreads();
    if (part > 0) return;
    for (int other = 1; other < split; other++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sums[n][i] += shared[warp + other][n][i][lane];
}

/* grid: (row tiles * split / WARPS, items). Items hold at most 8 N pairs. */
template <expert_product product, int N> __global__ void __launch_bounds__(WARPS * 32, 4) expert_small_kernel(const __grid_constant__ expert_args args, int split)
{
    const mxfp4_stack &s = args.stack;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4, part = warp % split;
    int tile = blockIdx.x * (WARPS / split) + warp / split;
    if (product == EXPERT_GATE_UP) { /* the groups come from the kernel before; for `down` they are older */
        cuda_wait_for_previous();
        cuda_let_next_start();
    }
    bool wanted = (int)blockIdx.y < *args.groups.n_items;
    int4 item = args.groups.items[blockIdx.y]; /* of an earlier step where there is none now */
    bool active = wanted && tile < s.row_tiles;
    int64_t row_tile = (int64_t)item.x * s.row_tiles + tile;
    int first = s.col_tiles * part / split, last = active ? s.col_tiles * (part + 1) / split : first;
    __nv_bfloat162 bias = __floats2bfloat162_rn(0, 0);
    int row = tile * MXFP4_TILE_ROWS + 2 * g;
    if (active && s.bias && part == 0) bias = *(const __nv_bfloat162 *)(s.bias + item.x * s.bias_stride + row);
    tile_batch now, next;
    load_batch(now, s, row_tile, first, last, lane);
    if (product == EXPERT_DOWN) {
        cuda_wait_for_previous();
        cuda_let_next_start();
    }
    if (!wanted) return; /* the whole block */

    const half *rows[N];
#pragma unroll
    for (int n = 0; n < N; n++) {
        int position = item.y + 8 * n + g;
        rows[n] = NULL;
        if (8 * n + g >= item.z) continue;
        int index = product == EXPERT_GATE_UP ? args.groups.pairs[position] / args.top_k : position;
        rows[n] = (const half *)args.rows + (int64_t)index * args.in_stride + 8 * t;
    }
    float sums[N][4] = {};
    for (int base = first; base < last; base += 2 * BATCH) {
        load_batch(next, s, row_tile, base + BATCH, last, lane);
        add_batch<N>(now, rows, base, last, args.cols, sums);
        load_batch(now, s, row_tile, base + 2 * BATCH, last, lane);
        add_batch<N>(next, rows, base + BATCH, last, args.cols, sums);
    }
    if (split > 1) gather_split<N>(sums, split, part, warp, lane);
    if (!active || part > 0) return;
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int token = 8 * n + 2 * t + i;
            if (token < item.z) expert_write_two<product>(args, item.y + token, row, bias, sums[n][i], sums[n][2 + i]);
        }
}

/* Warps enough to keep the memory busy: the columns of a tile are split where there are few tiles. */
static int split_for(const ops_context *c, const expert_args *args, int max_items)
{
    enum { WARPS_PER_SM = 8 };
    int split = 1;
    while (split < MAX_SPLIT && (int64_t)args->stack.row_tiles * max_items * split < WARPS_PER_SM * c->sm_count) split *= 2;
    return split;
}

template <int N> static void launch(ops_context *c, expert_product product, const expert_args *args, int max_items)
{
    int split = split_for(c, args, max_items), tiles = WARPS / split;
    dim3 grid((unsigned)((args->stack.row_tiles + tiles - 1) / tiles), (unsigned)max_items);
    if (product == EXPERT_GATE_UP)
        cuda_launch(c, "experts gate_up", expert_small_kernel<EXPERT_GATE_UP, N>, grid, dim3(32 * WARPS), 0, *args, split);
    else
        cuda_launch(c, "experts down", expert_small_kernel<EXPERT_DOWN, N>, grid, dim3(32 * WARPS), 0, *args, split);
}

void expert_small_launch(ops_context *c, expert_product product, const expert_args *args, int tile, int max_items)
{
    if (tile <= 8)
        launch<1>(c, product, args, max_items);
    else
        launch<2>(c, product, args, max_items);
}
