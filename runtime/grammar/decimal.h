/* Numbers written in decimal, exactly: bounds of schemas, and the texts on one side of them. */
#ifndef RUNTIME_GRAMMAR_DECIMAL_H
#define RUNTIME_GRAMMAR_DECIMAL_H

#include <jansson.h>

#include "runtime/base/buffer.h"

enum { DECIMAL_DIGITS = 352 }; /* on either side of the point: a double has at most 309 and some 340 */

typedef struct decimal {
    bool negative;                 /* never for zero */
    char whole[DECIMAL_DIGITS];    /* "0" or without leading zeros */
    char fraction[DECIMAL_DIGITS]; /* "" or without trailing zeros */
} decimal;

/* A JSON integer or real; a real as its shortest decimal, which is what was written (up to 15 digits). False: not
 * finite. */
bool decimal_read(const json_t *number, decimal *out);
int decimal_compare(const decimal *a, const decimal *b);
static inline bool decimal_is_integer(const decimal *d) { return d->fraction[0] == '\0'; }

/* The nearest integer that is at least (`up`) or at most `d`; with `strict` not `d` itself. */
void decimal_round(const decimal *d, bool up, bool strict, decimal *out);

/* Appends a regular expression for the JSON numbers without exponent that are >= d (> if strict), or <= d (< if
 * strict). They may have any number of digits; "-0" is left out where 0 is a bound. False: no memory. */
bool decimal_write_at_least(const decimal *d, bool strict, buffer *out);
bool decimal_write_at_most(const decimal *d, bool strict, buffer *out);

#endif
