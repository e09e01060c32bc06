#include "launch/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/bytes.h"
#include "runtime/base/nearest.h"
#include "runtime/base/settings.h"

static status refuse_flag(const arguments *a, const char *given, status_detail *detail)
{
    const char *best = a->settings_flags ? settings_nearest_flag(given) : "--help";
    for (size_t i = 0; i < a->n_flags; i++)
        if (nearest_distance(given, a->flags[i].flag) < nearest_distance(given, best)) best = a->flags[i].flag;
    bool meant = nearest_plausible(given, nearest_distance(given, best));
    return status_fail(detail, STATUS_USAGE, "unknown flag %.64s%s%s%s", given, meant ? "; did you mean " : "; --help lists them",
                       meant ? best : "", meant ? "?" : "");
}

static status set_value(const argument *flag, const char *value, status_detail *detail)
{
    if (flag->type == ARGUMENT_TEXT) {
        if (!*value) return status_fail(detail, STATUS_USAGE, "%s: found nothing, allowed is a text", flag->flag);
        *(const char **)flag->to = value;
        return STATUS_OK;
    }
    if (flag->type == ARGUMENT_BYTES) {
        if (!bytes_parse(value, flag->to))
            return status_fail(detail, STATUS_USAGE, "%s: found '%.64s', allowed is an amount such as 80GiB or 512MB", flag->flag, value);
        return STATUS_OK;
    }
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (end == value || *end || errno || number < flag->least || number > flag->most)
        return status_fail(detail, STATUS_USAGE, "%s: found '%.64s', allowed is an integer from %" PRId64 " to %" PRId64, flag->flag, value,
                           flag->least, flag->most);
    *(int64_t *)flag->to = number;
    return STATUS_OK;
}

static const argument *find_flag(const arguments *a, const char *given, size_t length)
{
    for (size_t i = 0; i < a->n_flags; i++)
        if (strlen(a->flags[i].flag) == length && memcmp(a->flags[i].flag, given, length) == 0) return &a->flags[i];
    return NULL;
}

status arguments_parse(const arguments *a, int argc, char **argv, status_detail *detail)
{
    const char *word = NULL;
    bool ended = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!ended && strcmp(arg, "--") == 0) {
            ended = true;
        } else if (ended || arg[0] != '-' || !arg[1]) {
            if (word)
                return status_fail(detail, STATUS_USAGE, "found '%.64s' after '%.64s', allowed is one %s", arg, word, a->positional_name);
            word = arg;
        } else {
            size_t length = strcspn(arg, "=");
            const argument *flag = find_flag(a, arg, length);
            if (!flag) return refuse_flag(a, arg, detail);
            if (flag->type == ARGUMENT_SWITCH) {
                if (arg[length]) return status_fail(detail, STATUS_USAGE, "%s takes no value, found %.64s", flag->flag, arg);
                *(bool *)flag->to = true;
                continue;
            }
            const char *value = arg[length] ? arg + length + 1 : i + 1 < argc ? argv[++i] : NULL;
            if (!value) return status_fail(detail, STATUS_USAGE, "%s needs a value; --help tells more", arg);
            STATUS_TRY(set_value(flag, value, detail));
        }
    }
    if (word) *a->positional = word;
    return STATUS_OK;
}
