#include "runtime/base/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/nearest.h"
#include "runtime/base/settings_table.h"

/* ---- life ------------------------------------------------------------------------------------------------------- */

status settings_init(settings *s, status_detail *detail)
{
    settings fresh = {0};
    size_t count;
    const settings_option *rows = settings_table(&count);
    for (size_t i = 0; i < count; i++) {
        settings_scalar initial = {rows[i].initial, false};
        if (!rows[i].initial) continue;
        status result = settings_assign(&fresh, &rows[i], &initial, 1, detail);
        if (result != STATUS_OK) {
            settings_free(&fresh);
            return status_prefix(detail, result, "default of %s", rows[i].key);
        }
    }
    *s = fresh;
    return STATUS_OK;
}

void settings_free(settings *s)
{
    size_t count;
    const settings_option *rows = settings_table(&count);
    for (size_t i = 0; i < count; i++) {
        void *at = (char *)s + rows[i].offset;
        if (rows[i].type == SETTINGS_TEXT) free(*(char **)at);
        if (rows[i].type == SETTINGS_LIST) {
            settings_list *list = at;
            for (int k = 0; k < list->count; k++) free(list->items[k]);
            free(list->items);
        }
    }
    *s = (settings){0};
}

/* ---- flags ------------------------------------------------------------------------------------------------------ */

status settings_set(settings *s, const char *origin, const char *key, const char *value, status_detail *detail)
{
    char shown[SETTINGS_SHOWN];
    const settings_option *option = settings_find(key);
    if (!option) {
        const char *nearest = settings_nearest_key(key);
        return status_fail(detail, STATUS_USAGE, "%s: unknown key %s%s%s%s", origin, settings_show(key, shown),
                           nearest ? "; did you mean " : "; --help lists them all", nearest ? nearest : "", nearest ? "?" : "");
    }
    status result;
    if (option->type == SETTINGS_LIST && strchr(value, ',')) {
        size_t count = 1, used = 0;
        for (const char *c = value; *c; c++) count += *c == ',';
        char *copy = strdup(value), *rest = copy;
        settings_scalar *parts = calloc(count, sizeof *parts);
        for (char *part; copy && parts && (part = strsep(&rest, ",")) != NULL;) parts[used++] = (settings_scalar){part, false};
        result = copy && parts ? settings_assign(s, option, parts, count, detail) : status_fail(detail, STATUS_MACHINE, "out of memory");
        free(parts);
        free(copy);
    } else {
        result = settings_assign(s, option, &(settings_scalar){value, false}, 1, detail);
    }
    if (result == STATUS_OK) return STATUS_OK;
    if (strcmp(origin, "--set") == 0) return status_prefix(detail, result, "--set %s", key);
    return status_prefix(detail, result, "%s", origin);
}

static const settings_option *find_flag(const char *flag, size_t length)
{
    size_t count;
    const settings_option *rows = settings_table(&count);
    for (size_t i = 0; i < count; i++)
        if (rows[i].flag && strlen(rows[i].flag) == length && memcmp(rows[i].flag, flag, length) == 0) return &rows[i];
    return NULL;
}

/* `value` of --set: "section.key=value". */
static status set_pair(settings *s, const char *value, status_detail *detail)
{
    char key[128], shown[SETTINGS_SHOWN];
    const char *equals = strchr(value, '=');
    if (!equals || equals == value || (size_t)(equals - value) >= sizeof key)
        return status_fail(detail, STATUS_USAGE, "--set: found %s, allowed is section.key=value", settings_show(value, shown));
    snprintf(key, sizeof key, "%.*s", (int)(equals - value), value);
    return settings_set(s, "--set", key, equals + 1, detail);
}

/* One pass over argv. Leaves argv alone when `rest` is NULL; otherwise moves what it does not know to the front and counts it. */
static status pass_flags(settings *s, int argc, char **argv, int *rest, status_detail *detail)
{
    int kept = 0;
    bool ended = false;
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        size_t length = strcspn(arg, "=");
        bool is_set = length == 5 && memcmp(arg, "--set", 5) == 0;
        const settings_option *option = find_flag(arg, length);
        if (strcmp(arg, "--") == 0) ended = true;
        if (i == 0 || ended || !(is_set || option)) {
            if (rest) argv[kept++] = arg;
            continue;
        }
        const char *value = arg[length] ? arg + length + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (!value || (!arg[length] && strncmp(value, "--", 2) == 0))
            return status_fail(detail, STATUS_USAGE, "%s needs a value: %s", arg, is_set ? "section.key=value" : option->help);
        char flag[64];
        snprintf(flag, sizeof flag, "%.*s", (int)length, arg);
        STATUS_TRY(is_set ? set_pair(s, value, detail) : settings_set(s, flag, option->key, value, detail));
    }
    if (rest) *rest = kept;
    return STATUS_OK;
}

status settings_take_flags(settings *s, int *argc, char **argv, status_detail *detail)
{
    /* Every flag is tried on settings of its own first, so that a wrong one leaves `s` and argv as they were. */
    settings trial;
    STATUS_TRY(settings_init(&trial, detail));
    status result = pass_flags(&trial, *argc, argv, NULL, detail);
    settings_free(&trial);
    if (result != STATUS_OK) return result;
    return pass_flags(s, *argc, argv, argc, detail);
}

const char *settings_nearest_flag(const char *given)
{
    size_t count;
    const settings_option *rows = settings_table(&count);
    const char *best = "--set";
    int least = nearest_distance(given, best);
    for (size_t i = 0; i < count; i++) {
        if (!rows[i].flag) continue;
        int distance = nearest_distance(given, rows[i].flag);
        if (distance >= least) continue;
        least = distance;
        best = rows[i].flag;
    }
    return best;
}

/* ---- after all is read ------------------------------------------------------------------------------------------ */

/* The last part of the path; the real directory's where the path itself ends in "." or "..". */
static char *name_from_path(const char *path)
{
    char real[PATH_MAX];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    const char *start = path + length;
    while (start > path && start[-1] != '/') start--;
    size_t size = (size_t)(path + length - start);
    bool dots = (size == 1 && start[0] == '.') || (size == 2 && start[0] == '.' && start[1] == '.');
    if (dots && realpath(path, real)) {
        start = strrchr(real, '/') + 1;
        size = strlen(start);
    }
    return size && start[0] != '/' ? strndup(start, size) : strdup("model");
}

status settings_finish(settings *s, status_detail *detail)
{
    if (s->engine.max_sequences > s->engine.max_tokens_per_step)
        return status_fail(detail, STATUS_USAGE,
                           "key engine.max_sequences: found %" PRId64 ", allowed is at most engine.max_tokens_per_step, which is %" PRId64
                           ": a step decodes one token of each sequence",
                           s->engine.max_sequences, s->engine.max_tokens_per_step);
    if (s->model.names.count == 0 && s->model.path) {
        char **items = calloc(1, sizeof *items);
        char *name = items ? name_from_path(s->model.path) : NULL;
        if (!name) {
            free(items);
            return status_fail(detail, STATUS_MACHINE, "out of memory");
        }
        items[0] = name;
        s->model.names = (settings_list){items, 1};
    }
    return STATUS_OK;
}

void settings_help(FILE *out)
{
    size_t count;
    const settings_option *rows = settings_table(&count);
    for (size_t i = 0; i < count; i++) {
        char allowed[256];
        fprintf(out, "  %-28s%s%s%s\n", rows[i].key, rows[i].initial ? rows[i].initial : "null", rows[i].flag ? "    " : "",
                rows[i].flag ? rows[i].flag : "");
        fprintf(out, "      %s\n", rows[i].help);
        fprintf(out, "      allowed: %s\n", settings_allowed(&rows[i], allowed, sizeof allowed));
    }
}
