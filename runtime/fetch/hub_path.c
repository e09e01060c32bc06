#include "runtime/fetch/hub_path.h"

#include <string.h>

enum { COMPONENT_MOST = 255 /* NAME_MAX of Linux's file systems */ };

static bool is_component(const char *name, size_t size)
{
    if (size == 0 || size > COMPONENT_MOST) return false;
    if (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.'))) return false;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == 0x7f || c == '\\') return false;
    }
    return true;
}

bool hub_path_is_safe(const char *path, size_t size)
{
    if (size == 0 || size > HUB_PATH_MOST) return false;
    for (size_t begin = 0; begin <= size;) {
        const char *slash = memchr(path + begin, '/', size - begin);
        size_t end = slash ? (size_t)(slash - path) : size;
        if (!is_component(path + begin, end - begin)) return false;
        begin = end + 1;
    }
    return true;
}

bool hub_path_is_revision(const char *revision)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    size_t size = strlen(revision);
    return size <= 200 && revision[0] != '-' && strspn(revision, allowed) == size && hub_path_is_safe(revision, size);
}

bool hub_path_is_hex(const char *text, size_t size, size_t digits)
{
    if (size != digits) return false;
    for (size_t i = 0; i < size; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f')) return false;
    return true;
}
