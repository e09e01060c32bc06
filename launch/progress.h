/* How far a long copy is: a bar on a terminal, a line every tenth elsewhere. On standard error. */
#ifndef LAUNCH_PROGRESS_H
#define LAUNCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    const char *what;    /* "writing" */
    bool started, terminal;
    int shown;           /* percent on a terminal, tenths elsewhere */
    double began;        /* CLOCK_MONOTONIC seconds */
} progress;

/* {0} but for `what` begins. The line ends when done == total. */
void progress_show(progress *p, int64_t done, int64_t total);

#endif
