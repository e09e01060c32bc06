#include "runtime/grammar/regex_class.h"

#include <string.h>

#include "runtime/grammar/utf8_ranges.h"

static const charset_range digits[] = {{'0', '9'}};
static const charset_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
/* White space in ECMA 262 and in Python's `re`; where they differ a character is neither \s nor \S. */
static const charset_range space[] = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},
                                      {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
                                      {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
static const charset_range doubtful_space[] = {{0x1C, 0x1F}, {0x85, 0x85}, {0xFEFF, 0xFEFF}};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static status out_of_memory(status_detail *detail)
{
    return status_fail(detail, STATUS_INTERNAL, "out of memory while compiling");
}

uint32_t regex_class_char(regex_cursor *c)
{
    const char *at = c->text + c->at;
    uint32_t read = utf8_ranges_decode(&at);
    c->at = (size_t)(at - c->text);
    return read;
}

static bool add_without(charset *out, const charset_range *a, size_t n_a, const charset_range *b, size_t n_b)
{
    charset set = {0};
    bool added = charset_add_all(&set, a, n_a) && charset_add_all(&set, b, n_b);
    charset_seal(&set);
    added = added && charset_complement(&set) && charset_add_all(out, set.ranges, set.n);
    charset_free(&set);
    return added;
}

/* True: `letter` names a class. */
static bool add_class(char letter, charset *out, bool *no_memory)
{
    bool added = true;
    switch (letter) {
    case 'd': added = charset_add_all(out, digits, COUNT(digits)); break;
    case 'w': added = charset_add_all(out, word, COUNT(word)); break;
    case 's': added = charset_add_all(out, space, COUNT(space)); break;
    case 'D': added = add_without(out, digits, COUNT(digits), NULL, 0); break;
    case 'W': added = add_without(out, word, COUNT(word), NULL, 0); break;
    case 'S': added = add_without(out, space, COUNT(space), doubtful_space, COUNT(doubtful_space)); break;
    default: return false;
    }
    *no_memory = !added;
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
    return -1;
}

/* Exactly `n` digits, or UINT32_MAX and the cursor unmoved. */
static uint32_t read_hex(regex_cursor *c, int n)
{
    uint32_t value = 0;
    if (c->size - c->at < (size_t)n) return UINT32_MAX;
    for (int i = 0; i < n; i++) {
        int digit = hex_value(c->text[c->at + (size_t)i]);
        if (digit < 0) return UINT32_MAX;
        value = value * 16 + (uint32_t)digit;
    }
    c->at += (size_t)n;
    return value;
}

/* Behind \u: four digits, a pair of surrogates, or braces. */
static uint32_t read_unicode(regex_cursor *c)
{
    if (regex_class_peek(c) == '{') {
        uint32_t value = 0;
        size_t start = ++c->at;
        while (!regex_class_ends(c) && hex_value(c->text[c->at]) >= 0 && value <= CHARSET_LAST)
            value = value * 16 + (uint32_t)hex_value(c->text[c->at++]);
        if (c->at == start || regex_class_peek(c) != '}') return UINT32_MAX;
        c->at++;
        return value;
    }
    uint32_t value = read_hex(c, 4);
    if (value < 0xD800 || value > 0xDBFF) return value;
    if (c->size - c->at < 6 || c->text[c->at] != '\\' || c->text[c->at + 1] != 'u') return UINT32_MAX;
    c->at += 2;
    uint32_t low = read_hex(c, 4);
    if (low < 0xDC00 || low > 0xDFFF) return UINT32_MAX;
    return 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
}

static status add_single(uint32_t value, charset *out, uint32_t *single, size_t position, status_detail *detail)
{
    if (value > CHARSET_LAST || (value >= 0xD800 && value <= 0xDFFF))
        return status_fail(detail, STATUS_INVALID, "position %zu: not a character's number", position);
    *single = value;
    return charset_add(out, value, value) ? STATUS_OK : out_of_memory(detail);
}

status regex_class_escape(regex_cursor *c, charset *out, uint32_t *single, status_detail *detail)
{
    static const char letters[] = "tnrfv0", meanings[] = "\t\n\r\f\v";
    size_t position = c->at;
    char letter = regex_class_peek(c);
    bool no_memory = false;
    *single = UINT32_MAX;
    if (regex_class_ends(c))
        return status_fail(detail, STATUS_INVALID, "position %zu: nothing behind the backslash", position);
    if (add_class(letter, out, &no_memory)) {
        c->at++;
        return no_memory ? out_of_memory(detail) : STATUS_OK;
    }
    const char *found = letter ? strchr(letters, letter) : NULL;
    if (found && !(letter == '0' && c->at + 1 < c->size && c->text[c->at + 1] >= '0' && c->text[c->at + 1] <= '9')) {
        c->at++;
        return add_single((unsigned char)meanings[found - letters], out, single, position, detail);
    }
    switch (letter) {
    case 'x': c->at++; return add_single(read_hex(c, 2), out, single, position, detail);
    case 'u': c->at++; return add_single(read_unicode(c), out, single, position, detail);
    case 'U': c->at++; return add_single(read_hex(c, 8), out, single, position, detail);
    case 'a':
    case 'e': c->at++; return add_single(letter == 'a' ? 7 : 27, out, single, position, detail);
    case 'c':
        if (c->at + 1 >= c->size || (c->text[c->at + 1] | 0x20) < 'a' || (c->text[c->at + 1] | 0x20) > 'z') break;
        c->at += 2;
        return add_single((uint32_t)c->text[c->at - 1] & 0x1F, out, single, position, detail);
    default: break;
    }
    if ((letter | 0x20) >= 'a' && (letter | 0x20) <= 'z')
        return status_fail(detail, STATUS_INVALID, "position %zu: '\\%c' is not supported", position, letter);
    if (letter >= '0' && letter <= '9')
        return status_fail(detail, STATUS_INVALID, "position %zu: back references are not supported", position);
    return add_single(regex_class_char(c), out, single, position, detail);
}

/* One character of a class, or a class in it: `single` as in regex_class_escape(). */
static status read_member(regex_cursor *c, charset *out, uint32_t *single, status_detail *detail)
{
    if (regex_class_peek(c) == '\\') {
        c->at++;
        if (regex_class_peek(c) == 'b') { /* in a class: backspace */
            c->at++;
            return add_single(8, out, single, c->at, detail);
        }
        return regex_class_escape(c, out, single, detail);
    }
    if (regex_class_peek(c) == '[' && c->at + 1 < c->size && c->text[c->at + 1] == ':')
        return status_fail(detail, STATUS_INVALID, "position %zu: POSIX classes such as [:alpha:] are not supported",
                           c->at);
    return add_single(regex_class_char(c), out, single, c->at, detail);
}

static bool is_range(const regex_cursor *c)
{
    return c->at + 1 < c->size && c->text[c->at] == '-' && c->text[c->at + 1] != ']';
}

static status read_brackets(regex_cursor *c, charset *out, status_detail *detail)
{
    size_t position = c->at;
    bool negated = regex_class_peek(c) == '^';
    if (negated) c->at++;
    while (!regex_class_ends(c) && regex_class_peek(c) != ']') {
        uint32_t low, high;
        STATUS_TRY(read_member(c, out, &low, detail));
        if (low == UINT32_MAX || !is_range(c)) continue;
        size_t at = c->at++;
        STATUS_TRY(read_member(c, out, &high, detail));
        if (high == UINT32_MAX || high < low)
            return status_fail(detail, STATUS_INVALID, "position %zu: not a range of characters", at);
        if (!charset_add(out, low, high)) return out_of_memory(detail);
    }
    if (regex_class_ends(c)) return status_fail(detail, STATUS_INVALID, "position %zu: '[' is not closed", position);
    c->at++;
    charset_seal(out);
    if (negated && !charset_complement(out)) return out_of_memory(detail);
    return STATUS_OK;
}

status regex_class_brackets(regex_cursor *c, charset *out, status_detail *detail)
{
    charset set = {0};
    status code = read_brackets(c, &set, detail);
    if (code == STATUS_OK) {
        *out = set;
    } else {
        charset_free(&set);
    }
    return code;
}

bool regex_class_dot(charset *out)
{
    static const charset_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
    charset set = {0};
    if (!charset_add_all(&set, line_ends, COUNT(line_ends)) || !charset_complement(&set)) {
        charset_free(&set);
        return false;
    }
    *out = set;
    return true;
}
