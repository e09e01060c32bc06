#include "runtime/text/byte_level.h"

/* U+0100..U+0120 are the bytes 00..20, U+0121..U+0142 the bytes 7F..A0, U+0143 is AD. */
enum { FIRST_MOVED = 0x100, FIRST_DELETE = 0x121, SOFT_HYPHEN = 0x143 };

static unsigned spelling(unsigned char byte)
{
    if (byte <= 0x20) return FIRST_MOVED + byte;
    if (byte >= 0x7F && byte <= 0xA0) return FIRST_DELETE + (byte - 0x7F);
    return byte == 0xAD ? SOFT_HYPHEN : byte;
}

/* The byte that a code point spells, or -1. */
static int byte_of(unsigned code)
{
    if (code < FIRST_MOVED) return spelling((unsigned char)code) == code ? (int)code : -1;
    if (code < FIRST_DELETE) return (int)(code - FIRST_MOVED);
    if (code < SOFT_HYPHEN) return (int)(code - FIRST_DELETE + 0x7F);
    return code == SOFT_HYPHEN ? 0xAD : -1;
}

size_t byte_level_spell(const char *bytes, size_t size, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned code = spelling((unsigned char)bytes[i]);
        if (code < 0x80) {
            out[n++] = (char)code;
        } else {
            out[n++] = (char)(0xC0 | code >> 6);
            out[n++] = (char)(0x80 | (code & 0x3F));
        }
    }
    return n;
}

bool byte_level_read(const char *text, size_t size, char *out, size_t *n)
{
    size_t written = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned code = (unsigned char)text[i];
        if (code >= 0x80) {
            /* The whole alphabet lies below U+0800: a lead byte above DF is outside of it. */
            if (code > 0xDF || i + 1 == size) return false;
            code = (code & 0x1F) << 6 | ((unsigned char)text[++i] & 0x3F);
        }
        int byte = byte_of(code);
        if (byte < 0) return false;
        out[written++] = (char)byte;
    }
    *n = written;
    return true;
}
