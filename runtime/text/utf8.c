#include "runtime/text/utf8.h"

#include <stdint.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

typedef enum sequence_kind { SEQUENCE_WHOLE, SEQUENCE_PREFIX, SEQUENCE_INVALID } sequence_kind;

/* What stands at s[0..n), n > 0. *length: the bytes of the character, of the prefix (all n), or of the maximal subpart
 * that one U+FFFD replaces. Ranges of the second byte: Unicode 15, table 3-7. */
static sequence_kind sequence_at(const unsigned char *s, size_t n, size_t *length)
{
    unsigned char first = s[0], low = 0x80, high = 0xBF;
    size_t whole;
    *length = 1;
    if (first < 0x80) return SEQUENCE_WHOLE;
    if (first >= 0xC2 && first <= 0xDF) {
        whole = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
        whole = 3;
        if (first == 0xE0) low = 0xA0;
        if (first == 0xED) high = 0x9F;
    } else if (first >= 0xF0 && first <= 0xF4) {
        whole = 4;
        if (first == 0xF0) low = 0x90;
        if (first == 0xF4) high = 0x8F;
    } else {
        return SEQUENCE_INVALID;
    }
    for (size_t i = 1; i < whole; i++) {
        *length = i;
        if (i == n) return SEQUENCE_PREFIX;
        if (s[i] < low || s[i] > high) return SEQUENCE_INVALID;
        low = 0x80;
        high = 0xBF;
    }
    *length = whole;
    return SEQUENCE_WHOLE;
}

/* How many valid bytes begin s[0..n); *kind says what follows them when that is less than n, *bad how long it is. */
static size_t valid_run(const unsigned char *s, size_t n, sequence_kind *kind, size_t *bad)
{
    size_t at = 0;
    *kind = SEQUENCE_WHOLE;
    *bad = 0;
    while (at < n) {
        uint64_t word;
        if (n - at >= sizeof word) {
            memcpy(&word, s + at, sizeof word);
            if (!(word & UINT64_C(0x8080808080808080))) {
                at += sizeof word;
                continue;
            }
        }
        size_t length;
        *kind = sequence_at(s + at, n - at, &length);
        if (*kind != SEQUENCE_WHOLE) {
            *bad = length;
            return at;
        }
        at += length;
    }
    return at;
}

bool utf8_valid(const char *text, size_t size)
{
    sequence_kind kind;
    size_t bad;
    return valid_run((const unsigned char *)text, size, &kind, &bad) == size;
}

/* Appends text repaired; the bytes of an incomplete last character are counted in *left, not appended. */
static bool append_repaired(const char *text, size_t size, buffer *out, size_t *left)
{
    *left = 0;
    while (size) {
        sequence_kind kind;
        size_t bad, run = valid_run((const unsigned char *)text, size, &kind, &bad);
        if (!buffer_append(out, text, run)) return false;
        text += run;
        size -= run;
        if (kind == SEQUENCE_PREFIX) {
            *left = bad;
            return true;
        }
        if (kind == SEQUENCE_INVALID && !buffer_append_text(out, replacement)) return false;
        text += bad;
        size -= bad;
    }
    return true;
}

bool utf8_repair(const char *text, size_t size, buffer *out)
{
    size_t left;
    if (!append_repaired(text, size, out, &left)) return false;
    return left == 0 || buffer_append_text(out, replacement);
}

bool utf8_stream_push(utf8_stream *s, const char *bytes, size_t size, buffer *out)
{
    while (s->tail_size > 0 && size > 0) {
        size_t length;
        s->tail[s->tail_size] = bytes[0];
        sequence_kind kind = sequence_at((const unsigned char *)s->tail, (size_t)s->tail_size + 1, &length);
        /* A byte that cannot continue the tail belongs to what comes after it. */
        if (kind != SEQUENCE_INVALID) {
            s->tail_size++;
            bytes++;
            size--;
        }
        if (kind == SEQUENCE_PREFIX) continue;
        bool appended =
            kind == SEQUENCE_WHOLE ? buffer_append(out, s->tail, length) : buffer_append_text(out, replacement);
        s->tail_size = 0;
        if (!appended) return false;
    }
    size_t left;
    if (!append_repaired(bytes, size, out, &left)) return false;
    if (left > 0) {
        memcpy(s->tail, bytes + size - left, left);
        s->tail_size = (int)left;
    }
    return true;
}

bool utf8_stream_finish(utf8_stream *s, buffer *out)
{
    bool open = s->tail_size > 0;
    s->tail_size = 0;
    return !open || buffer_append_text(out, replacement);
}
