#include "runtime/model/model_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

status model_file_path(char *out, size_t size, const char *dir, const char *name, status_detail *detail)
{
    int n = snprintf(out, size, "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= size) return status_fail(detail, STATUS_MODEL, "%.200s...: the path is too long", dir);
    return STATUS_OK;
}

bool model_file_exists(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    if (model_file_path(path, sizeof path, dir, name, NULL) != STATUS_OK) return false;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

status model_file_read(const char *path, size_t limit, buffer *out, status_detail *detail)
{
    status result = STATUS_OK;
    char chunk[16384];
    size_t n;
    FILE *file = fopen(path, "rb");
    if (!file) return status_fail(detail, STATUS_MODEL, "%s: cannot be opened: %s", path, strerror(errno));

    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0) {
        if (n > limit - out->size) {
            result = status_fail(detail, STATUS_MODEL, "%s: larger than %zu bytes, which no such file is", path, limit);
            goto done;
        }
        if (!buffer_append(out, chunk, n)) {
            result = status_fail(detail, STATUS_MACHINE, "%s: out of memory while reading", path);
            goto done;
        }
    }
    if (ferror(file)) result = status_fail(detail, STATUS_MODEL, "%s: cannot be read: %s", path, strerror(errno));
done:
    fclose(file);
    if (result != STATUS_OK) buffer_free(out);
    return result;
}
