#include "runtime/model/synth_random.h"

#include <math.h>
#include <string.h>

#include "runtime/base/dtype.h"

static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static uint64_t next(synth_random *r)
{
    uint64_t *s = r->state, result = rotate(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

static uint64_t split_mix(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

synth_random synth_random_seed(uint64_t seed, uint64_t stream)
{
    synth_random r;
    uint64_t x = seed;
    x = split_mix(&x) ^ (stream * 0xd1342543de82ef95u + 1);
    for (int i = 0; i < 4; i++) r.state[i] = split_mix(&x);
    return r;
}

void synth_random_codes(synth_random *r, uint8_t *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = next(r);
        memcpy(out + i, &word, 8);
    }
}

void synth_random_scales(synth_random *r, uint8_t *out, size_t bytes, int base)
{
    const uint64_t ones = 0x0101010101010101u;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = next(r);
        word = (word & ones) + (word >> 1 & ones) + ones * (uint64_t)(base - 1); /* eight bytes at once: none carries */
        memcpy(out + i, &word, 8);
    }
}

void synth_random_bf16(synth_random *r, uint8_t *out, size_t bytes, float mean, float deviation)
{
    float unit = deviation * 1.7320508f / 65536.0f; /* uniform on (-a, a) has the deviation a / sqrt(3) */
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = next(r);
        uint16_t values[4];
        for (int k = 0; k < 4; k++) {
            int odd = 2 * (int)(int16_t)(word >> (16 * k)) + 1;
            values[k] = dtype_f32_to_bf16(mean + unit * (float)odd);
        }
        memcpy(out + i, values, 8);
    }
}

int synth_random_scale_base(int64_t columns)
{
    /* Mean square of the codes' values is 8.5625, of the powers of two around the base 1.5625. */
    double deviation = sqrt(8.5625 * 1.5625 * (double)columns);
    return 127 - (int)lround(log2(deviation));
}
