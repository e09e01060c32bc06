#include "runtime/server/json_fields.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *json_fields_type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: break;
    }
    return "null";
}

void json_fields_path(const json_fields *f, const char *key, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", f->path, f->path[0] && key[0] ? "." : "", key);
}

bool json_fields_fail(const json_fields *f, const char *key, const char *format, ...)
{
    char path[sizeof f->error->param], text[sizeof f->error->message];
    json_fields_path(f, key, path, sizeof path);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return api_error_set(f->error, 400, path, "%s: %s", path, text);
}

static bool wrong_type(const json_fields *f, const char *key, const char *wanted, const json_t *value)
{
    return json_fields_fail(f, key, "%s is expected, not %s.", wanted, json_fields_type_name(value));
}

const json_t *json_fields_get(const json_fields *f, const char *key)
{
    const json_t *value = json_object_get(f->object, key);
    return json_is_null(value) ? NULL : value;
}

bool json_fields_bool(const json_fields *f, const char *key, bool *out)
{
    const json_t *value = json_fields_get(f, key);
    if (!value) return true;
    if (!json_is_boolean(value)) return wrong_type(f, key, "true or false", value);
    *out = json_is_true(value);
    return true;
}

bool json_fields_int(const json_fields *f, const char *key, int64_t min, int64_t max, int64_t *out)
{
    const json_t *value = json_fields_get(f, key);
    if (!value) return true;
    int64_t number;
    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (json_is_real(value)) {
        double real = json_real_value(value);
        if (real != floor(real)) return wrong_type(f, key, "an integer", value);
        /* beyond 2^53 neighbours of a double are apart: such a value is no integer somebody meant */
        if (fabs(real) > 9007199254740992.0) return json_fields_fail(f, key, "%g is out of range.", real);
        number = (int64_t)real;
    } else {
        return wrong_type(f, key, "an integer", value);
    }
    if ((number < min || number > max) && min >= INT16_MIN && max <= INT16_MAX) /* short enough to say both */
        return json_fields_fail(f, key, "%lld is out of range, allowed is %lld to %lld.", (long long)number, (long long)min, (long long)max);
    if (number < min) return json_fields_fail(f, key, "%lld is too small, at least %lld is allowed.", (long long)number, (long long)min);
    if (number > max) return json_fields_fail(f, key, "%lld is too large, at most %lld is allowed.", (long long)number, (long long)max);
    *out = number;
    return true;
}

bool json_fields_float(const json_fields *f, const char *key, float min, float max, float *out)
{
    const json_t *value = json_fields_get(f, key);
    if (!value) return true;
    if (!json_is_number(value)) return wrong_type(f, key, "a number", value);
    double number = json_number_value(value);
    /* what is checked is the float that is used: 1e-50 is none but 0 */
    float rounded = (float)fmax(-FLT_MAX, fmin(FLT_MAX, number));
    if (!(rounded >= min && rounded <= max))
        return json_fields_fail(f, key, "%g is out of range, allowed is %g to %g.", number, (double)min, (double)max);
    *out = rounded;
    return true;
}

bool json_fields_token_id(const json_fields *f, const char *key, const json_t *value, int32_t vocab, int32_t *out)
{
    if (json_is_real(value)) return json_fields_fail(f, key, "token ids must be integers, not %.15g.", json_real_value(value));
    if (!json_is_integer(value)) return json_fields_fail(f, key, "token ids must be integers, not %s.", json_fields_type_name(value));
    long long id = json_integer_value(value);
    if (id < 0 || id >= vocab) return json_fields_fail(f, key, "%lld is not a token id of this model (0 to %d).", id, vocab - 1);
    *out = (int32_t)id;
    return true;
}

bool json_fields_string(const json_fields *f, const char *key, const char **out, size_t *size)
{
    const json_t *value = json_fields_get(f, key);
    if (!value) return true;
    if (!json_is_string(value)) return wrong_type(f, key, "a string", value);
    if (!size && strlen(json_string_value(value)) != json_string_length(value)) return json_fields_fail(f, key, "NUL is not allowed here.");
    *out = json_string_value(value);
    if (size) *size = json_string_length(value);
    return true;
}

bool json_fields_array(const json_fields *f, const char *key, const json_t **out)
{
    const json_t *value = json_fields_get(f, key);
    if (!value) return true;
    if (!json_is_array(value)) return wrong_type(f, key, "an array", value);
    *out = value;
    return true;
}

bool json_fields_object(const json_fields *f, const char *key, const json_t **out)
{
    const json_t *value = json_fields_get(f, key);
    if (!value) return true;
    if (!json_is_object(value)) return wrong_type(f, key, "an object", value);
    *out = value;
    return true;
}
