#include "runtime/text/tokenizer_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST_FILE = 1 << 30 };

static status read_all(int fd, const char *path, size_t size, buffer *out, status_detail *detail)
{
    if (!buffer_reserve(out, size))
        return status_fail(detail, STATUS_INTERNAL, "%s: out of memory for %zu bytes", path, size);
    while (out->size < size) {
        ssize_t got = read(fd, out->data + out->size, size - out->size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return status_fail(detail, STATUS_MODEL, "%s: cannot be read: %s", path, strerror(errno));
        if (got == 0) return status_fail(detail, STATUS_MODEL, "%s: became shorter while it was read", path);
        out->size += (size_t)got;
    }
    out->data[size] = '\0';
    return STATUS_OK;
}

status tokenizer_file_read(const char *path, buffer *out, status_detail *detail)
{
    struct stat info;
    buffer content = {0};
    /* Not to wait for the writer of a pipe that stands where a file is expected. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return status_fail(detail, STATUS_MODEL, "%s: cannot be opened: %s", path, strerror(errno));
    status result = STATUS_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        result = status_fail(detail, STATUS_MODEL, "%s: is not a regular file", path);
    else if (info.st_size > LARGEST_FILE)
        result = status_fail(detail, STATUS_MODEL, "%s: has %lld bytes, more than any tokenizer we know", path,
                             (long long)info.st_size);
    else
        result = read_all(fd, path, (size_t)info.st_size, &content, detail);
    close(fd);
    if (result == STATUS_OK)
        *out = content;
    else
        buffer_free(&content);
    return result;
}
