#include "runtime/model/checkpoint_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/model/model_file.h"

static const char index_name[] = "model.safetensors.index.json";
static const char single_name[] = "model.safetensors";
static const char suffix[] = ".safetensors";
enum { INDEX_LIMIT = 64 << 20 };

static status no_memory(const char *dir, status_detail *detail)
{
    return status_fail(detail, STATUS_MACHINE, "%s: out of memory for the table of tensors", dir);
}

/* ---- which files ------------------------------------------------------------------------------------------------ */

static int compare_shards(const void *a, const void *b)
{
    return strcmp(((const checkpoint_shard *)a)->name, ((const checkpoint_shard *)b)->name);
}

static bool add_shard(checkpoint_files *files, const char *name)
{
    checkpoint_shard *grown = realloc(files->shards, (files->n_shards + 1) * sizeof *grown);
    if (!grown) return false;
    files->shards = grown;
    grown[files->n_shards] = (checkpoint_shard){.name = strdup(name)};
    if (!grown[files->n_shards].name) return false;
    files->n_shards++;
    return true;
}

static void sort_shards(checkpoint_files *files)
{
    if (files->n_shards) qsort(files->shards, files->n_shards, sizeof *files->shards, compare_shards);
}

static checkpoint_shard *find_shard(const checkpoint_files *files, const char *name)
{
    checkpoint_shard key = {.name = (char *)(uintptr_t)name};
    return files->n_shards ? bsearch(&key, files->shards, files->n_shards, sizeof key, compare_shards) : NULL;
}

/* An index comes from elsewhere: it may name files of its own folder and no others. */
static bool plain_name(const char *name)
{
    return name && *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static status list_indexed(const char *dir, const json_t *map, checkpoint_files *files, status_detail *detail)
{
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, file)
    {
        const char *name = json_string_value(file);
        if (!plain_name(name))
            return status_fail(
                detail, STATUS_MODEL,
                "%s/%s: weight_map: tensor %.200s: found \"%.200s\", allowed: the name of a file in the same folder",
                dir, index_name, tensor, name ? name : "(not a text)");
        bool known = false;
        for (size_t i = 0; i < files->n_shards && !known; i++) known = strcmp(files->shards[i].name, name) == 0;
        if (!known && !add_shard(files, name)) return no_memory(dir, detail);
    }
    sort_shards(files);
    return STATUS_OK;
}

static status list_folder(const char *dir, checkpoint_files *files, status_detail *detail)
{
    status result = STATUS_OK;
    struct dirent *item;
    DIR *folder = opendir(dir);
    if (!folder) return status_fail(detail, STATUS_MODEL, "%s: cannot be opened: %s", dir, strerror(errno));
    while (result == STATUS_OK && (item = readdir(folder))) {
        size_t length = strlen(item->d_name), tail = sizeof suffix - 1;
        if (item->d_name[0] != '.' && length > tail && strcmp(item->d_name + length - tail, suffix) == 0 &&
            !add_shard(files, item->d_name))
            result = no_memory(dir, detail);
    }
    closedir(folder);
    sort_shards(files);
    if (result == STATUS_OK && files->n_shards == 0)
        result =
            status_fail(detail, STATUS_MODEL, "%s: no %s, no %s and no other *%s file there; is the download complete?",
                        dir, index_name, single_name, suffix);
    return result;
}

/* *map is a new reference, or NULL where there is no index. */
static status list_files(const char *dir, checkpoint_files *files, json_t **map, status_detail *detail)
{
    char path[PATH_MAX];
    buffer text = {0};
    json_error_t error;
    if (!model_file_exists(dir, index_name)) {
        if (!model_file_exists(dir, single_name)) return list_folder(dir, files, detail);
        return add_shard(files, single_name) ? STATUS_OK : no_memory(dir, detail);
    }
    STATUS_TRY(model_file_path(path, sizeof path, dir, index_name, detail));
    STATUS_TRY(model_file_read(path, INDEX_LIMIT, &text, detail));
    json_t *root = json_loadb(text.data ? text.data : "", text.size, JSON_REJECT_DUPLICATES, &error);
    buffer_free(&text);
    if (!root) return status_fail(detail, STATUS_MODEL, "%s:%d: not valid JSON: %s", path, error.line, error.text);
    *map = json_incref(json_object_get(root, "weight_map"));
    json_decref(root);
    if (!json_is_object(*map))
        return status_fail(detail, STATUS_MODEL, "%s: field weight_map: an object of tensor and file names is expected",
                           path);
    files->indexed = true;
    return list_indexed(dir, *map, files, detail);
}

/* ---- what is in them -------------------------------------------------------------------------------------------- */

/* The kernel's default read-ahead is left as it is: MADV_SEQUENTIAL would drop pages that the CPU backend reads in
 * every step, MADV_RANDOM would make copying to a device crawl, and MADV_WILLNEED would read the slices of all other
 * ranks too. */
static status map_shard(const char *dir, checkpoint_shard *shard, status_detail *detail)
{
    char path[PATH_MAX];
    struct stat info;
    status result = STATUS_OK;
    STATUS_TRY(model_file_path(path, sizeof path, dir, shard->name, detail));
    /* Not to wait for the writer of a pipe that stands where a file is expected. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return status_fail(detail, STATUS_MODEL, "%s: cannot be opened: %s; is the download complete?", path,
                           strerror(errno));
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0) {
        result = status_fail(detail, STATUS_MODEL, "%s: is empty or not a regular file; download it again", path);
        goto close_file;
    }
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) {
        result = status_fail(detail, STATUS_MACHINE, "%s: cannot be mapped: %s (ulimit -v?)", path, strerror(errno));
        goto close_file;
    }
    shard->map = map;
    shard->size = (size_t)info.st_size;
    result = safetensors_parse(map, shard->size, path, &shard->contents, detail);
close_file:
    close(file);
    return result;
}

static int compare_tensors(const void *a, const void *b)
{
    return strcmp(((const checkpoint_tensor *)a)->entry->name, ((const checkpoint_tensor *)b)->entry->name);
}

/* The table is what the index says, where there is one: other tensors of its files do not count. */
static status table_from_index(const char *dir, const json_t *map, checkpoint_files *files, status_detail *detail)
{
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, file)
    {
        const checkpoint_shard *shard = find_shard(files, json_string_value(file));
        const safetensors_entry *entry = safetensors_find(&shard->contents, tensor);
        if (!entry)
            return status_fail(detail, STATUS_MODEL,
                               "%s/%s: tensor %.200s is missing, though %s says it is there; download both again", dir,
                               shard->name, tensor, index_name);
        files->tensors[files->n_tensors++] = (checkpoint_tensor){entry, shard, false};
    }
    return STATUS_OK;
}

static void table_from_shards(checkpoint_files *files)
{
    for (size_t i = 0; i < files->n_shards; i++)
        for (size_t k = 0; k < files->shards[i].contents.count; k++)
            files->tensors[files->n_tensors++] =
                (checkpoint_tensor){&files->shards[i].contents.entries[k], &files->shards[i], false};
}

static status make_table(const char *dir, const json_t *map, checkpoint_files *files, status_detail *detail)
{
    size_t room = 1;
    for (size_t i = 0; i < files->n_shards; i++) room += files->shards[i].contents.count;
    if (map) room += json_object_size(map);
    files->tensors = calloc(room, sizeof *files->tensors);
    if (!files->tensors) return no_memory(dir, detail);
    if (map)
        STATUS_TRY(table_from_index(dir, map, files, detail));
    else
        table_from_shards(files);
    qsort(files->tensors, files->n_tensors, sizeof *files->tensors, compare_tensors);
    for (size_t i = 1; i < files->n_tensors; i++)
        if (compare_tensors(&files->tensors[i - 1], &files->tensors[i]) == 0)
            return status_fail(detail, STATUS_MODEL,
                               "%s: tensor %.200s is in %s and in %s; remove the file that does not belong there", dir,
                               files->tensors[i].entry->name, files->tensors[i - 1].shard->name,
                               files->tensors[i].shard->name);
    return STATUS_OK;
}

status checkpoint_files_open(const char *dir, checkpoint_files *out, status_detail *detail)
{
    checkpoint_files files = {0};
    json_t *map = NULL;
    status result = list_files(dir, &files, &map, detail);
    for (size_t i = 0; i < files.n_shards && result == STATUS_OK; i++)
        result = map_shard(dir, &files.shards[i], detail);
    if (result == STATUS_OK) result = make_table(dir, map, &files, detail);
    json_decref(map);
    if (result == STATUS_OK)
        *out = files;
    else
        checkpoint_files_close(&files);
    return result;
}

void checkpoint_files_close(checkpoint_files *files)
{
    for (size_t i = 0; i < files->n_shards; i++) {
        checkpoint_shard *shard = &files->shards[i];
        safetensors_free(&shard->contents);
        if (shard->map) munmap(shard->map, shard->size);
        free(shard->name);
    }
    free(files->shards);
    free(files->tensors);
    *files = (checkpoint_files){0};
}

checkpoint_tensor *checkpoint_files_find(const checkpoint_files *files, const char *name)
{
    safetensors_entry entry = {.name = (char *)(uintptr_t)name};
    checkpoint_tensor key = {&entry, NULL, false};
    return files->n_tensors ? bsearch(&key, files->tensors, files->n_tensors, sizeof key, compare_tensors) : NULL;
}
