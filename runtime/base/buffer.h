/* Two growable arrays: bytes and token ids. A failed growth aborts nothing and loses nothing: it returns false. */
#ifndef RUNTIME_BASE_BUFFER_H
#define RUNTIME_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `data` is always followed by a NUL that `size` does not count, once anything was appended. */
typedef struct buffer {
    char *data;
    size_t size, capacity;
} buffer;

bool buffer_reserve(buffer *b, size_t more);
bool buffer_append(buffer *b, const void *bytes, size_t n);
bool buffer_append_text(buffer *b, const char *text);
bool buffer_printf(buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Empties it and keeps the memory. */
void buffer_clear(buffer *b);
/* Gives the memory back; the buffer is empty and usable again. */
void buffer_free(buffer *b);

typedef struct id_list {
    int32_t *ids;
    size_t count, capacity;
} id_list;

bool id_list_append(id_list *list, const int32_t *ids, size_t n);
bool id_list_push(id_list *list, int32_t id);
void id_list_clear(id_list *list);
void id_list_free(id_list *list);

#endif
