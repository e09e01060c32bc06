/* Element types that buffers between layers carry. */
#ifndef RUNTIME_BASE_DTYPE_H
#define RUNTIME_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_I32, DTYPE_U8 } dtype;

static inline size_t dtype_size(dtype type)
{
    return type == DTYPE_BF16 ? 2 : type == DTYPE_U8 ? 1 : 4;
}

/* BF16 is the upper half of a float: widening is exact. */
static inline float dtype_bf16_to_f32(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* Round to nearest, ties to even; NaN stays NaN. */
static inline uint16_t dtype_f32_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#endif
