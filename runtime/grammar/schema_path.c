#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/grammar/schema.h"

expr schema_path_fail(schema *s, status code, const char *format, ...)
{
    char text[600];
    va_list list;
    if (schema_failed(s)) return EXPR_FAIL;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    s->code = status_fail(s->detail, code, "%.200s: %s", s->path.size ? s->path.data : "/", text);
    return EXPR_FAIL;
}

expr schema_path_no_memory(schema *s)
{
    if (!schema_failed(s)) s->code = status_fail(s->detail, STATUS_INTERNAL, "out of memory while compiling");
    return EXPR_FAIL;
}

static size_t enter(schema *s, const char *step, size_t size)
{
    size_t before = s->path.size;
    if (++s->depth > SCHEMA_MAX_DEPTH)
        schema_path_fail(s, STATUS_INVALID, "schemas are nested too deep (a path of more than %d steps)",
                         SCHEMA_MAX_DEPTH);
    bool added = buffer_append(&s->path, "/", 1);
    for (size_t i = 0; i < size && added; i++) {
        const char *escaped = step[i] == '~' ? "~0" : step[i] == '/' ? "~1" : NULL;
        added = escaped ? buffer_append(&s->path, escaped, 2) : buffer_append(&s->path, &step[i], 1);
    }
    if (!added) schema_path_no_memory(s);
    return before;
}

size_t schema_path_enter(schema *s, const char *key) { return enter(s, key, strlen(key)); }

size_t schema_path_enter_index(schema *s, size_t index)
{
    char text[32];
    return enter(s, text, (size_t)snprintf(text, sizeof text, "%zu", index));
}

void schema_path_leave(schema *s, size_t before)
{
    s->depth--;
    s->path.size = before;
    if (s->path.data) s->path.data[before] = '\0';
}

bool schema_path_work(schema *s, size_t bytes)
{
    s->work += bytes;
    if (s->work > SCHEMA_MAX_WORK) schema_path_fail(s, STATUS_INVALID, "the schema is too large or too complex");
    return !schema_failed(s);
}

json_t *schema_path_keep(schema *s, json_t *made)
{
    if (!made || json_array_append_new(s->made, made) != 0) {
        schema_path_no_memory(s);
        return NULL;
    }
    return made;
}
