/* What to do after an answer that was not the one hoped for, and how long to wait. Pure. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_RETRY_H
#define RUNTIME_FETCH_RETRY_H

#include <stdbool.h>
#include <stdint.h>

typedef enum retry_verdict {
    RETRY_LATER,   /* this request alone, after retry_delay() */
    RETRY_PAUSE,   /* the server has too much to do: no request to it until then */
    RETRY_RESOLVE, /* the address was signed and has run out: ask the hub for a new one */
    RETRY_NEVER,   /* the answer will not change */
} retry_verdict;

/* `http_status`: 0 when none came. `redirected`: the hub sent us to this address. */
retry_verdict retry_judge(int http_status, bool redirected);

/* Seconds before the attempt-th try (1, 2, ...) after the first: doubling from a quarter second to half a minute, spread by a quarter, so that
 * many clients do not come back together; never less than the server asked for (`retry_after`, 0: it did not), which counts up to ten minutes.
 * `random` is any number but 0 and is advanced. */
double retry_delay(int attempt, double retry_after, uint64_t *random);

#endif
