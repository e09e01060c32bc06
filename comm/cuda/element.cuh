/* Elements in 8-byte packets, for the kernels of comm. PER: elements in a packet, which tells the type: 4 are BF16, 2 F32. */
#ifndef COMM_CUDA_ELEMENT_CUH
#define COMM_CUDA_ELEMENT_CUH

#include <cuda_bf16.h>
#include <stddef.h>
#include <stdint.h>

template <int PER> __device__ static inline void element_widen(uint2 packet, float *to)
{
    if (PER == 4) {
        to[0] = __uint_as_float(packet.x << 16);
        to[1] = __uint_as_float(packet.x & 0xffff0000u);
        to[2] = __uint_as_float(packet.y << 16);
        to[3] = __uint_as_float(packet.y & 0xffff0000u);
    } else {
        to[0] = __uint_as_float(packet.x);
        to[1] = __uint_as_float(packet.y);
    }
}

/* Two floats to one word, each rounded to nearest even. */
__device__ static inline uint32_t element_narrow_pair(float low, float high)
{
    return (uint32_t)__bfloat16_as_ushort(__float2bfloat16_rn(low)) |
           (uint32_t)__bfloat16_as_ushort(__float2bfloat16_rn(high)) << 16;
}

template <int PER> __device__ static inline uint2 element_narrow(const float *from)
{
    if (PER == 4) return make_uint2(element_narrow_pair(from[0], from[1]), element_narrow_pair(from[2], from[3]));
    return make_uint2(__float_as_uint(from[0]), __float_as_uint(from[1]));
}

/* Packet `index` of the `size` bytes at `base`, of any alignment; zeros past the end. */
__device__ static inline uint2 element_load(const unsigned char *base, size_t index, size_t size)
{
    size_t at = index * 8;
    if (at + 8 <= size && ((uintptr_t)base & 7) == 0) return *(const uint2 *)(base + at);
    uint32_t words[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (at + (size_t)i < size) words[i / 4] |= (uint32_t)base[at + (size_t)i] << (8 * (i % 4));
    return make_uint2(words[0], words[1]);
}

/* The same for writing; nothing past the end. */
__device__ static inline void element_store(unsigned char *base, size_t index, size_t size, uint2 packet)
{
    size_t at = index * 8;
    if (at + 8 <= size && ((uintptr_t)base & 7) == 0) {
        *(uint2 *)(base + at) = packet;
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (at + (size_t)i < size) base[at + (size_t)i] = (unsigned char)((i < 4 ? packet.x : packet.y) >> (8 * (i % 4)));
}

#endif
