#include "launch/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/bytes.h"
#include "runtime/base/log.h"

enum { WIDTH = 40 };
static const double BAR_EVERY = 0.2, LINE_EVERY = 30, MEMORY = 5; /* seconds; MEMORY: over which the rate is averaged, roughly */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *progress_time(double seconds, char out[32])
{
    if (seconds < 0 || seconds > 1e7) return snprintf(out, 32, "?"), out;
    int s = (int)(seconds + 0.5);
    if (s < 60)
        snprintf(out, 32, "%d s", s);
    else if (s < 3600)
        snprintf(out, 32, "%d min %02d s", s / 60, s % 60);
    else
        snprintf(out, 32, "%d h %02d min", s / 3600, s % 3600 / 60);
    return out;
}

static bool is_due(const progress *p, int64_t done, int64_t total, double since)
{
    if (done == total) return p->shown != total;
    if (p->terminal) return since >= BAR_EVERY;
    return since >= LINE_EVERY || (total > 0 && 10.0 * (double)done / (double)total >= 1 + (int)(10.0 * (double)p->shown / (double)total));
}

static const char *amount(const progress *p, double value, int decimals, char out[48])
{
    if (!p->unit) return bytes_format((int64_t)value, out);
    int size = snprintf(out, 48, "%.*f", decimals, value);
    if (size < 48) snprintf(out + size, (size_t)(48 - size), " %s", p->unit);
    return out;
}

static void print_bar(progress *p, double share, const char *of, const char *rate, const char *left)
{
    fprintf(stderr, "\r%s [", p->what);
    for (int i = 0; i < WIDTH; i++) fputc(i < (int)(share * WIDTH) ? '#' : ' ', stderr);
    fprintf(stderr, "] %3d %% of %s, %s/s%s%s%s\033[K", (int)(share * 100), of, rate, p->also, *left ? ", left: " : "", left);
    fflush(stderr);
    p->open = true;
}

void progress_show(progress *p, int64_t done, int64_t total)
{
    char of[48], so_far[48], rate[48], left[32] = "";
    bool first = !p->started;
    if (first) *p = (progress){.what = p->what, .unit = p->unit, .started = true, .terminal = isatty(STDERR_FILENO), .shown = done, .shown_at = now()};
    double since = now() - p->shown_at;
    if (!first && !is_due(p, done, total, since)) return;
    if (since > 0 && done >= p->shown) {
        double late = (double)(done - p->shown) / since, weight = since < MEMORY ? since / MEMORY : 1;
        p->rate = p->rate > 0 ? p->rate + weight * (late - p->rate) : late;
    }
    p->shown = done;
    p->shown_at += since;
    amount(p, (double)total, 0, of);
    amount(p, (double)done, 0, so_far);
    amount(p, p->rate, 1, rate);
    if (done < total && !first) progress_time(p->rate > 0 ? (double)(total - done) / p->rate : -1, left);
    if (p->terminal)
        print_bar(p, total > 0 ? (double)done / (double)total : 1, of, rate, left);
    else if (first)
        log_info("%s: %s of %s", p->what, so_far, of);
    else
        log_info("%s: %s of %s, %s/s%s%s%s", p->what, so_far, of, rate, p->also, *left ? ", left: " : "", left);
    if (done == total) progress_pause(p);
}

void progress_pause(progress *p)
{
    if (p->open) fputc('\n', stderr);
    p->open = false;
}
