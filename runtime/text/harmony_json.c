#include "runtime/text/harmony_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool depth_within(const json_t *value, int levels)
{
    if (!json_is_object(value) && !json_is_array(value)) return true;
    if (levels == 0) return false;
    size_t index;
    const json_t *item;
    json_array_foreach(value, index, item) if (!depth_within(item, levels - 1)) return false;
    /* jansson's iterators take a non-const object though they change nothing. */
    json_t *object = (json_t *)(uintptr_t)value;
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
        if (!depth_within(json_object_iter_value(at), levels - 1)) return false;
    return true;
}

bool harmony_json_depth_allowed(const json_t *value) { return depth_within(value, HARMONY_JSON_DEPTH); }

/* A decimal number digits * 10^exponent, `digits` without trailing zeros unless it is 0. */
typedef struct decimal {
    uint64_t digits;
    int exponent;
} decimal;

static bool reads_back(decimal d, double value)
{
    char text[48];
    snprintf(text, sizeof text, "%" PRIu64 "e%d", d.digits, d.exponent);
    return strtod(text, NULL) == value;
}

/* The shortest decimal that reads back as `value` > 0. printf gives the nearest of a length; below a power of two the
 * interval that reads back is narrower than above it, so the next one up can be right where the nearest is not (2^-44).
 */
static decimal shortest(double value)
{
    decimal d = {0, 0};
    for (int precision = 0; precision <= 16; precision++) {
        char text[48];
        snprintf(text, sizeof text, "%.*e", precision, value);
        d.digits = 0;
        for (const char *c = text; *c != 'e'; c++)
            if (*c >= '0' && *c <= '9') d.digits = d.digits * 10 + (uint64_t)(*c - '0');
        d.exponent = atoi(strchr(text, 'e') + 1) - precision;
        if (reads_back(d, value)) break;
        d.digits++;
        if (reads_back(d, value)) break;
    }
    for (; d.digits && d.digits % 10 == 0; d.exponent++) d.digits /= 10;
    return d;
}

bool harmony_json_write_double(double value, buffer *out)
{
    if (signbit(value) && !buffer_append_text(out, "-")) return false;
    if (value == 0) return buffer_append_text(out, "0.0");

    decimal d = shortest(fabs(value));
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, d.digits);
    int point = length + d.exponent; /* digits before the decimal point */
    if (d.exponent >= 0 && point <= 16) return buffer_printf(out, "%s%.*s.0", digits, d.exponent, "0000000000000000");
    if (point > 0 && point <= 16) return buffer_printf(out, "%.*s.%s", point, digits, digits + point);
    if (point > -5 && point <= 0) return buffer_printf(out, "0.%.*s%s", -point, "00000", digits);
    if (length == 1) return buffer_printf(out, "%se%d", digits, point - 1);
    return buffer_printf(out, "%c.%se%d", digits[0], digits + 1, point - 1);
}

static bool write_string(const char *text, size_t size, buffer *out)
{
    static const char names[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    bool ok = buffer_append(out, "\"", 1);
    for (size_t i = 0; ok && i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *name = c ? strchr(names, c) : NULL;
        if (name)
            ok = buffer_printf(out, "\\%c", letters[name - names]);
        else if (c < 0x20)
            ok = buffer_printf(out, "\\u%04x", c);
        else
            ok = buffer_append(out, &text[i], 1);
    }
    return ok && buffer_append(out, "\"", 1);
}

static bool write_object(const json_t *value, buffer *out)
{
    json_t *object = (json_t *)(uintptr_t)value; /* only iterated */
    bool ok = buffer_append(out, "{", 1), first = true;
    for (void *at = json_object_iter(object); ok && at; at = json_object_iter_next(object, at), first = false) {
        const char *key = json_object_iter_key(at);
        ok = (first || buffer_append(out, ",", 1)) && write_string(key, json_object_iter_key_len(at), out) &&
             buffer_append(out, ":", 1) && harmony_json_write(json_object_iter_value(at), out);
    }
    return ok && buffer_append(out, "}", 1);
}

bool harmony_json_write(const json_t *value, buffer *out)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return write_object(value, out);
    case JSON_ARRAY: {
        size_t count = json_array_size(value);
        bool ok = buffer_append(out, "[", 1);
        for (size_t i = 0; ok && i < count; i++)
            ok = (i == 0 || buffer_append(out, ",", 1)) && harmony_json_write(json_array_get(value, i), out);
        return ok && buffer_append(out, "]", 1);
    }
    case JSON_STRING: return write_string(json_string_value(value), json_string_length(value), out);
    case JSON_INTEGER: return buffer_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL: return harmony_json_write_double(json_real_value(value), out);
    case JSON_TRUE: return buffer_append_text(out, "true");
    case JSON_FALSE: return buffer_append_text(out, "false");
    case JSON_NULL: return buffer_append_text(out, "null");
    }
    return false;
}
