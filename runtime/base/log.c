#include "runtime/base/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    log_level level;
    bool json;
    int rank;
} log_state = {LOG_INFO, false, -1};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_configure(log_level level, bool json, int rank, int world)
{
    log_state.level = level;
    log_state.json = json;
    log_state.rank = world > 1 ? rank : -1;
}

bool log_enabled(log_level level) { return level <= log_state.level; }

/* Copies `text` into a JSON string body; stops before `size` is full. */
static void json_escape(const char *text, char *out, size_t size)
{
    size_t used = 0;
    for (; *text && used + 7 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[used++] = '\\';
            out[used++] = (char)c;
        } else if (c < 0x20) {
            used += (size_t)snprintf(out + used, size - used, "\\u%04x", c);
        } else {
            out[used++] = (char)c;
        }
    }
    out[used] = '\0';
}

void log_write(log_level level, const char *format, ...)
{
    if (!log_enabled(level)) return;
    char text[2048], line[4608], stamp[32], rank[24] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t at = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + at, sizeof stamp - at, ".%03dZ", (int)(now.tv_nsec / 1000000));

    int length;
    if (log_state.json) {
        char escaped[4096];
        json_escape(text, escaped, sizeof escaped);
        if (log_state.rank >= 0) snprintf(rank, sizeof rank, "\"rank\":%d,", log_state.rank);
        length = snprintf(line, sizeof line, "{\"time\":\"%s\",\"level\":\"%s\",%s\"message\":\"%s\"}\n", stamp,
                          level_names[level], rank, escaped);
    } else {
        if (log_state.rank >= 0) snprintf(rank, sizeof rank, " [%d]", log_state.rank);
        length = snprintf(line, sizeof line, "%s%s %s: %s\n", stamp, rank, level_names[level], text);
    }
    ssize_t written = write(STDERR_FILENO, line, (size_t)length);
    (void)written; /* a log that cannot be written has nowhere to complain */
}
