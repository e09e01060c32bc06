#include "runtime/engine/kv_hash.h"

/* The fold of a 128-bit product is wyhash's mixing step (wangyi-fudan/wyhash); the odd constants are digits of pi and e. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static const uint64_t PI_DIGITS = 0x243f6a8885a308d3u, E_DIGITS = 0xb7e151628aed2a6bu;

kv_hash kv_hash_block(kv_hash key, kv_hash parent, const int32_t *ids, int n)
{
    kv_hash h = {parent.lo ^ key.lo, parent.hi ^ key.hi};
    for (int i = 0; i < n; i++) {
        uint64_t id = (uint32_t)ids[i] + ((uint64_t)(i + 1) << 32);
        h.lo = fold(h.lo ^ id ^ PI_DIGITS, key.hi ^ E_DIGITS) + h.hi;
        h.hi = fold(h.hi ^ id ^ E_DIGITS, key.lo ^ PI_DIGITS) ^ h.lo;
    }
    return h;
}

uint64_t kv_hash_mix(uint64_t value) { return fold(value ^ PI_DIGITS, value + E_DIGITS) ^ (value >> 7); }
