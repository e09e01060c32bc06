#include "runtime/grammar/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Digits d.ddd times 10^exponent, from "%.*e". */
static void from_digits(const char *digits, int n, int exponent, decimal *out)
{
    int whole = exponent + 1; /* digits before the point; <= 0: zeros behind it first */
    size_t w = 0, f = 0;
    for (int i = 0; i < whole; i++) out->whole[w++] = i < n ? digits[i] : '0';
    for (int i = whole; i < 0; i++) out->fraction[f++] = '0';
    for (int i = whole > 0 ? whole : 0; i < n; i++) out->fraction[f++] = digits[i];
    if (w == 0) out->whole[w++] = '0';
    while (f > 0 && out->fraction[f - 1] == '0') f--;
    out->whole[w] = out->fraction[f] = '\0';
}

bool decimal_read(const json_t *number, decimal *out)
{
    *out = (decimal){0};
    if (json_is_integer(number)) {
        long long value = json_integer_value(number);
        out->negative = value < 0;
        snprintf(out->whole, sizeof out->whole, "%llu",
                 value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value);
        return true;
    }
    double value = json_real_value(number);
    char text[64], digits[32];
    if (!isfinite(value)) return false;
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, fabs(value));
        if (strtod(text, NULL) == fabs(value)) break;
    }
    int n = 0;
    const char *at = text;
    for (; *at && *at != 'e'; at++)
        if (*at >= '0' && *at <= '9') digits[n++] = *at;
    from_digits(digits, n, value == 0 ? 0 : atoi(at + 1), out);
    out->negative = value < 0;
    return true;
}

static int compare_size(const decimal *a, const decimal *b)
{
    size_t x = strlen(a->whole), y = strlen(b->whole);
    if (x != y) return x < y ? -1 : 1;
    int order = strcmp(a->whole, b->whole);
    return order ? order : strcmp(a->fraction, b->fraction); /* a prefix is smaller: the rest is not all zeros */
}

int decimal_compare(const decimal *a, const decimal *b)
{
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    return a->negative ? -compare_size(a, b) : compare_size(a, b);
}

/* |d| + 1 or |d| - 1 of an integer. */
static void step_size(decimal *d, int by)
{
    size_t n = strlen(d->whole);
    char carry_from = by > 0 ? '9' : '0', carry_to = by > 0 ? '0' : '9';
    size_t i = n;
    while (i > 0 && d->whole[i - 1] == carry_from) d->whole[--i] = carry_to;
    if (i > 0) {
        d->whole[i - 1] = (char)(d->whole[i - 1] + by);
    } else if (n + 1 < sizeof d->whole) {
        memmove(d->whole + 1, d->whole, n + 1);
        d->whole[0] = '1';
    }
    if (d->whole[0] == '0' && d->whole[1]) memmove(d->whole, d->whole + 1, strlen(d->whole));
}

void decimal_round(const decimal *d, bool up, bool strict, decimal *out)
{
    bool whole = decimal_is_integer(d);
    *out = *d;
    out->fraction[0] = '\0';
    if (!whole || strict) {
        bool away = up != d->negative; /* from zero */
        if (whole && strcmp(d->whole, "0") == 0) {
            step_size(out, 1);
            out->negative = !up;
        } else if (away) {
            step_size(out, 1);
        } else if (whole) {
            step_size(out, -1);
        }
    }
    if (strcmp(out->whole, "0") == 0) out->negative = false;
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static const char any_fraction[] = "(?:\\.[0-9]+)?";

/* The digit at `c` and the digits up from or below it, as a class; nothing when there is none. */
static bool write_step(buffer *out, const char *prefix, size_t n, char low, char high, const char *rest)
{
    if (low > high) return true;
    return buffer_append_text(out, "|") && buffer_append(out, prefix, n) &&
           buffer_printf(out, "[%c-%c]%s", low, high, rest);
}

/* Sizes >= d without a sign: "(?:...)". */
static bool write_size_at_least(const decimal *d, bool strict, buffer *out)
{
    size_t n = strlen(d->whole), f = strlen(d->fraction);
    char rest[64];
    if (!buffer_printf(out, "(?:[1-9][0-9]{%zu,}%s", n, any_fraction)) return false;
    for (size_t i = 0; i < n; i++) {
        snprintf(rest, sizeof rest, "[0-9]{%zu}%s", n - 1 - i, any_fraction);
        if (!write_step(out, d->whole, i, (char)(d->whole[i] + 1), '9', rest)) return false;
    }
    if (!buffer_printf(out, "|%s", d->whole)) return false;
    const char *above = "[0-9]*[1-9][0-9]*"; /* more than zero */
    if (f == 0) return buffer_printf(out, "%s%s)", strict ? "\\." : "", strict ? above : any_fraction);
    if (!buffer_printf(out, "\\.(?:%s%s", d->fraction, strict ? above : "[0-9]*")) return false;
    for (size_t i = 0; i < f; i++)
        if (!write_step(out, d->fraction, i, (char)(d->fraction[i] + 1), '9', "[0-9]*")) return false;
    return buffer_append_text(out, "))");
}

/* Sizes <= d without a sign: "(?:...)", or what matches nothing. */
static bool write_size_at_most(const decimal *d, bool strict, buffer *out)
{
    size_t n = strlen(d->whole), f = strlen(d->fraction);
    char rest[64];
    bool written = n > 1 ? buffer_printf(out, "(?:0%s|[1-9][0-9]{0,%zu}%s", any_fraction, n - 2, any_fraction)
                         : buffer_append_text(out, "(?:[]");
    for (size_t i = 0; i < n && written; i++) {
        snprintf(rest, sizeof rest, "[0-9]{%zu}%s", n - 1 - i, any_fraction);
        written = write_step(out, d->whole, i, i == 0 && n > 1 ? '1' : '0', (char)(d->whole[i] - 1), rest);
    }
    if (!written) return false;
    if (f == 0) return (strict || buffer_printf(out, "|%s(?:\\.0+)?", d->whole)) && buffer_append_text(out, ")");
    if (!buffer_printf(out, "|%s(?:\\.(?:%s", d->whole, strict ? "[]" : d->fraction)) return false;
    if (!strict && !buffer_append_text(out, "0*")) return false;
    for (size_t i = 0; i < f; i++) {
        if (!write_step(out, d->fraction, i, '0', (char)(d->fraction[i] - 1), "[0-9]*")) return false;
        if (i > 0 && (!buffer_append_text(out, "|") || !buffer_append(out, d->fraction, i))) return false;
    }
    return buffer_append_text(out, "))?)");
}

static bool is_zero(const decimal *d) { return strcmp(d->whole, "0") == 0 && !d->fraction[0]; }

static const char any_size[] = "(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?";

bool decimal_write_at_least(const decimal *d, bool strict, buffer *out)
{
    if (!d->negative) return write_size_at_least(d, strict, out);
    return buffer_printf(out, "(?:%s|-", any_size) && write_size_at_most(d, strict, out) &&
           buffer_append_text(out, ")");
}

bool decimal_write_at_most(const decimal *d, bool strict, buffer *out)
{
    bool below_zero = d->negative || (is_zero(d) && strict);
    if (below_zero) return buffer_append_text(out, "-") && write_size_at_least(d, strict, out);
    return buffer_printf(out, "(?:-%s|", any_size) && write_size_at_most(d, strict, out) &&
           buffer_append_text(out, ")");
}
