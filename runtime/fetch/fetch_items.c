#include "runtime/fetch/fetch_items.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool has_size(const char *path, int64_t size)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == size;
}

static char *copy(bool fits, const char *path) { return fits ? strdup(path) : NULL; }

static status make_item(const hub_file *file, const cache_layout *layout, const hub_source *source, const hub_place *place, fetch_item *out,
                        status_detail *detail)
{
    char path[PATH_MAX];
    buffer url = {0};
    *out = (fetch_item){.file = file};
    out->final = copy(cache_layout_final(layout, file, path), path);
    out->data = copy(cache_layout_data(layout, file, path), path);
    out->record = copy(cache_layout_record(layout, file, path), path);
    if (!out->final || !out->data || !out->record || !source->file_url(source, place, file->path, &url)) {
        buffer_free(&url);
        return status_fail(detail, STATUS_MACHINE, "%.200s: its path is too long, or out of memory", file->path);
    }
    out->url = url.data;
    out->present = has_size(out->final, file->size);
    if (out->present && !layout->plain) out->state = ITEM_DONE;
    return STATUS_OK;
}

static void free_item(fetch_item *item)
{
    partial_file_close(item->partial);
    free(item->url);
    free(item->final);
    free(item->data);
    free(item->record);
}

static bool is_there(const fetch_items *f, const fetch_item *item)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->items[i].final, item->final) == 0) return true;
    return false;
}

status fetch_items_make(const hub_listing *listing, const cache_layout *layout, const hub_source *source, const hub_place *place,
                        fetch_items *out, status_detail *detail)
{
    status result = STATUS_OK;
    fetch_items f = {.items = calloc(listing->count + 1, sizeof *f.items)};
    if (!f.items) return status_fail(detail, STATUS_MACHINE, "out of memory");
    for (size_t i = 0; i < listing->count && result == STATUS_OK; i++) {
        fetch_item item;
        result = make_item(&listing->files[i], layout, source, place, &item, detail);
        if (result != STATUS_OK || is_there(&f, &item))
            free_item(&item);
        else if (__builtin_add_overflow(f.total, item.file->size, &f.total))
            result = status_fail(detail, STATUS_MODEL, "the hub's listing has files of more than 2^63 bytes together"), free_item(&item);
        else
            f.items[f.count++] = item;
    }
    if (result == STATUS_OK)
        *out = f;
    else
        fetch_items_free(&f);
    return result;
}

void fetch_items_free(fetch_items *f)
{
    for (size_t i = 0; i < f->count; i++) free_item(&f->items[i]);
    free(f->items);
    *f = (fetch_items){0};
}

int64_t fetch_items_done(const fetch_items *f)
{
    int64_t done = 0;
    for (size_t i = 0; i < f->count; i++) {
        const fetch_item *item = &f->items[i];
        if (item->state == ITEM_DONE || item->state == ITEM_CHECKING)
            done += item->file->size;
        else if (item->state == ITEM_FETCHING)
            done += partial_file_done(item->partial);
    }
    return done;
}

int64_t fetch_items_wanted(const fetch_items *f)
{
    int64_t wanted = 0;
    for (size_t i = 0; i < f->count; i++) {
        const fetch_item *item = &f->items[i];
        if (item->state == ITEM_DONE || item->present) continue;
        int64_t stored = partial_file_stored(item->data);
        wanted += stored < item->file->size ? item->file->size - stored : 0;
    }
    return wanted;
}
