/* Expert products for many rows per expert on Hopper: blocks of 256 weight rows by up to 128 tokens. One warpgroup brings weights and token rows into a ring
 * in shared memory; two consume it, 128 weight rows each: they dequantise their weights to the BF16 A fragments of wgmma in registers, and read the token
 * rows, B, from shared memory. A block of each multiprocessor stays and takes one piece of work (256 weight rows of one item) after the other, so
 * that copying runs ahead over the ends of pieces. Part of cuda_experts_large.cu; its twin for other architectures is cuda_experts_mma.cuh.
 *
 * Order of k. wgmma sums over k in steps of 16, which A holds in registers as cuda_mxfp4.cuh lays them out: in step s = 2 h + b of a column tile, lane t's
 * registers are k = 2t, 2t + 1 (first two columns of word s) and k = 2t + 8, 2t + 9 (last two). With q = k / 8, t = k % 8 / 2, e = k % 2:
 *     A's column at (s, k) = 32 h + 8 t + 4 b + 2 q + e
 * B reads its row in 16-byte chunks: chunk c holds k = 0..7 (c = 2 s) or 8..15 (c = 2 s + 1) of step s, so c = 4 h + 2 b + q. Counted in pairs of columns
 * (4 bytes), A wants pair 16 h + 4 t + (2 b + q) where B has word t of chunk 4 h + (2 b + q): each half row of 64 bytes is stored as the transpose of its
 * 4 x 4 pairs. So the copy goes by pairs: lane l of a warp moves pair l = 16 h + 4 t + j of a token row, 128 contiguous bytes in global memory, to word t of
 * chunk 4 h + j, which the 128-byte swizzle puts at chunk (4 h + j) ^ (row % 8): a permutation of the row's 32 banks, free of conflicts. */
#ifndef KERNELS_CUDA_CUDA_EXPERTS_WGMMA_CUH
#define KERNELS_CUDA_CUDA_EXPERTS_WGMMA_CUH

#include "kernels/cuda/cuda_experts_write.cuh"
#include "kernels/cuda/cuda_wgmma.cuh"

/* A consuming warpgroup has PARTS times 64 rows: a warp one row tile in each. */
enum { PART_ROWS = WGMMA_WARPS * MXFP4_TILE_ROWS };
enum { CONSUMERS = 2, PARTS = 2, CONSUMER_WARPS = CONSUMERS * WGMMA_WARPS, THREADS = (CONSUMERS + 1) * WGMMA_THREADS, BLOCK_TILES = PARTS * CONSUMER_WARPS };
/* The kernel starts with 168 registers a thread, the most for 384 threads: 3 x 168 = 2 x 232 + 40. */
enum { CONSUMER_REGISTERS = 232, PRODUCER_REGISTERS = 40 };
enum { STAGES = 8, MAX_TOKENS = 128 }; /* a stage is one column tile */
enum { CODES_AT = MAX_TOKENS * WGMMA_ROW_BYTES, SCALES_AT = CODES_AT + BLOCK_TILES * MXFP4_TILE_BYTES };
enum { STAGE_BYTES = (SCALES_AT + BLOCK_TILES * MXFP4_TILE_SCALE_BYTES + WGMMA_ALIGNMENT - 1) / WGMMA_ALIGNMENT * WGMMA_ALIGNMENT };
enum { SHARED_BYTES = STAGES * STAGE_BYTES };

/* In shared memory. full[i] gets an arrival of each producing thread, empty[i] of each consuming warp. */
struct ring {
    uint8_t *stages; /* [STAGES, STAGE_BYTES] */
    uint64_t *full, *empty;
};

struct ring_place {
    int slot, parity; /* parity of the times that the slot was passed */
};

__device__ static inline void advance(ring_place &place)
{
    if (++place.slot == STAGES) {
        place.slot = 0;
        place.parity ^= 1;
    }
}

/* Pieces of work, item by item: blocks that run at the same time share token rows and, from item to item, the expert's weights. */
struct work {
    int expert, start, count, first_tile;
};

__host__ __device__ static inline int row_blocks(const expert_args &args) { return (args.stack.row_tiles + BLOCK_TILES - 1) / BLOCK_TILES; }

/* Reads the item of a piece of work, spread over the lanes: nothing waits for the load before make_work. */
__device__ static inline int look_up(const expert_args &args, int index, int lane)
{
    return ((const int *)(args.groups.items + index / row_blocks(args)))[lane % 4];
}

__device__ static inline work make_work(const expert_args &args, int index, int looked_up)
{
    return {__shfl_sync(~0u, looked_up, 0), __shfl_sync(~0u, looked_up, 1), __shfl_sync(~0u, looked_up, 2), index % row_blocks(args) * BLOCK_TILES};
}

/* ---- the producing warpgroup ---- */

/* What a lane of a producing warp copies for each column tile of a piece of work. */
struct share {
    const uint8_t *codes, *scales; /* its 16 bytes of the warp's first row tile, column tile 0; scales: lanes 0..7, two a row tile */
    int row_tiles;                 /* of the warp's row tiles, those inside the matrix */
    int tokens;                    /* of the warp: warp, warp + 4, ... up to the item's end */
    uint32_t row;                  /* row index of token warp + 4 lane */
};
enum { WARP_TILES = BLOCK_TILES / WGMMA_WARPS };

template <expert_product product> __device__ static inline share find_share(const expert_args &args, const work &w, int warp, int lane)
{
    const mxfp4_stack &s = args.stack;
    int tile = w.first_tile + warp * WARP_TILES, token = WGMMA_WARPS * lane + warp;
    int64_t first = ((int64_t)w.expert * s.row_tiles + tile) * s.col_tiles;
    share out;
    out.codes = (const uint8_t *)s.tiles + first * MXFP4_TILE_BYTES + 16 * lane;
    out.scales = (const uint8_t *)s.scales + (first + lane / 2 * s.col_tiles) * MXFP4_TILE_SCALE_BYTES + 16 * (lane % 2);
    out.row_tiles = min(WARP_TILES, s.row_tiles - tile);
    out.tokens = (w.count - warp + WGMMA_WARPS - 1) / WGMMA_WARPS;
    out.row = 0;
    if (token < w.count) out.row = product == EXPERT_GATE_UP ? args.groups.pairs[w.start + token] / args.top_k : w.start + token;
    return out;
}

__device__ static inline void copy_weights(uint32_t stage, const mxfp4_stack &s, const share &from, int col_tile, int warp, int lane)
{
    uint32_t stride = (uint32_t)s.col_tiles * MXFP4_TILE_BYTES, tile = warp * WARP_TILES;
    const uint8_t *codes = from.codes + (uint32_t)col_tile * MXFP4_TILE_BYTES;
#pragma unroll
    for (int i = 0; i < WARP_TILES; i++)
        if (i < from.row_tiles) copy_async_16(stage + CODES_AT + (tile + i) * MXFP4_TILE_BYTES + 16 * lane, codes + (uint64_t)stride * i);
    if (lane / 2 < min(WARP_TILES, from.row_tiles))
        copy_async_16(stage + SCALES_AT + tile * MXFP4_TILE_SCALE_BYTES + 16 * lane, from.scales + (uint32_t)col_tile * MXFP4_TILE_SCALE_BYTES);
}

/* Token rows past the item's end stay as they are: what they give is not written. Columns past args.cols become zero: there the weights are zero, but
 * not what lies in memory. */
__device__ static inline void copy_tokens(uint32_t stage, const expert_args &args, const share &from, int col_tile, int warp, int lane)
{
    int half = lane / 16, t = lane % 16 / 4, j = lane % 4, col = col_tile * MXFP4_TILE_COLS + 2 * lane;
    int bytes = col < args.cols ? 4 : 0;
    const uint8_t *column = (const uint8_t *)(args.rows + (bytes ? col : 0));
    uint32_t stride = (uint32_t)args.in_stride * sizeof(bf16);
    /* row % 8 is warp, or warp + 4 in every other row, which flips the highest bit of the chunk */
    uint32_t to = stage + warp * WGMMA_ROW_BYTES + ((4 * half + j) ^ warp) * 16 + 4 * t;
#pragma unroll
    for (int i = 0; i < MAX_TOKENS / WGMMA_WARPS; i++) {
        if (i % 8 == 0 && i >= from.tokens) break;
        uint32_t row = __shfl_sync(~0u, from.row, i);
        if (i < from.tokens) copy_async_4((to ^ (i % 2 * 64)) + WGMMA_WARPS * WGMMA_ROW_BYTES * i, column + (uint64_t)row * stride, bytes);
    }
}

template <expert_product product> __device__ static inline void produce(const expert_args &args, const ring &r, int works, int warp, int lane)
{
    ring_place place = {0, 1}; /* parity 1: what lies in the ring before the first round counts as consumed */
    for (int index = blockIdx.x; index < works; index += gridDim.x) {
        work w = make_work(args, index, look_up(args, index, lane));
        share from = find_share<product>(args, w, warp, lane);
        for (int tile = 0; tile < args.stack.col_tiles; tile++) {
            uint32_t stage = ring_address(r.stages) + place.slot * STAGE_BYTES;
            ring_wait(r.empty + place.slot, place.parity);
            __syncwarp();
            copy_weights(stage, args.stack, from, tile, warp, lane);
            copy_tokens(stage, args, from, tile, warp, lane);
            copy_async_arrive(r.full + place.slot);
            advance(place);
        }
    }
    copy_async_wait(); /* nothing may land in the shared memory of a block that is gone */
}

/* ---- the consuming warpgroups ---- */

/* 2^(scale - 1) in both halves, as mxfp4_multiplier, of one byte of the tile's word of scales. */
template <int byte> __device__ static inline uint32_t multiplier(uint32_t scales)
{
    return __byte_perm(scales, 0, 0x4040 | 0x0101 * byte) * 128u + 0x3f003f00u; /* scale + 126 in the exponent's place; at most 254, so no carry */
}

/* Lets the producer have the slot before this one. */
__device__ static inline void release_previous(const ring &r, const ring_place &place, int lane)
{
    __syncwarp();
    if (lane == 0) ring_arrive(r.empty + (place.slot ? place.slot - 1 : STAGES - 1));
}

/* This lane's share of a column tile of one row tile. */
struct weights {
    uint4 codes;
    uint32_t scales;
};

/* Waits for the stage. `tile` is the warp's first row tile within the block. */
__device__ static inline void read_weights(weights (&w)[PARTS], const ring &r, const ring_place &place, int tile, int lane)
{
    ring_wait(r.full + place.slot, place.parity);
    __syncwarp();
    ring_fence();
    const uint8_t *stage = r.stages + place.slot * STAGE_BYTES;
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        w[i].codes = ((const uint4 *)(stage + CODES_AT + (tile + i * WGMMA_WARPS) * MXFP4_TILE_BYTES))[lane];
        w[i].scales = ((const uint32_t *)(stage + SCALES_AT + (tile + i * WGMMA_WARPS) * MXFP4_TILE_SCALE_BYTES))[lane / 4];
    }
}

/* Fragments of one step of k. */
template <int step> __device__ static inline void dequantise(uint32_t (&a)[PARTS][4], const weights (&w)[PARTS])
{
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        const uint32_t word = step == 0 ? w[i].codes.x : step == 1 ? w[i].codes.y : step == 2 ? w[i].codes.z : w[i].codes.w;
        mxfp4_fragment(word, multiplier<step / 2>(w[i].scales), multiplier<2 + step / 2>(w[i].scales), a[i]);
        wgmma_settle(a[i]);
    }
}

/* Starts the products of one step and waits for those of the step before. `tokens` names the stage's first column. */
template <int step, int TOKENS> __device__ static inline void start_products(float (&sums)[PARTS][TOKENS / 2], uint32_t (&a)[PARTS][4], uint64_t tokens)
{
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < PARTS; i++) wgmma_bf16(sums[i], a[i], tokens + 2 * step);
    wgmma_commit();
    wgmma_wait<1>();
}

/* All columns: sums += weights of the warp's row tiles times up to TOKENS tokens. While the products of one step run, the next step's fragments are dequantised
 * into the registers that the step before it has left. The order matters to the compiler, too: each wait follows a commit, or it runs all products one
 * by one. */
template <int TOKENS>
__device__ static inline void multiply(float (&sums)[PARTS][TOKENS / 2], const ring &r, ring_place &place, int col_tiles, int tile, int lane)
{
    uint32_t even[PARTS][4], odd[PARTS][4];
    weights w[PARTS], next[PARTS] = {};
    read_weights(w, r, place, tile, lane);
    dequantise<0>(even, w);
    for (int left = col_tiles; left > 0; left--) {
        uint64_t tokens = wgmma_descriptor(ring_address(r.stages) + place.slot * STAGE_BYTES);
        start_products<0, TOKENS>(sums, even, tokens);
        if (left < col_tiles) release_previous(r, place, lane);
        dequantise<1>(odd, w);
        start_products<1, TOKENS>(sums, odd, tokens);
        dequantise<2>(even, w);
        start_products<2, TOKENS>(sums, even, tokens);
        advance(place);
        if (left > 1) read_weights(next, r, place, tile, lane);
        dequantise<3>(odd, w);
        start_products<3, TOKENS>(sums, odd, tokens);
        w[0] = next[0], w[1] = next[1];
        dequantise<0>(even, w); /* of no use after the last tile */
    }
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < PARTS; i++) wgmma_settle(sums[i]);
    release_previous(r, place, lane);
}

/* For a warpgroup whose rows lie past the matrix's end: the stages count as consumed. */
__device__ static inline void pass(const ring &r, ring_place &place, int col_tiles, int lane)
{
    for (int tile = 0; tile < col_tiles; tile++) {
        ring_wait(r.full + place.slot, place.parity);
        advance(place);
        release_previous(r, place, lane);
    }
}

template <expert_product product, int TOKENS>
__device__ static inline void consume_work(const expert_args &args, const ring &r, ring_place &place, const work &w, int tile, int lane)
{
    float sums[PARTS][TOKENS / 2] = {};
    multiply<TOKENS>(sums, r, place, args.stack.col_tiles, tile, lane);
    float2 bias[PARTS];
    int row_tile = w.first_tile + tile, row = row_tile * MXFP4_TILE_ROWS + 2 * (lane / 4);
    bool inside[PARTS];
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        inside[i] = row_tile + i * WGMMA_WARPS < args.stack.row_tiles;
        bias[i] = inside[i] ? expert_bias(args.stack, w.expert, row + i * PART_ROWS) : make_float2(0, 0);
    }
#pragma unroll
    for (int j = 0; j < TOKENS / 4; j++) {
        int token = j / 2 * 8 + lane % 4 * 2 + j % 2, at = j / 2 * 4 + j % 2;
        bf16 *to = expert_place<product>(args, w.start + min(token, w.count - 1), row);
#pragma unroll
        for (int i = 0; i < PARTS; i++)
            expert_write<product>(args, to + i * expert_columns<product>(PART_ROWS), bias[i], sums[i][at], sums[i][at + 2], token < w.count && inside[i]);
    }
}

template <expert_product product> __device__ static inline void consume(const expert_args &args, const ring &r, int works, int warp, int lane)
{
    ring_place place = {0, 0};
    int group_tile = warp / WGMMA_WARPS * PARTS * WGMMA_WARPS, tile = group_tile + warp % WGMMA_WARPS;
    int looked_up = (int)blockIdx.x < works ? look_up(args, blockIdx.x, lane) : 0;
    for (int index = blockIdx.x; index < works; index += gridDim.x) {
        work w = make_work(args, index, looked_up);
        if (index + (int)gridDim.x < works) looked_up = look_up(args, index + gridDim.x, lane);
        if (w.first_tile + group_tile >= args.stack.row_tiles)
            pass(r, place, args.stack.col_tiles, lane);
        else if (w.count <= 32)
            consume_work<product, 32>(args, r, place, w, tile, lane);
        else if (w.count <= 64)
            consume_work<product, 64>(args, r, place, w, tile, lane);
        else if (w.count <= 96)
            consume_work<product, 96>(args, r, place, w, tile, lane);
        else
            consume_work<product, 128>(args, r, place, w, tile, lane);
    }
}

template <expert_product product> __device__ static inline void run_block(const expert_args &args)
{
    extern __shared__ __align__(WGMMA_ALIGNMENT) uint8_t ring_bytes[];
    __shared__ uint64_t barriers[2][STAGES];
    const ring r = {ring_bytes, barriers[0], barriers[1]};
    if (ring_address(ring_bytes) % WGMMA_ALIGNMENT) __trap(); /* the swizzle goes by the address */
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            ring_barrier_begin(r.full + i, WGMMA_THREADS);
            ring_barrier_begin(r.empty + i, CONSUMER_WARPS);
        }
        ring_barriers_ready();
    }
    __syncthreads();
    cuda_wait_for_previous();
    cuda_let_next_start();

    int works = *args.groups.n_items * row_blocks(args);
    int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    if (warp >= CONSUMER_WARPS) {
        warpgroup_give_registers<PRODUCER_REGISTERS>();
        produce<product>(args, r, works, warp - CONSUMER_WARPS, lane);
    } else {
        warpgroup_take_registers<CONSUMER_REGISTERS>();
        consume<product>(args, r, works, warp, lane);
    }
}

template <expert_product product> __global__ void __launch_bounds__(THREADS, 1) expert_wgmma_kernel(const __grid_constant__ expert_args args)
{
    if constexpr (WGMMA_BUILT) run_block<product>(args);
}

/* Whether the device runs code that was compiled for 90a: only there has the kernel a body, and needs registers. */
static bool wgmma_runs_here(void)
{
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, expert_wgmma_kernel<EXPERT_DOWN>) == cudaSuccess && attributes.numRegs > PRODUCER_REGISTERS;
}

static cudaError_t wgmma_prepare(void)
{
    cudaError_t result = cudaFuncSetAttribute(expert_wgmma_kernel<EXPERT_GATE_UP>, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES);
    if (result != cudaSuccess) return result;
    return cudaFuncSetAttribute(expert_wgmma_kernel<EXPERT_DOWN>, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES);
}

static void wgmma_launch(ops_context *c, expert_product product, const expert_args *args, int max_items)
{
    int64_t works = (int64_t)max_items * row_blocks(*args);
    auto kernel = product == EXPERT_GATE_UP ? expert_wgmma_kernel<EXPERT_GATE_UP> : expert_wgmma_kernel<EXPERT_DOWN>;
    cuda_launch(c, product == EXPERT_GATE_UP ? "experts gate_up" : "experts down", kernel, dim3((unsigned)(works < c->sm_count ? works : c->sm_count)), dim3(THREADS),
                SHARED_BYTES, *args);
}

#endif
