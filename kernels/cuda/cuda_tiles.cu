/* A warp per tile: each lane gathers its 4 words from two rows, 4 bytes per row and 32 columns. */
#include "kernels/cuda/cuda_tiles.cuh"

#include <math.h>

#include "kernels/cuda/cuda_random.cuh"

enum { WARPS = 8, BLOCK = 32, BLOCK_BYTES = 16 }; /* BLOCK: columns that share a scale */

static int64_t row_tiles(int64_t rows) { return rows / MXFP4_TILE_ROWS; }
static int64_t col_tiles(int64_t cols) { return (cols + MXFP4_TILE_COLS - 1) / MXFP4_TILE_COLS; }

size_t cuda_tiles_bytes(int64_t rows, int64_t cols)
{
    return (size_t)(row_tiles(rows) * col_tiles(cols)) * MXFP4_TILE_BYTES;
}
size_t cuda_tiles_scale_bytes(int64_t rows, int64_t cols)
{
    return (size_t)(row_tiles(rows) * col_tiles(cols)) * MXFP4_TILE_SCALE_BYTES;
}

/* ---- where rows come from --------------------------------------------------------------------------------------- */

struct raw_source {
    const uint8_t *codes, *scales; /* [n, blocks * 16], [n, blocks] */
    /* Columns 8 t to 8 t + 7 of a block, one nibble each. */
    __device__ uint32_t codes_of(int64_t row, int blocks, int block, int t) const
    {
        return __ldg((const uint32_t *)(codes + (row * blocks + block) * BLOCK_BYTES) + t);
    }
    __device__ uint32_t scale_of(int64_t row, int blocks, int block) const
    {
        return __ldg(scales + row * blocks + block);
    }
};

struct random_source {
    uint64_t seed;
    int centre; /* the middle one of three scales */
    __device__ uint32_t codes_of(int64_t row, int blocks, int block, int t) const
    {
        uint64_t bits = cuda_random_at(seed, row * blocks + block);
        return (uint32_t)(cuda_random_mix(t < 2 ? bits : bits + 1) >> (32 * (t & 1)));
    }
    __device__ uint32_t scale_of(int64_t row, int blocks, int block) const
    {
        return (uint32_t)(centre - 1 + (int)(cuda_random_at(seed, row * blocks + block) % 3));
    }
};

/* ---- kernel ----------------------------------------------------------------------------------------------------- */

/* A half of a word: the codes that registers 0 to 3 have at one k. */
__device__ static uint32_t pack_half(uint32_t code0, uint32_t code1, uint32_t code2, uint32_t code3)
{
    uint32_t signs = (code0 & 8u) << 12 | (code2 & 8u) << 11 | (code3 & 8u) << 10 | (code1 & 8u) << 9;
    return signs | (code0 & 7u) << 9 | (code1 & 7u) << 6 | (code2 & 7u) << 3 | (code3 & 7u);
}

/* Four columns of two rows, a nibble each, as one word: registers 0 and 2 take the upper row, 1 and 3 the lower one. */
__device__ static uint32_t interleave(uint32_t upper, uint32_t lower)
{
    uint32_t u[4], l[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u[i] = upper >> (4 * i) & 15u;
        l[i] = lower >> (4 * i) & 15u;
    }
    return pack_half(u[0], l[0], u[2], l[2]) | pack_half(u[1], l[1], u[3], l[3]) << 16;
}

/* grid: blocks of WARPS tiles; first_tile: the row tile that row 0 of the source belongs to. */
template <typename source>
__global__ void __launch_bounds__(32 * WARPS) tiles_kernel(const source from, int64_t n_row_tiles, int64_t first_tile,
                                                           const cuda_tiles out, uint64_t tag, unsigned long long *bad)
{
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int blocks = out.cols / BLOCK, across = (blocks + 1) / 2;
    int64_t tile = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (tile >= n_row_tiles * across) return;
    int64_t row = tile / across * MXFP4_TILE_ROWS + 2 * g;
    int col_tile = (int)(tile % across);
    uint32_t words[4] = {}, scales = 0;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int block = 2 * col_tile + half;
        if (block >= blocks) continue;
        uint32_t upper = from.codes_of(row, blocks, block, t), lower = from.codes_of(row + 1, blocks, block, t);
        words[2 * half] = interleave(upper & 0xffffu, lower & 0xffffu);
        words[2 * half + 1] = interleave(upper >> 16, lower >> 16);
        uint32_t above = from.scale_of(row, blocks, block), below = from.scale_of(row + 1, blocks, block);
        scales |= above << (8 * half) | below << (8 * half + 16);
        if (above > MXFP4_MAX_SCALE) atomicMin(bad, (unsigned long long)(tag + (uint64_t)row));
        if (below > MXFP4_MAX_SCALE) atomicMin(bad, (unsigned long long)(tag + (uint64_t)row + 1));
    }
    int64_t index = first_tile * across + tile;
    out.tiles[index * 32 + lane] = make_uint4(words[0], words[1], words[2], words[3]);
    if (t == 0) out.scales[index * 8 + g] = scales;
}

template <typename source>
static void launch(cudaStream_t stream, const source &from, const cuda_tiles *out, int64_t first, int64_t n,
                   uint64_t tag, unsigned long long *bad)
{
    int64_t tiles = row_tiles(n) * col_tiles(out->cols);
    if (tiles == 0) return;
    tiles_kernel<source><<<(unsigned)((tiles + WARPS - 1) / WARPS), 32 * WARPS, 0, stream>>>(
        from, row_tiles(n), row_tiles(first), *out, tag, bad);
}

void cuda_tiles_repack(cudaStream_t stream, const cuda_tiles *out, int64_t first, int64_t n, const uint8_t *codes,
                       const uint8_t *scales, uint64_t tag, unsigned long long *bad)
{
    raw_source from = {codes, scales};
    launch(stream, from, out, first, n, tag + (uint64_t)first, bad);
}

void cuda_tiles_random(cudaStream_t stream, const cuda_tiles *out, int64_t n, uint64_t seed)
{
    /* codes drawn uniformly have a deviation of 2.9; matrices get 1 / sqrt(cols), so that products keep their input's
     * size */
    random_source from = {seed, 127 + (int)lroundf(log2f(1.0f / sqrtf((float)out->cols) / 2.9f))};
    launch(stream, from, out, 0, n, 0, NULL);
}
