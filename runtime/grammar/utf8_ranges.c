#include "runtime/grammar/utf8_ranges.h"

int utf8_ranges_encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = (uint8_t)(0x80 | (c & 0x3F));
    out[0] = (uint8_t)(0xF00 >> n | c);
    return n;
}

uint32_t utf8_ranges_decode(const char **text)
{
    const unsigned char *t = (const unsigned char *)*text;
    int more = t[0] < 0x80 ? 0 : t[0] < 0xE0 ? 1 : t[0] < 0xF0 ? 2 : 3;
    uint32_t c = more ? t[0] & (0x3Fu >> more) : t[0];
    for (int i = 1; i <= more; i++) c = c << 6 | (t[i] & 0x3F);
    *text += 1 + more;
    return c;
}

/* Both ends have the same size, and share all bytes before `at`. A range whose last bytes run over everything is one
 * sequence; any other splits where its ends do not. After Russ Cox, "Regular Expression Matching in the Wild" (UTF-8
 * range splitting). */
static void split_same_size(uint32_t low, uint32_t high, void (*emit)(void *, const utf8_ranges_sequence *), void *user)
{
    uint8_t a[4], b[4];
    int n = utf8_ranges_encode(low, a);
    utf8_ranges_encode(high, b);
    for (int tail = 1; tail < n; tail++) { /* continuation bytes at the end */
        uint32_t mask = (UINT32_C(1) << (6 * tail)) - 1;
        if ((low & ~mask) == (high & ~mask)) break;
        if (low & mask) {
            split_same_size(low, low | mask, emit, user);
            split_same_size((low | mask) + 1, high, emit, user);
            return;
        }
        if ((high & mask) != mask) {
            split_same_size(low, (high & ~mask) - 1, emit, user);
            split_same_size(high & ~mask, high, emit, user);
            return;
        }
    }
    utf8_ranges_sequence s = {.n = n};
    for (int i = 0; i < n && i < 4; i++) {
        s.at[i].low = a[i];
        s.at[i].high = b[i];
    }
    emit(user, &s);
}

void utf8_ranges_split(charset_range range, void (*emit)(void *user, const utf8_ranges_sequence *sequence), void *user)
{
    static const uint32_t last_of_size[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
    uint32_t low = range.low;
    for (int i = 0; i < 4 && low <= range.high; i++) {
        if (low > last_of_size[i]) continue;
        uint32_t high = range.high < last_of_size[i] ? range.high : last_of_size[i];
        split_same_size(low, high, emit, user);
        low = high + 1;
    }
}
