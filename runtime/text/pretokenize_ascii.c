#include "runtime/text/pretokenize.h"

#include <stdint.h>

/* What the pattern tells apart among ASCII characters. Letters are only upper or lower here (no Lt, Lm, Lo, M); OTHER
 * is what is neither white space, letter nor number. The end of the text is END, bytes above 7F are FOREIGN. */
typedef enum kind { OTHER, UPPER, LOWER, DIGIT, SPACE, NEWLINE, FOREIGN, END } kind;

static const uint8_t kinds[256] = {
    ['\t'] = SPACE,   ['\v'] = SPACE,        ['\f'] = SPACE,        [' '] = SPACE,         ['\n'] = NEWLINE,
    ['\r'] = NEWLINE, ['0' ... '9'] = DIGIT, ['A' ... 'Z'] = UPPER, ['a' ... 'z'] = LOWER, [0x80 ... 0xFF] = FOREIGN,
};

typedef struct view {
    const unsigned char *text;
    size_t size;
} view;

static kind kind_at(view v, size_t i) { return i < v.size ? (kind)kinds[v.text[i]] : END; }

static size_t skip(view v, size_t i, kind what)
{
    while (kind_at(v, i) == what) i++;
    return i;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)? at i. U+017F is an s without case, hence FOREIGN after the apostrophe is not decided
 * here; no other letter of these has a foreign variant. */
static size_t contraction(view v, size_t i)
{
    if (i >= v.size || v.text[i] != '\'') return i;
    if (kind_at(v, i + 1) == FOREIGN) return 0;
    if (i + 1 >= v.size) return i;
    unsigned char first = v.text[i + 1] | 0x20, second = i + 2 < v.size ? v.text[i + 2] | 0x20 : 0;
    switch (first) {
    case 's':
    case 't':
    case 'm':
    case 'd': return i + 2;
    case 'r':
    case 'v': return second == 'e' ? i + 3 : i;
    case 'l': return second == 'l' ? i + 3 : i;
    default: return i;
    }
}

/* Alternatives 1 and 2 from a letter at i: capitals, then small letters, then a contraction. Without any small letter
 * the first alternative fails wherever its capitals end, and the second takes the same capitals. */
static size_t word(view v, size_t i)
{
    i = skip(v, i, UPPER);
    i = skip(v, i, LOWER);
    return kind_at(v, i) == FOREIGN ? 0 : contraction(v, i);
}

/* Alternative 4 from an OTHER at i: [^\s\p{L}\p{N}]+[\r\n/]* */
static size_t symbols(view v, size_t i)
{
    i = skip(v, i, OTHER);
    if (kind_at(v, i) == FOREIGN) return 0;
    while (i < v.size && (v.text[i] == '/' || kind_at(v, i) == NEWLINE)) i++;
    return i;
}

/* Alternatives 5 to 7 from white space at i: up to the last line end of the run; else all of it at the end of the text;
 * else all but the last character, unless it is the only one. */
static size_t white(view v, size_t i)
{
    size_t end = i, after_newline = 0;
    for (;; end++) {
        kind k = kind_at(v, end);
        if (k == NEWLINE) after_newline = end + 1;
        if (k == FOREIGN) return 0;
        if (k != NEWLINE && k != SPACE) break;
    }
    if (after_newline) return after_newline;
    return end == v.size || end == i + 1 ? end : end - 1;
}

size_t pretokenize_ascii(const char *text, size_t size, size_t start)
{
    view v = {(const unsigned char *)text, size};
    kind first = kind_at(v, start), second = kind_at(v, start + 1);
    switch (first) {
    case UPPER:
    case LOWER: return word(v, start);
    case SPACE:
    case OTHER:
        /* One character other than a line end, letter or number may lead a word; one space may lead symbols. */
        if (second == UPPER || second == LOWER) return word(v, start + 1);
        if (second == FOREIGN) return 0;
        if (first == OTHER) return symbols(v, start);
        return second == OTHER && v.text[start] == ' ' ? symbols(v, start + 1) : white(v, start);
    case DIGIT: {
        size_t end = start + 1;
        while (end < start + 3 && kind_at(v, end) == DIGIT) end++;
        return end < start + 3 && kind_at(v, end) == FOREIGN ? 0 : end;
    }
    case NEWLINE: return white(v, start);
    case FOREIGN:
    case END: break;
    }
    return 0;
}
