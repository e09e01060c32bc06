/* Layout of the cache: runtime/base/hub_cache.h. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/hub_cache.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/model_file.h"

static bool is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool holds_model(const char *dir)
{
    return model_file_exists(dir, "config.json") || model_file_exists(dir, "original/config.json");
}

static bool read_commit(const char *folder, char *out, size_t size)
{
    char path[PATH_MAX];
    buffer text = {0};
    if (model_file_path(path, sizeof path, folder, "refs/main", NULL) != STATUS_OK) return false;
    if (model_file_read(path, 4096, &text, NULL) != STATUS_OK || text.size == 0) return false;
    size_t n = strspn(text.data, "0123456789abcdef");
    bool good = n > 0 && n < size && text.data[n + strspn(text.data + n, " \r\n")] == '\0';
    if (good) {
        memcpy(out, text.data, n);
        out[n] = '\0';
    }
    buffer_free(&text);
    return good;
}

static status locate_cached(const char *path, char *out, size_t size, status_detail *detail)
{
    char hub[PATH_MAX], folder[PATH_MAX], commit[128];
    if (!hub_cache_folder(hub, sizeof hub) || !hub_cache_repository(folder, sizeof folder, hub, path))
        return status_fail(detail, STATUS_MODEL,
                           "model %s: no such directory, and no Hugging Face cache to look in (HF_HUB_CACHE, HF_HOME "
                           "and HOME are not set, or too long); give a directory, or run: gptoss-tp fetch %s --to DIR",
                           path, path);
    if (!is_directory(folder))
        return status_fail(detail, STATUS_MODEL,
                           "model %s: no such directory, and no %s in the Hugging Face cache; give a directory, or "
                           "run: gptoss-tp fetch %s",
                           path, folder, path);
    if (!read_commit(folder, commit, sizeof commit))
        return status_fail(detail, STATUS_MODEL,
                           "model %s: %s/refs/main does not name a snapshot; run: gptoss-tp fetch %s", path, folder,
                           path);

    char found[PATH_MAX];
    int n = snprintf(found, sizeof found, "%s/snapshots/%s", folder, commit);
    if (n < 0 || (size_t)n >= sizeof found || (size_t)n >= size)
        return status_fail(detail, STATUS_MODEL, "model %s: the path of its snapshot is too long", path);
    if (!holds_model(found))
        return status_fail(
            detail, STATUS_MODEL,
            "model %s: no config.json (nor original/config.json) in %s; finish the download: gptoss-tp fetch %s", path,
            found, path);
    memcpy(out, found, (size_t)n + 1);
    return STATUS_OK;
}

status checkpoint_locate(const char *path, char *out, size_t size, status_detail *detail)
{
    if (is_directory(path)) {
        if (!holds_model(path))
            return status_fail(detail, STATUS_MODEL,
                               "model %s: no config.json (nor original/config.json) in that directory", path);
        if (strlen(path) >= size)
            return status_fail(detail, STATUS_MODEL, "model %.200s...: the path is too long", path);
        memcpy(out, path, strlen(path) + 1);
        return STATUS_OK;
    }
    if (!hub_cache_is_repository(path)) return status_fail(detail, STATUS_MODEL, "model %s: no such directory", path);
    return locate_cached(path, out, size, detail);
}
