/* Durations of repeated work, and how they spread. */
#ifndef LAUNCH_BENCH_SAMPLES_H
#define LAUNCH_BENCH_SAMPLES_H

enum { BENCH_MAX_SAMPLES = 4096 };

typedef struct bench_samples {
    double seconds[BENCH_MAX_SAMPLES];
    int count;
} bench_samples;

double bench_samples_now(void); /* CLOCK_MONOTONIC seconds */

double bench_samples_mean(const bench_samples *s);
/* The smallest sample that at least `share` (0..1) of them do not exceed: 0.5 the median, 0.99 the 99th percentile. 0 when there is none. */
double bench_samples_quantile(const bench_samples *s, double share);

/* How often to repeat work that takes `each` seconds to fill `seconds`, within least..most. */
int bench_samples_repeats(double seconds, double each, int least, int most);

#endif
