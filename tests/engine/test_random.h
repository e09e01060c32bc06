/* A small seeded generator for the engine's tests (splitmix64, Steele et al. 2014): the same numbers on every machine. */
#ifndef TESTS_ENGINE_TEST_RANDOM_H
#define TESTS_ENGINE_TEST_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct test_random {
    uint64_t state;
} test_random;

static inline uint64_t test_random_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t test_random_next(test_random *r) { return test_random_mix(r->state += 0x9e3779b97f4a7c15u); }

/* low..high, both included. */
static inline int test_random_range(test_random *r, int low, int high)
{
    return low + (int)(test_random_next(r) % (uint64_t)(high - low + 1));
}

static inline bool test_random_chance(test_random *r, int percent) { return test_random_range(r, 0, 99) < percent; }

#endif
