/* MXFP4 weights as the tensor cores want them: how place() lays them out, and how a warp turns them into BF16 fragments.
 *
 * A stack of matrices [experts, rows, cols] becomes tiles of 16 rows by 64 columns, [expert][row tile][column tile], 512 bytes each: 16 bytes
 * per lane, which hold the lane's share of four mma.m16n8k16 A fragments. cols is padded to a multiple of 64 with zeros. Within a tile
 * (g = lane / 4, t = lane % 4):
 *
 *   fragment rows   g and g + 8 are the matrix rows 2g and 2g + 1 of the tile: gate and up of one column land in the same thread
 *   word s (0..3)   columns 32 (s / 2) + 8 t + 4 (s % 2) + {0, 1, 2, 3}: so a lane's share of an activation row is 16 contiguous bytes per
 *                   32 columns. The order of k inside a product is free as long as both operands agree.
 *   bits            a word holds the codes s|ee|m of the four fragment registers (p = 0..3: (row g, k 0,1), (row g + 8, k 0,1), (row g, k 2,3),
 *                   (row g + 8, k 2,3)), the first k of a register in the low half of the word, the second in the high half:
 *                     bit of a half   15  14  13  12   11 10 9   8 7 6   5 4 3   2 1 0
 *                                     s0  s2  s3  s1   e0 e0 m0  e e m1  e e m2  e e m3
 *                   so that registers take masks and shifts to the left, which the multipliers can do, and two of them one shift for both fields.
 *
 * Scales: [expert][row tile][column tile][g] one 32-bit word: rows 2g (columns 0-31, 32-63), 2g + 1 (likewise).
 *
 * Two ways to numbers. FP16: a code moved to bits 15 and 11..9 is 2^-14 times its value (subnormals included); the scale is applied to the sums of
 * 32 columns, which costs least where few tokens share a weight. BF16: a code moved to bits 15 and 8..6 is 2^-126 times its value;
 * multiplying by 2^(scale - 1) gives the exact weight value * 2^(scale - 127), which costs least where many tokens do. There scales above
 * 128 would overflow; they are refused when weights are placed. OCP Microscaling Formats (MX) v1.0, section 5.3.
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

/* `bias` may be absent. In cuda_experts.cu. */
mxfp4_stack mxfp4_stack_of(const ops_weight *w, const ops_weight *bias);

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

/* One word to one BF16 A fragment; `low` and `high` are the multipliers of rows g and g + 8. */
__device__ static inline void mxfp4_fragment(uint32_t word, uint32_t low, uint32_t high, uint32_t a[4])
{
    const uint32_t number = 0x01c001c0u, sign = 0x80008000u;
    a[0] = mxfp4_mul(((word >> 3) & number) | (word & sign), low);
    a[1] = mxfp4_mul((word & number) | ((word << 3) & sign), high);
    a[2] = mxfp4_mul(((word << 3) & number) | ((word << 1) & sign), low);
    a[3] = mxfp4_mul(((word << 6) & number) | ((word << 2) & sign), high);
}

/* One word to one FP16 A fragment of values times 2^-14: sums of them want MXFP4_HALF_UNSCALE. */
#define MXFP4_HALF_UNSCALE 16384.0f
__device__ static inline void mxfp4_fragment_half(uint32_t word, uint32_t a[4])
{
    const uint32_t number = 0x0e000e00u, sign = 0x80008000u;
    a[0] = word & (number | sign);
    a[1] = (word << 3) & (number | sign);
    a[2] = (word & 0x40384038u) * (64 + 2) & (number | sign); /* number and sign by two shifts in one product; what else comes of it stays clear of them */
    a[3] = (word & 0x20072007u) * (512 + 4) & (number | sign);
}

/* Byte `index` of a word of scales as a factor: 2^(scale - 127). */
__device__ static inline float mxfp4_scale(uint32_t scales, int index)
{
    const uint32_t exponent = 0x7f800000u;
    return __uint_as_float((index < 3 ? scales << (23 - 8 * index) : scales >> 1) & exponent);
}

/* d += a b, FP16 in, F32 out */
__device__ static inline void mxfp4_mma_half(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* d += a b, BF16 in, F32 out: mma.sync.m16n8k16 (PTX ISA 9.7.14) */
__device__ static inline void mxfp4_mma(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* gate * sigmoid(alpha * gate) * (up + 1) after the clamps; openai/gpt-oss `gpt_oss/torch/model.py` swiglu. */
__device__ static inline float mxfp4_swiglu(float gate, float up, float alpha, float limit)
{
    gate = fminf(gate, limit);
    up = fminf(fmaxf(up, -limit), limit);
    return __fdividef(gate, 1.0f + __expf(-alpha * gate)) * (up + 1.0f); /* a divisor too large for it gives 0, as it should */
}

#endif
