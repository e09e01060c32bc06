/* What the device of a rank can do at most, and where that figure comes from. */
#ifndef LAUNCH_BENCH_LIMITS_H
#define LAUNCH_BENCH_LIMITS_H

#include "kernels/ops.h"
#include "runtime/model/roofline.h"

typedef struct bench_limits {
    roofline_limits limits;    /* of one rank; 0: unknown */
    const char *bandwidth_from, *flops_from; /* static texts */
    char device[128];          /* its name */
} bench_limits;

/* `given` wins; then the table of known devices; then, for host memory, what `threads` threads read from 256 MiB, which the ranks of
 * a host should do at the same time. `gpu`: which one is ours; `sharers`: how many ranks share it, so that each has a part of what is known. */
void bench_limits_find(const ops_caps *caps, int gpu, int sharers, int threads, const roofline_limits *given, bench_limits *out);

#endif
