/* How far a long copy is: a bar with rate and time left on a terminal, a line every tenth or half a minute elsewhere. On standard error. */
#ifndef LAUNCH_PROGRESS_H
#define LAUNCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    const char *what;       /* "writing" */
    const char *unit;       /* "requests"; NULL: bytes */
    char also[64];          /* stands after the rate: ", 120 tokens/s" */
    bool started, terminal;
    bool open;              /* on a terminal: the bar's line has not ended */
    int64_t shown;          /* bytes or units that the last showing told of */
    double shown_at;        /* CLOCK_MONOTONIC seconds */
    double rate;            /* of bytes or units per second of late; 0: not known yet */
} progress;

/* {0} but for `what` and `unit` begins; `also` may change at any time; what is done at the first call was there before and counts for no rate. The line ends when done == total. */
void progress_show(progress *p, int64_t done, int64_t total);
/* Something else is about to be printed: ends the line, if there is one. */
void progress_pause(progress *p);

/* "45 s", "3 min 20 s", "1 h 05 min"; "?" when it is not known (< 0). Returns `out`. */
const char *progress_time(double seconds, char out[32]);

#endif
