/* Where a measurement comes from, in JSON: the build, and the run. */
#ifndef LAUNCH_BENCH_ORIGIN_H
#define LAUNCH_BENCH_ORIGIN_H

#include <jansson.h>

/* {"version": ..., "compiler": ..., ...}: the lines of `gptoss-tp --version`. A new reference, NULL without memory; so is the other. */
json_t *bench_origin_build(void);
/* {"date": UTC, "host": ..., "command": [...], "launcher": [...]}: the words of this process and of what started the ranks, exactly. */
json_t *bench_origin_run(void);

#endif
