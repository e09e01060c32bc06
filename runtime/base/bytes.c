#include "runtime/base/bytes.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    double size;
} units[] = {
    {"", 1},     {"B", 1},       {"kB", 1e3},    {"MB", 1e6},    {"GB", 1e9},
    {"TB", 1e12}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
};

bool bytes_parse(const char *text, int64_t *out)
{
    /* Whole bytes stay exact: the integer part is kept apart from the fraction. */
    int64_t whole = 0;
    double fraction = 0, place = 0.1;
    const char *at = text;
    if (!isdigit((unsigned char)*at)) return false;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, *at - '0', &whole)) return false;
    }
    if (*at == '.') {
        at++;
        if (!isdigit((unsigned char)*at)) return false;
        for (; isdigit((unsigned char)*at); at++, place /= 10) fraction += place * (*at - '0');
    }
    while (*at == ' ') at++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcasecmp(at, units[i].name) != 0) continue;
        int64_t unit = (int64_t)units[i].size, product;
        if (unit == 1 && fraction != 0) return false;
        if (__builtin_mul_overflow(whole, unit, &product)) return false;
        return !__builtin_add_overflow(product, (int64_t)(fraction * units[i].size + 0.5), out);
    }
    return false;
}

const char *bytes_format(int64_t bytes, char out[32])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof names / sizeof *names) {
        value /= 1024;
        unit++;
    }
    snprintf(out, 32, "%.2f", value);
    char *end = out + strlen(out) - 1;
    while (*end == '0') *end-- = '\0';
    if (*end == '.') *end = '\0';
    size_t used = strlen(out);
    snprintf(out + used, 32 - used, " %s", names[unit]);
    return out;
}
