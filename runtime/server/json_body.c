#include "runtime/server/json_body.h"

#include <stdint.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The code unit of "\uXXXX" at `at`, or -1 when there is none. */
static int escape_unit(const char *data, size_t size, size_t at)
{
    if (size - at < 6 || data[at] != '\\' || data[at + 1] != 'u') return -1;
    int unit = 0;
    for (size_t i = 2; i < 6; i++) {
        int digit = hex_digit(data[at + i]);
        if (digit < 0) return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* Mends the escape at `at` and returns how many bytes it takes. */
static size_t mend_escape(char *data, size_t size, size_t at)
{
    int unit = escape_unit(data, size, at);
    if (unit < 0) return 2; /* another escape, or one the parser will refuse */
    bool high = unit >= 0xd800 && unit <= 0xdbff, low = unit >= 0xdc00 && unit <= 0xdfff;
    if (high) {
        int next = size - at > 6 ? escape_unit(data, size, at + 6) : -1;
        if (next >= 0xdc00 && next <= 0xdfff) return 12;
    }
    if (high || low) memcpy(data + at, "\\ufffd", 6);
    return 6;
}

/* One pass ahead of the parser: depth, number of values, surrogates. Says nothing about syntax. */
static bool scan(char *data, size_t size, api_error *error)
{
    size_t depth = 0, values = 0;
    bool in_string = false;
    for (size_t i = 0; i < size;) {
        char c = data[i];
        if (in_string) {
            if (c == '\\') {
                i += mend_escape(data, size, i);
                continue;
            }
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            values++;
            if (++depth > JSON_BODY_MAX_DEPTH)
                return api_error_set(error, 400, NULL, "The request body is nested deeper than %d levels.", JSON_BODY_MAX_DEPTH);
        } else if (c == '}' || c == ']') {
            if (depth) depth--;
        } else if (c == ',') {
            values++;
        }
        if (values > JSON_BODY_MAX_VALUES)
            return api_error_set(error, 400, NULL, "The request body holds more than %d values.", JSON_BODY_MAX_VALUES);
        i++;
    }
    return true;
}

bool json_body_parse(char *data, size_t size, json_t **out, api_error *error)
{
    if (!size) return api_error_set(error, 400, NULL, "The request has no body; a JSON object is expected.");
    if (!scan(data, size, error)) return false;
    json_error_t fault;
    json_t *root = json_loadb(data, size, JSON_ALLOW_NUL, &fault);
    if (!root)
        return api_error_set(error, 400, NULL, "The request body is not valid JSON: %s (line %d, column %d).", fault.text, fault.line,
                             fault.column);
    if (!json_is_object(root)) {
        json_decref(root);
        return api_error_set(error, 400, NULL, "The request body must be a JSON object.");
    }
    *out = root;
    return true;
}
