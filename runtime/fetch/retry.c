#include "runtime/fetch/retry.h"

static const double FIRST = 0.25, LONGEST = 30, LONGEST_ASKED = 600; /* seconds */

retry_verdict retry_judge(int http_status, bool redirected)
{
    switch (http_status) {
    case 429:
    case 503: return RETRY_PAUSE;
    case 401:
    case 403:
    case 404:
    case 410: return redirected ? RETRY_RESOLVE : RETRY_NEVER;
    case 408:
    case 425: return RETRY_LATER;
    default: return http_status >= 300 && http_status < 500 ? RETRY_NEVER : RETRY_LATER; /* cut while it sent 200 or 206, or 5xx */
    }
}

/* Marsaglia, "Xorshift RNGs", 2003; between 0 and 1. */
static double draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) / (double)(1ull << 53);
}

double retry_delay(int attempt, double retry_after, uint64_t *random)
{
    double delay = FIRST;
    for (int i = 1; i < attempt && delay < LONGEST; i++) delay *= 2;
    if (delay > LONGEST) delay = LONGEST;
    delay *= 0.75 + 0.5 * draw(random);
    if (retry_after > LONGEST_ASKED) retry_after = LONGEST_ASKED;
    return delay > retry_after ? delay : retry_after;
}
