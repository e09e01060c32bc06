#include "launch/configuration.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/model/checkpoint.h"

static char **copy_of(int argc, char **argv)
{
    char **copy = calloc((size_t)argc + 1, sizeof *copy);
    if (copy) memcpy(copy, argv, (size_t)argc * sizeof *copy);
    return copy;
}

/* First pass: the configuration's flags are taken out, so that what is left shows which word is the file. */
static status find_file(int argc, char **argv, const argument *own, size_t n_own, const char **file, status_detail *detail)
{
    arguments a = {.flags = own, .n_flags = n_own, .positional_name = "configuration file", .positional = file, .settings_flags = true};
    settings trial;
    char **rest = copy_of(argc, argv);
    if (!rest) return status_fail(detail, STATUS_MACHINE, "out of memory");
    status result = settings_init(&trial, detail);
    if (result == STATUS_OK) {
        result = settings_take_flags(&trial, &argc, rest, detail);
        if (result == STATUS_OK) result = arguments_parse(&a, argc, rest, detail);
        settings_free(&trial);
    }
    free(rest);
    return result;
}

static status read_all(int argc, char **argv, const char *file, settings *s, status_detail *detail)
{
    if (file) STATUS_TRY(settings_read_file(s, file, detail));
    char **rest = copy_of(argc, argv);
    if (!rest) return status_fail(detail, STATUS_MACHINE, "out of memory");
    status result = settings_take_flags(s, &argc, rest, detail);
    free(rest);
    STATUS_TRY(result);
    status finished = settings_finish(s, detail);
    if (finished != STATUS_OK) return file ? status_prefix(detail, finished, "%s", file) : finished;
    if (!s->model.path)
        return status_fail(detail, STATUS_USAGE, "%s%skey model.path: found nothing, allowed is a checkpoint: set it in the file or by --model PATH",
                           file ? file : "", file ? ": " : "");
    return STATUS_OK;
}

status configuration_read(int argc, char **argv, const argument *own, size_t n_own, settings *out, status_detail *detail)
{
    const char *file = NULL;
    settings fresh;
    STATUS_TRY(find_file(argc, argv, own, n_own, &file, detail));
    STATUS_TRY(settings_init(&fresh, detail));
    status result = read_all(argc, argv, file, &fresh, detail);
    if (result != STATUS_OK) {
        settings_free(&fresh);
        return result;
    }
    *out = fresh;
    return STATUS_OK;
}

status configuration_locate(const settings *s, bool shape_suffices, char dir[CONFIGURATION_MAX_PATH], model_config *out,
                            status_detail *detail)
{
    char found[CONFIGURATION_MAX_PATH];
    model_config config;
    status result = checkpoint_locate(s->model.path, found, sizeof found, detail);
    if (result == STATUS_OK) {
        STATUS_TRY(model_config_read(found, &config, detail));
    } else {
        const char *slash = strrchr(s->model.path, '/');
        if (!shape_suffices || !model_config_published(slash ? slash + 1 : s->model.path, &config)) return result;
        found[0] = '\0';
    }
    memcpy(dir, found, strlen(found) + 1);
    *out = config;
    return STATUS_OK;
}
