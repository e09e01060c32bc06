/* Status codes and the one line that explains a failure.
 *
 * Every function that can fail returns a `status` and takes a `status_detail *` last. The function that
 * decides the error writes the detail once, with status_fail(); callers pass both on. Nothing below `main`
 * prints an error or exits. On failure outputs are left untouched.
 */
#ifndef RUNTIME_BASE_STATUS_H
#define RUNTIME_BASE_STATUS_H

#include <stddef.h>

typedef enum status {
    STATUS_OK = 0,
    STATUS_USAGE,     /* wrong command line or configuration */
    STATUS_MACHINE,   /* the machine lacks something: driver, GPU, port, memory */
    STATUS_MODEL,     /* model files missing, truncated or contradictory */
    STATUS_PEER,      /* a rank or a remote peer was lost */
    STATUS_INVALID,   /* what a client asked for is wrong (HTTP 400) */
    STATUS_BUSY,      /* no room now, try again later (HTTP 429) */
    STATUS_INTERNAL,  /* a defect of this program */
} status;

/* One line: what happened, where, what to do. Always NUL-terminated. */
typedef struct status_detail {
    char text[768];
} status_detail;

/* Writes the line (printf rules; cut when too long) and returns `code`, so that `return status_fail(...)` reads
 * well. `detail` may be NULL. */
status status_fail(status_detail *detail, status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " in front of a detail that a callee wrote. Returns `code` unchanged. */
status status_prefix(status_detail *detail, status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The process exit code for a status: 0 done, 2 usage, 3 machine, 4 model, 5 peer, 1 anything else. */
int status_exit_code(status code);

/* Leaves the enclosing function with the callee's status when it failed. For functions that own nothing yet;
 * after the first acquisition use a clean-up ladder. */
#define STATUS_TRY(call)                     \
    do {                                     \
        status status_try_ = (call);         \
        if (status_try_ != STATUS_OK) return status_try_; \
    } while (0)

#endif
