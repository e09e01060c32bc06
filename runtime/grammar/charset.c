#include "runtime/grammar/charset.h"

#include <stdlib.h>
#include <string.h>

enum { SURROGATE_FIRST = 0xD800, SURROGATE_LAST = 0xDFFF };

void charset_free(charset *s)
{
    free(s->ranges);
    *s = (charset){0};
}

static bool push(charset *s, uint32_t low, uint32_t high)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 4;
        charset_range *ranges = realloc(s->ranges, capacity * sizeof *ranges);
        if (!ranges) return false;
        s->ranges = ranges;
        s->capacity = capacity;
    }
    s->ranges[s->n++] = (charset_range){low, high};
    return true;
}

bool charset_add(charset *s, uint32_t low, uint32_t high)
{
    if (high > CHARSET_LAST) high = CHARSET_LAST;
    if (low > high) return true;
    if (low < SURROGATE_FIRST && high > SURROGATE_LAST)
        return push(s, low, SURROGATE_FIRST - 1) && push(s, SURROGATE_LAST + 1, high);
    if (low >= SURROGATE_FIRST && low <= SURROGATE_LAST) low = SURROGATE_LAST + 1;
    if (high >= SURROGATE_FIRST && high <= SURROGATE_LAST) high = SURROGATE_FIRST - 1;
    return low > high || push(s, low, high);
}

bool charset_add_all(charset *s, const charset_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!charset_add(s, ranges[i].low, ranges[i].high)) return false;
    return true;
}

static int compare_ranges(const void *a, const void *b)
{
    const charset_range *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

void charset_seal(charset *s)
{
    if (s->n < 2) return;
    qsort(s->ranges, s->n, sizeof *s->ranges, compare_ranges);
    size_t kept = 0;
    for (size_t i = 1; i < s->n; i++) {
        if (s->ranges[i].low <= s->ranges[kept].high + 1) {
            if (s->ranges[i].high > s->ranges[kept].high) s->ranges[kept].high = s->ranges[i].high;
        } else {
            s->ranges[++kept] = s->ranges[i];
        }
    }
    s->n = kept + 1;
}

bool charset_complement(charset *s)
{
    charset rest = {0};
    uint32_t from = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->ranges[i].low > from && !charset_add(&rest, from, s->ranges[i].low - 1)) goto failed;
        from = s->ranges[i].high + 1;
    }
    if (!charset_add(&rest, from, CHARSET_LAST)) goto failed;
    charset_seal(&rest);
    charset_free(s);
    *s = rest;
    return true;

failed:
    charset_free(&rest);
    return false;
}

/* The first range that ends at `c` or later. */
static size_t first_reaching(const charset *s, uint32_t c)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->ranges[middle].high < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool charset_has(const charset *s, uint32_t c)
{
    size_t i = first_reaching(s, c);
    return i < s->n && s->ranges[i].low <= c;
}

bool charset_covers(const charset *whole, const charset_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = first_reaching(whole, ranges[i].low);
        if (at == whole->n || whole->ranges[at].low > ranges[i].low || whole->ranges[at].high < ranges[i].high)
            return false;
    }
    return true;
}

bool charset_meets(const charset_range *a, size_t n_a, const charset_range *b, size_t n_b)
{
    for (size_t i = 0, j = 0; i < n_a && j < n_b;) {
        if (a[i].high < b[j].low) {
            i++;
        } else if (b[j].high < a[i].low) {
            j++;
        } else {
            return true;
        }
    }
    return false;
}
