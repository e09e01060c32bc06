#include "launch/bench_samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double bench_samples_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double bench_samples_mean(const bench_samples *s)
{
    double sum = 0;
    for (int i = 0; i < s->count; i++) sum += s->seconds[i];
    return s->count ? sum / s->count : 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_samples_quantile(const bench_samples *s, double share)
{
    double sorted[BENCH_MAX_SAMPLES];
    if (s->count == 0) return 0;
    memcpy(sorted, s->seconds, (size_t)s->count * sizeof *sorted);
    qsort(sorted, (size_t)s->count, sizeof *sorted, ascending);
    int rank = (int)ceil(share * s->count);
    return sorted[rank > 0 ? rank - 1 : 0];
}

int bench_samples_repeats(double seconds, double each, int least, int most)
{
    double wanted = each > 0 ? seconds / each : most;
    return wanted <= least ? least : wanted >= most ? most : (int)wanted;
}
