#include "runtime/fetch/hub_listing.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/fetch/hub_path.h"

/* Foreign text for a message. */
enum { SHOWN = 80 };

static const char *show(const char *text, size_t size, char out[SHOWN])
{
    size_t n = size < SHOWN - 1 ? size : SHOWN - 1;
    for (size_t i = 0; i < n; i++) out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    out[n] = '\0';
    return out;
}

static json_t *load(const char *data, size_t size, status_detail *detail)
{
    json_error_t error;
    json_t *root = json_loadb(data, size, JSON_REJECT_DUPLICATES, &error);
    if (!root) status_fail(detail, STATUS_MODEL, "the hub's answer is no JSON, at byte %d: %s", error.position, error.text);
    return root;
}

static status add_file(hub_listing *listing, const json_t *path, const json_t *size, const json_t *digest, hub_digest kind,
                       status_detail *detail)
{
    char shown[SHOWN];
    size_t digits = kind == HUB_SHA256 ? 64 : 40;
    if (!json_is_string(path)) return status_fail(detail, STATUS_MODEL, "the hub's listing has a file without a path");
    show(json_string_value(path), json_string_length(path), shown);
    if (!hub_path_is_safe(json_string_value(path), json_string_length(path)))
        return status_fail(detail, STATUS_MODEL, "the hub's listing has a path that leads out of the folder or cannot be printed: %s", shown);
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return status_fail(detail, STATUS_MODEL, "the hub's listing has no size for %s", shown);
    if (!json_is_string(digest) || !hub_path_is_hex(json_string_value(digest), json_string_length(digest), digits))
        return status_fail(detail, STATUS_MODEL, "the hub's listing has no checksum of %zu hexadecimal digits for %s", digits, shown);
    if (listing->count == HUB_MOST_FILES)
        return status_fail(detail, STATUS_MODEL, "the hub's listing has more than %d files, which no model has", HUB_MOST_FILES);
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity ? 2 * listing->capacity : 64;
        hub_file *grown = realloc(listing->files, capacity * sizeof *grown);
        if (!grown) return status_fail(detail, STATUS_MACHINE, "out of memory");
        listing->files = grown;
        listing->capacity = capacity;
    }
    hub_file *file = &listing->files[listing->count];
    *file = (hub_file){.path = strdup(json_string_value(path)), .size = json_integer_value(size), .kind = kind};
    if (!file->path) return status_fail(detail, STATUS_MACHINE, "out of memory");
    memcpy(file->digest, json_string_value(digest), digits + 1);
    listing->count++;
    return STATUS_OK;
}

static bool is_text(const json_t *value, const char *text) { return json_is_string(value) && strcmp(json_string_value(value), text) == 0; }

/* A file in LFS carries the SHA-256 of its bytes; its oid is that of the pointer. */
static status add_huggingface_entry(hub_listing *listing, const json_t *entry, status_detail *detail)
{
    if (!json_is_object(entry)) return status_fail(detail, STATUS_MODEL, "the hub's listing has an entry that is no object");
    if (!is_text(json_object_get(entry, "type"), "file")) return STATUS_OK;
    const json_t *lfs = json_object_get(entry, "lfs"), *path = json_object_get(entry, "path");
    if (json_is_object(lfs)) return add_file(listing, path, json_object_get(lfs, "size"), json_object_get(lfs, "oid"), HUB_SHA256, detail);
    return add_file(listing, path, json_object_get(entry, "size"), json_object_get(entry, "oid"), HUB_GIT_BLOB, detail);
}

static status add_modelscope_entry(hub_listing *listing, const json_t *entry, status_detail *detail)
{
    if (!json_is_object(entry)) return status_fail(detail, STATUS_MODEL, "the hub's listing has an entry that is no object");
    if (is_text(json_object_get(entry, "Type"), "tree")) return STATUS_OK;
    return add_file(listing, json_object_get(entry, "Path"), json_object_get(entry, "Size"), json_object_get(entry, "Sha256"), HUB_SHA256,
                    detail);
}

static void cut_back(hub_listing *listing, size_t count)
{
    while (listing->count > count) free(listing->files[--listing->count].path);
}

typedef status add_entry(hub_listing *listing, const json_t *entry, status_detail *detail);

static status add_entries(hub_listing *listing, const json_t *entries, add_entry *add, status_detail *detail)
{
    size_t before = listing->count;
    for (size_t i = 0; i < json_array_size(entries); i++) {
        status result = add(listing, json_array_get(entries, i), detail);
        if (result != STATUS_OK) {
            cut_back(listing, before);
            return result;
        }
    }
    return STATUS_OK;
}

status hub_listing_add_huggingface(hub_listing *listing, const char *data, size_t size, status_detail *detail)
{
    json_t *root = load(data, size, detail);
    if (!root) return STATUS_MODEL;
    status result = json_is_array(root) ? add_entries(listing, root, add_huggingface_entry, detail)
                                        : status_fail(detail, STATUS_MODEL, "the hub's listing is no list");
    json_decref(root);
    return result;
}

/* {"Code": 200, "Data": {"Files": [...]}}. A revision that is not there is answered by HTTP 200 and "Files": null. */
status hub_listing_add_modelscope(hub_listing *listing, const char *data, size_t size, status_detail *detail)
{
    json_t *root = load(data, size, detail);
    if (!root) return STATUS_MODEL;
    const json_t *files = json_object_get(json_object_get(root, "Data"), "Files"), *message = json_object_get(root, "Message");
    status result;
    char shown[SHOWN] = "no files";
    if (json_is_array(files)) {
        result = add_entries(listing, files, add_modelscope_entry, detail);
    } else {
        if (json_is_string(message) && *json_string_value(message)) show(json_string_value(message), json_string_length(message), shown);
        result = status_fail(detail, STATUS_USAGE, "no such model or revision, says the hub: %s", shown);
    }
    json_decref(root);
    return result;
}

static int by_path(const void *a, const void *b) { return strcmp(((const hub_file *)a)->path, ((const hub_file *)b)->path); }

status hub_listing_finish(hub_listing *listing, status_detail *detail)
{
    if (listing->count) qsort(listing->files, listing->count, sizeof *listing->files, by_path);
    for (size_t i = 1; i < listing->count; i++)
        if (strcmp(listing->files[i - 1].path, listing->files[i].path) == 0)
            return status_fail(detail, STATUS_MODEL, "the hub's listing has %.80s twice", listing->files[i].path);
    return STATUS_OK;
}

void hub_listing_free(hub_listing *listing)
{
    cut_back(listing, 0);
    free(listing->files);
    *listing = (hub_listing){0};
}

status hub_listing_commit(const char *data, size_t size, char out[HUB_DIGEST_SIZE], status_detail *detail)
{
    json_t *root = load(data, size, detail);
    if (!root) return STATUS_MODEL;
    status result = STATUS_OK;
    const json_t *sha = json_object_get(root, "sha");
    if (json_is_string(sha) && hub_path_is_hex(json_string_value(sha), json_string_length(sha), 40))
        memcpy(out, json_string_value(sha), 41);
    else
        result = status_fail(detail, STATUS_MODEL, "the hub's answer names no commit");
    json_decref(root);
    return result;
}

/* Whether the parameters between `at` and the next link hold rel="next", which may stand among other words. */
static bool is_next(const char *at, const char *end)
{
    for (; end - at >= 4; at++) {
        if (strncasecmp(at, "rel=", 4) != 0) continue;
        at += 4;
        bool quoted = at < end && *at == '"';
        if (quoted) at++;
        const char *stop = at;
        while (stop < end && (quoted ? *stop != '"' : *stop != ';' && *stop != ',' && *stop != ' ')) stop++;
        while (at < stop) {
            const char *space = memchr(at, ' ', (size_t)(stop - at)), *word = space ? space : stop;
            if (word - at == 4 && strncasecmp(at, "next", 4) == 0) return true;
            at = space ? space + 1 : stop;
        }
        return false;
    }
    return false;
}

bool hub_listing_next(const char *value, size_t size, buffer *out)
{
    const char *end = value + size;
    while (value < end) {
        const char *open = memchr(value, '<', (size_t)(end - value));
        const char *close = open ? memchr(open, '>', (size_t)(end - open)) : NULL;
        if (!close) return false;
        const char *following = memchr(close, '<', (size_t)(end - close)), *stop = following ? following : end;
        if (is_next(close, stop)) {
            for (const char *c = open + 1; c < close; c++)
                if ((unsigned char)*c <= 0x20 || *c == 0x7f) return false;
            return close > open + 1 && buffer_append(out, open + 1, (size_t)(close - open - 1));
        }
        value = stop;
    }
    return false;
}
