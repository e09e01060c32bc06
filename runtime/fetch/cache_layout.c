#include "runtime/fetch/cache_layout.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/hub_cache.h"
#include "runtime/fetch/hub_path.h"

static bool join(char *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool join(char *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out, PATH_MAX, format, args);
    va_end(args);
    return n > 0 && n < PATH_MAX;
}

static status too_long(const char *path, status_detail *detail)
{
    return status_fail(detail, STATUS_USAGE, "%.200s...: the path is too long", path);
}

status cache_layout_plain(cache_layout *out, const char *dir, const char *commit, status_detail *detail)
{
    cache_layout l = {.plain = true};
    memcpy(l.commit, commit, strlen(commit) + 1);
    if (!join(l.root, "%s", dir) || !join(l.files, "%s", dir) || !join(l.work, "%s/.gptoss-fetch", dir) ||
        !join(l.lock, "%s/.gptoss-fetch/lock", dir))
        return too_long(dir, detail);
    *out = l;
    return STATUS_OK;
}

status cache_layout_cache(cache_layout *out, const char *hub, const char *repository, const char *commit, status_detail *detail)
{
    cache_layout l = {.plain = false};
    memcpy(l.commit, commit, strlen(commit) + 1);
    if (!hub_cache_repository(l.root, sizeof l.root, hub, repository)) return too_long(hub, detail);
    const char *name = strrchr(l.root, '/') + 1;
    if (!join(l.files, "%s/snapshots/%s", l.root, commit) || !join(l.work, "%s/blobs", l.root) ||
        !join(l.lock, "%s/.locks/%s/gptoss-tp.lock", hub, name))
        return too_long(hub, detail);
    *out = l;
    return STATUS_OK;
}

bool cache_layout_final(const cache_layout *l, const hub_file *file, char *out)
{
    return l->plain ? join(out, "%s/%s", l->files, file->path) : join(out, "%s/%s", l->work, file->digest);
}

/* FNV-1a (Fowler, Noll, Vo), 32 bits. */
static uint32_t hash(const char *text)
{
    uint32_t h = 2166136261u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 16777619u;
    return h;
}

/* Named by what they hold, so that another revision does not go on from this one's bytes. Two plain files may hold the same. */
static bool unfinished(const cache_layout *l, const hub_file *file, const char *kind, char *out)
{
    return l->plain ? join(out, "%s/%s-%08" PRIx32 ".gptoss-%s", l->work, file->digest, hash(file->path), kind)
                    : join(out, "%s/%s.gptoss-%s", l->work, file->digest, kind);
}

bool cache_layout_data(const cache_layout *l, const hub_file *file, char *out) { return unfinished(l, file, "part", out); }

bool cache_layout_record(const cache_layout *l, const hub_file *file, char *out) { return unfinished(l, file, "record", out); }

bool cache_layout_link(const cache_layout *l, const hub_file *file, char *out) { return join(out, "%s/%s", l->files, file->path); }

bool cache_layout_target(const hub_file *file, char *out)
{
    char up[3 * (HUB_PATH_MOST + 2) + 1] = "../../"; /* from snapshots/COMMIT/ to the root */
    size_t used = 6;
    for (const char *c = file->path; *c; c++) {
        if (*c != '/') continue; /* and up from each folder of the path */
        if (used + 4 > sizeof up) return false;
        memcpy(up + used, "../", 4);
        used += 3;
    }
    return join(out, "%sblobs/%s", up, file->digest);
}

bool cache_layout_ref(const cache_layout *l, const char *branch, char *out) { return join(out, "%s/refs/%s", l->root, branch); }
