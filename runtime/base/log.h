/* Log lines on standard error, with a time and the rank. Thread safe: a line is one write. */
#ifndef RUNTIME_BASE_LOG_H
#define RUNTIME_BASE_LOG_H

#include <stdbool.h>

typedef enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } log_level;

/* Sets what is shown and how. Call once, before threads start; without it: info, text, no rank. `rank` < 0 or `world`
 * 1 leaves the rank out of the line. `json` writes one JSON object a line. */
void log_configure(log_level level, bool json, int rank, int world);

bool log_enabled(log_level level);

void log_write(log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                        \
    do {                                                      \
        if (log_enabled(LOG_DEBUG)) log_write(LOG_DEBUG, __VA_ARGS__); \
    } while (0)

#endif
