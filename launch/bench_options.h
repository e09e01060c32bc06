/* What `gptoss-tp bench` was asked to do. */
#ifndef LAUNCH_BENCH_OPTIONS_H
#define LAUNCH_BENCH_OPTIONS_H

#include <stdbool.h>

#include "launch/arguments.h"
#include "runtime/base/settings.h"
#include "runtime/model/roofline.h"

enum { BENCH_DECODE = 1, BENCH_PREFILL = 2, BENCH_COLLECTIVES = 4, BENCH_LOAD = 8, BENCH_ALL = 15 };
enum { BENCH_MAX_LIST = 32, BENCH_MAX_BATCH = 8192, BENCH_MAX_TOKENS = 1 << 20 };

typedef struct bench_list {
    int values[BENCH_MAX_LIST]; /* ascending, no value twice */
    int count;
} bench_list;

typedef struct bench_options {
    unsigned cases;         /* BENCH_DECODE | ... */
    bench_list batches;     /* sequences in all groups together; count 0: not given */
    bench_list prompts;     /* tokens; count 0: not given */
    int context;            /* keys that a decode step looks at */
    double seconds;         /* of timed steps for each row of the table */
    roofline_limits limits; /* 0: not given */
    const char *json;       /* points into argv; NULL: not given */
} bench_options;

/* Reads argv, the configuration too, as configuration_read() does. On failure there is nothing to free. */
status bench_options_read(int argc, char **argv, bench_options *out, settings *s, status_detail *detail);

/* Fills in the lists that were not given: batches 1, 2, 4, ... up to max_sequences in each of `dp` groups, 1024 at most; prompts 512, 1024,
 * ... 32768 as far as the model goes. STATUS_USAGE when a given prompt or the context goes beyond `max_positions`. */
status bench_options_complete(bench_options *o, int64_t max_sequences, int dp, int max_positions, status_detail *detail);

/* "1,2,64" to a list; false for anything but numbers within least..most, and for too many. Pure, as the next. */
bool bench_options_list(const char *text, int least, int most, bench_list *out);
/* "4.55TB/s", "4550 GB/s", "790T", "1e12": a positive number, k, M, G, T or P, and the unit or nothing. */
bool bench_options_rate(const char *text, const char *unit, double *out);

#endif
