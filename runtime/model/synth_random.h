/* Random weights, fast enough to wait for the disk. Internal to the model layer.
 *
 * Generator: xoshiro256++, seeded by SplitMix64 (Blackman, Vigna: Scrambled linear pseudorandom number generators,
 * 2021).
 */
#ifndef RUNTIME_MODEL_SYNTH_RANDOM_H
#define RUNTIME_MODEL_SYNTH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct synth_random {
    uint64_t state[4];
} synth_random;

/* Streams of one seed are independent: each tensor has its own, so the shards they land in do not matter. */
synth_random synth_random_seed(uint64_t seed, uint64_t stream);

/* Each fills whole groups of 8 bytes: the room behind `out` is `bytes` rounded up to 8. */
void synth_random_codes(synth_random *r, uint8_t *out, size_t bytes); /* all 16 MXFP4 codes alike */
/* Scale bytes base - 1, base, base, base + 1, so that blocks of a row differ. */
void synth_random_scales(synth_random *r, uint8_t *out, size_t bytes, int base);
/* BF16, uniform around `mean`; never 0 for mean 0. */
void synth_random_bf16(synth_random *r, uint8_t *out, size_t bytes, float mean, float deviation);

/* The base for which a row of `columns` random codes, dotted with a vector of standard deviation 1, gives about 1. */
int synth_random_scale_base(int64_t columns);

#endif
