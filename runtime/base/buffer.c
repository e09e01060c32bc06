#include "runtime/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool buffer_reserve(buffer *b, size_t more)
{
    if (more > SIZE_MAX / 4 - b->size) return false;
    size_t wanted = b->size + more + 1;
    if (wanted <= b->capacity) return true;
    size_t capacity = b->capacity * 2 > wanted ? b->capacity * 2 : wanted;
    if (capacity < 64) capacity = 64;
    char *data = realloc(b->data, capacity);
    if (!data) return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

bool buffer_append(buffer *b, const void *bytes, size_t n)
{
    if (!buffer_reserve(b, n)) return false;
    if (n) memcpy(b->data + b->size, bytes, n);
    b->size += n;
    b->data[b->size] = '\0';
    return true;
}

bool buffer_append_text(buffer *b, const char *text) { return buffer_append(b, text, strlen(text)); }

bool buffer_printf(buffer *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    bool grown = length >= 0 && buffer_reserve(b, (size_t)length);
    if (grown) {
        vsnprintf(b->data + b->size, (size_t)length + 1, format, again);
        b->size += (size_t)length;
    }
    va_end(again);
    return grown;
}

void buffer_clear(buffer *b)
{
    b->size = 0;
    if (b->data) b->data[0] = '\0';
}

void buffer_free(buffer *b)
{
    free(b->data);
    *b = (buffer){0};
}

bool id_list_append(id_list *list, const int32_t *ids, size_t n)
{
    if (n > SIZE_MAX / 16 - list->count) return false;
    if (list->count + n > list->capacity) {
        size_t capacity = list->capacity * 2 > list->count + n ? list->capacity * 2 : list->count + n;
        if (capacity < 16) capacity = 16;
        int32_t *grown = realloc(list->ids, capacity * sizeof *grown);
        if (!grown) return false;
        list->ids = grown;
        list->capacity = capacity;
    }
    if (n) memcpy(list->ids + list->count, ids, n * sizeof *ids);
    list->count += n;
    return true;
}

bool id_list_push(id_list *list, int32_t id) { return id_list_append(list, &id, 1); }

void id_list_clear(id_list *list) { list->count = 0; }

void id_list_free(id_list *list)
{
    free(list->ids);
    *list = (id_list){0};
}
