#include "runtime/server/api_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST_FILE = 1 << 20 };

static bool add_key(api_keys *k, const char *line)
{
    size_t size = strlen(line), start = strspn(line, " \t\r\n");
    while (size > start && strchr(" \t\r\n", line[size - 1])) size--;
    if (size <= start) return true;
    char **grown = realloc(k->keys, ((size_t)k->n + 1) * sizeof *grown);
    if (!grown) return false;
    k->keys = grown;
    grown[k->n] = strndup(line + start, size - start);
    if (!grown[k->n]) return false;
    k->n++;
    return true;
}

/* Opens a regular file: others may never end, or wait for a writer for ever. */
static status open_file(const char *path, FILE **out, status_detail *detail)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return status_fail(detail, STATUS_USAGE, "server.api_keys_file: cannot read %s: %s", path, strerror(errno));
    const char *fault = fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) ? "is not a regular file"
                        : info.st_size > LARGEST_FILE                   ? "is larger than 1 MiB"
                                                                        : NULL;
    *out = fault ? NULL : fdopen(fd, "r");
    if (*out) return STATUS_OK;
    close(fd);
    return status_fail(detail, STATUS_USAGE, "server.api_keys_file: %s %s; write one key per line", path, fault ? fault : "cannot be read");
}

status api_keys_read(const char *path, api_keys *out, status_detail *detail)
{
    api_keys keys = {0};
    *out = keys;
    if (!path) return STATUS_OK;
    FILE *file;
    STATUS_TRY(open_file(path, &file, detail));
    char *line = NULL;
    size_t room = 0;
    bool good = true;
    while (good && getline(&line, &room, file) >= 0) good = add_key(&keys, line);
    good = good && !ferror(file);
    free(line);
    fclose(file);
    if (good && keys.n) {
        *out = keys;
        return STATUS_OK;
    }
    api_keys_free(&keys);
    return status_fail(detail, STATUS_USAGE, "server.api_keys_file: %s %s; write one key per line", path, good ? "holds no key" : "cannot be read");
}

status api_keys_take(const char *key, api_keys *out, status_detail *detail)
{
    api_keys keys = {0};
    if (!add_key(&keys, key)) {
        api_keys_free(&keys);
        return status_fail(detail, STATUS_MACHINE, "no memory for the API key");
    }
    if (!keys.n) return status_fail(detail, STATUS_INTERNAL, "the API key is empty");
    *out = keys;
    return STATUS_OK;
}

void api_keys_free(api_keys *k)
{
    for (int i = 0; i < k->n; i++) free(k->keys[i]);
    free(k->keys);
    *k = (api_keys){0};
}

static bool same(const char *key, http_slice shown)
{
    size_t size = strlen(key);
    volatile unsigned char different = size != shown.size;
    for (size_t i = 0; i < shown.size; i++) different |= (unsigned char)(shown.data[i] ^ key[i % size]);
    return !different;
}

bool api_keys_allow(const api_keys *k, http_slice authorization)
{
    static const char scheme[] = "Bearer ";
    const size_t skip = sizeof scheme - 1;
    if (!k->n) return true;
    if (authorization.size <= skip || strncasecmp(authorization.data, scheme, skip)) return false;
    http_slice shown = {authorization.data + skip, authorization.size - skip};
    while (shown.size && shown.data[0] == ' ') shown.data++, shown.size--;
    bool allowed = false;
    for (int i = 0; i < k->n; i++) allowed |= same(k->keys[i], shown);
    return allowed;
}
