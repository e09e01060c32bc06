/* Sets of Unicode scalar values (0..0x10FFFF without the surrogates), as ordered ranges. */
#ifndef RUNTIME_GRAMMAR_CHARSET_H
#define RUNTIME_GRAMMAR_CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHARSET_LAST = 0x10FFFF };

typedef struct charset_range {
    uint32_t low, high; /* both belong to it */
} charset_range;

/* Starts as {0}, the empty set. Once sealed: ordered, disjoint, not touching, without surrogates. */
typedef struct charset {
    charset_range *ranges; /* [n] */
    size_t n, capacity;
} charset;

void charset_free(charset *s);
/* Adds low..high in any order; the set must be sealed before any of the functions below sees it. False: no memory. */
bool charset_add(charset *s, uint32_t low, uint32_t high);
bool charset_add_all(charset *s, const charset_range *ranges, size_t n);
void charset_seal(charset *s);

/* Everything that is not in the set, surrogates never. In place. */
bool charset_complement(charset *s);
bool charset_has(const charset *s, uint32_t c);
bool charset_covers(const charset *whole, const charset_range *ranges, size_t n);
/* Some scalar value is in both; both ordered as when sealed. */
bool charset_meets(const charset_range *a, size_t n_a, const charset_range *b, size_t n_b);

#endif
