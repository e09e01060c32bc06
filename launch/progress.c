#include "launch/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/bytes.h"
#include "runtime/base/log.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_show(progress *p, int64_t done, int64_t total)
{
    enum { WIDTH = 40 };
    char of[32], so_far[32], rate[32];
    if (!p->started) {
        p->started = true;
        p->terminal = isatty(STDERR_FILENO);
        p->shown = -1;
        p->began = now();
    }
    double share = total > 0 ? (double)done / (double)total : 1, seconds = now() - p->began;
    int shown = (int)(share * (p->terminal ? 100 : 10));
    if (shown == p->shown) return;
    p->shown = shown;
    bytes_format(total, of);
    bytes_format(done, so_far);
    bytes_format(seconds > 0 ? (int64_t)((double)done / seconds) : 0, rate);
    if (!p->terminal) {
        log_info("%s: %s of %s", p->what, so_far, of);
        return;
    }
    fprintf(stderr, "\r%s [", p->what);
    for (int i = 0; i < WIDTH; i++) fputc(i < (int)(share * WIDTH) ? '#' : ' ', stderr);
    fprintf(stderr, "] %3d %% of %s, %s/s \033[K%s", (int)(share * 100), of, rate, done == total ? "\n" : "");
    fflush(stderr);
}
