/* Amounts of memory as people write them: "20GiB", "512MB", "1.5 GiB", "4096". */
#ifndef RUNTIME_BASE_BYTES_H
#define RUNTIME_BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>

/* Units: B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024), in any case; none: bytes. A lone "G" is refused, because
 * programs disagree on it. False, and `out` untouched, for anything else and for amounts of 2^63 bytes or more. */
bool bytes_parse(const char *text, int64_t *out);

/* The shortest of "512 B", "1.5 GiB", ... with at most two decimals. Returns `out`. */
const char *bytes_format(int64_t bytes, char out[32]);

#endif
