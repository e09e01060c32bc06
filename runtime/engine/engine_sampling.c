/* The ranges of sampling values. Apart from the engine's life, so that what only checks requests links nothing else of it. */
#include "runtime/engine/engine.h"

/* top_p, repetition_penalty: far from the smallest normal float, below which devices may take a number for 0. */
static const engine_range ranges[] = {
    {"temperature", offsetof(ops_sampling, temperature), 0, 100},
    {"top_p", offsetof(ops_sampling, top_p), 1e-30f, 1},
    {"min_p", offsetof(ops_sampling, min_p), 0, 1},
    {"presence_penalty", offsetof(ops_sampling, presence_penalty), -2, 2},
    {"frequency_penalty", offsetof(ops_sampling, frequency_penalty), -2, 2},
    {"repetition_penalty", offsetof(ops_sampling, repetition_penalty), 1e-3f, 1e3f},
};

const engine_range *engine_sampling_ranges(int *n)
{
    *n = (int)(sizeof ranges / sizeof ranges[0]);
    return ranges;
}
