#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/schema.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
    return -1;
}

/* One step of a JSON pointer in a URI fragment (RFC 6901, 3 and 6) into `out`; returns what is behind it. */
static const char *read_step(const char *at, buffer *out, bool *ok)
{
    *ok = true;
    for (; *at && *at != '/' && *ok; at++) {
        char c = *at;
        if (c == '%' && hex_value(at[1]) >= 0 && hex_value(at[2]) >= 0) {
            c = (char)(hex_value(at[1]) * 16 + hex_value(at[2]));
            at += 2;
        }
        if (c == '~') {
            *ok = at[1] == '0' || at[1] == '1';
            c = at[1] == '0' ? '~' : '/';
            at += *ok;
        }
        *ok = *ok && buffer_append(out, &c, 1);
    }
    return at;
}

static const json_t *step_into(const json_t *from, const buffer *step)
{
    if (json_is_object(from)) return json_object_getn(from, step->data ? step->data : "", step->size);
    if (!json_is_array(from) || step->size == 0 || step->size > 9) return NULL;
    char *end;
    unsigned long index = strtoul(step->data, &end, 10);
    return *end == '\0' ? json_array_get(from, index) : NULL;
}

const json_t *schema_ref_find(schema *s, const json_t *ref)
{
    const char *text = json_string_value(ref);
    if (!text) {
        schema_path_fail(s, STATUS_INVALID, "'$ref' is not a string");
        return NULL;
    }
    if (text[0] != '#' || (text[1] && text[1] != '/')) {
        schema_path_fail(s, STATUS_INVALID,
                         "'$ref' to '%.100s' is not supported: only '#' and '#/...' within the schema are", text);
        return NULL;
    }
    const json_t *at = s->root;
    buffer step = {0};
    for (const char *rest = text + 1; *rest && at;) {
        bool ok;
        buffer_clear(&step);
        rest = read_step(rest + 1, &step, &ok);
        at = ok ? step_into(at, &step) : NULL;
    }
    buffer_free(&step);
    if (!at || !(json_is_object(at) || json_is_boolean(at))) {
        schema_path_fail(s, STATUS_INVALID, "'$ref' to '%.100s': there is no schema", text);
        return NULL;
    }
    return at;
}
