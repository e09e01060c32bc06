/* MXFP4 weights as the tensor cores want them: how place() lays them out, and how a warp turns them into BF16 fragments.
 *
 * A stack of matrices [experts, rows, cols] becomes tiles of 16 rows by 64 columns, [expert][row tile][column tile], 512 bytes each: 16 bytes
 * per lane, which hold the lane's share of four mma.m16n8k16 A fragments. cols is padded to a multiple of 64 with zeros. Within a tile
 * (g = lane / 4, t = lane % 4):
 *
 *   fragment rows   g and g + 8 are the matrix rows 2g and 2g + 1 of the tile: gate and up of one column land in the same thread
 *   word s (0..3)   columns 32 (s / 2) + 8 t + 4 (s % 2) + {0, 1, 2, 3}: so a lane's share of an activation row is 16 contiguous bytes per
 *                   32 columns. The order of k inside a product is free as long as both operands agree.
 *   nibbles         p and p + 4 of the word are the low and high half of fragment register p: (row g, k 0,1), (row g + 8, k 0,1),
 *                   (row g, k 2,3), (row g + 8, k 2,3)
 *
 * Scales: [expert][row tile][column tile][g] one 32-bit word: rows 2g (columns 0-31, 32-63), 2g + 1 (likewise).
 *
 * A code s|ee|m, moved to bits 15 and 8..6 of a BF16, is the number 2^-126 times its value (subnormals included); multiplying by
 * 2^(scale - 1) gives the exact weight value * 2^(scale - 127). Scales above 128 would overflow and are refused when weights are placed.
 * OCP Microscaling Formats (MX) v1.0, section 5.3.
 */
#ifndef KERNELS_CUDA_CUDA_MXFP4_CUH
#define KERNELS_CUDA_CUDA_MXFP4_CUH

#include "kernels/cuda/cuda.h"

enum { MXFP4_TILE_ROWS = 16, MXFP4_TILE_COLS = 64, MXFP4_TILE_BYTES = 512, MXFP4_TILE_SCALE_BYTES = 32, MXFP4_MAX_SCALE = 128 };

/* A packed stack on the device. */
typedef struct mxfp4_stack {
    const uint4 *tiles;      /* [experts, row_tiles, col_tiles, 32 lanes] */
    const uint32_t *scales;  /* [experts, row_tiles, col_tiles, 8] */
    const bf16 *bias;        /* [experts, rows], or NULL */
    int rows, row_tiles, col_tiles;
    int64_t bias_stride;     /* elements between experts */
} mxfp4_stack;

/* 2^(scale - 1) in both halves: the BF16 exponent field of 2^(s-1) is s + 126. s = 0 gives 2^-1 * 2^-126... = a subnormal weight. */
__device__ static inline uint32_t mxfp4_multiplier(uint32_t scale)
{
    uint32_t half = (scale + 126u) << 7;
    return half | half << 16;
}

/* a * b in both halves, exact here as b is a power of two. As a fused product with -0, which compute capability 8.0 has too. */
__device__ static inline uint32_t mxfp4_mul(uint32_t a, uint32_t b)
{
    uint32_t out;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(0x80008000u));
    return out;
}

/* One word to one A fragment; `low` and `high` are the multipliers of rows g and g + 8. */
__device__ static inline void mxfp4_fragment(uint32_t word, uint32_t low, uint32_t high, uint32_t a[4])
{
    a[0] = mxfp4_mul(((word << 6) & 0x01c001c0u) | ((word << 12) & 0x80008000u), low);
    a[1] = mxfp4_mul(((word << 2) & 0x01c001c0u) | ((word << 8) & 0x80008000u), high);
    a[2] = mxfp4_mul(((word >> 2) & 0x01c001c0u) | ((word << 4) & 0x80008000u), low);
    a[3] = mxfp4_mul(((word >> 6) & 0x01c001c0u) | (word & 0x80008000u), high);
}

/* d += a b, BF16 in, F32 out: mma.sync.m16n8k16 (PTX ISA 9.7.14) */
__device__ static inline void mxfp4_mma(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* gate * sigmoid(alpha * gate) * (up + 1) after the clamps; openai/gpt-oss `gpt_oss/torch/model.py` swiglu. */
__device__ static inline float mxfp4_swiglu(float gate, float up, float alpha, float limit)
{
    gate = fminf(gate, limit);
    up = fminf(fmaxf(up, -limit), limit);
    return gate / (1.0f + __expf(-alpha * gate)) * (up + 1.0f);
}

#endif
