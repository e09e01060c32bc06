#include "runtime/base/settings_table.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/bytes.h"
#include "runtime/base/log.h"
#include "runtime/base/nearest.h"

/* settings_assign() writes enums through an int. */
_Static_assert(sizeof(settings_weights) == sizeof(int) && sizeof(settings_backend) == sizeof(int), "enums are ints here");
_Static_assert(LOG_ERROR == 0 && LOG_WARN == 1 && LOG_INFO == 2 && LOG_DEBUG == 3, "log.level's choices follow log_level");

#define AT(field) .offset = offsetof(settings, field)

static const settings_option table[] = {
    {"model.path", SETTINGS_TEXT, AT(model.path), .flag = "--model",
     .help = "checkpoint: a directory, or a name in the local Hugging Face cache"},
    {"model.name", SETTINGS_LIST, AT(model.names), .flag = "--served-model-name",
     .help = "what /v1/models answers; more names are aliases; default: the last part of model.path"},
    {"model.weights", SETTINGS_CHOICE, AT(model.weights), .initial = "checkpoint", .choices = "checkpoint|dummy",
     .help = "dummy: random weights of the right shape, no tensor is read"},

    {"parallel.attention", SETTINGS_CHOICE, AT(parallel.attention), .initial = "auto", .choices = "auto|tp|dp",
     .help = "tp: ranks share the heads; dp: every rank has its own sequences"},
    {"parallel.experts", SETTINGS_CHOICE, AT(parallel.experts), .initial = "auto", .choices = "auto|tp|ep",
     .help = "tp: every expert split over all ranks; ep: whole experts per rank"},
    {"parallel.share_gpu", SETTINGS_BOOL, AT(parallel.share_gpu), .initial = "false",
     .help = "for tests: several ranks on one GPU"},

    {"engine.max_model_len", SETTINGS_INT, AT(engine.max_model_len), .initial = "auto", .least = 1, .most = 1 << 20, .may_be_auto = true,
     .flag = "--max-model-len", .help = "tokens of prompt and answer together; auto: the model's limit, or what the KV cache holds"},
    {"engine.max_sequences", SETTINGS_INT, AT(engine.max_sequences), .initial = "256", .least = 1, .most = 8192,
     .help = "sequences decoded in one step, per data-parallel group"},
    {"engine.max_tokens_per_step", SETTINGS_INT, AT(engine.max_tokens_per_step), .initial = "8192", .least = 1, .most = 1 << 18,
     .help = "prompt chunks and decodes together, per data-parallel group"},
    {"engine.kv_cache", SETTINGS_BYTES, AT(engine.kv_cache), .initial = "auto", .least = 1, .most = INT64_C(1) << 50, .may_be_auto = true,
     .help = "memory for keys and values on each rank; auto: what is free after the weights"},
    {"engine.prefix_cache", SETTINGS_BOOL, AT(engine.prefix_cache), .initial = "true",
     .help = "prompts that begin alike are computed once"},
    {"engine.threads", SETTINGS_INT, AT(engine.threads), .initial = "auto", .least = 1, .most = 1024, .may_be_auto = true,
     .help = "CPU backend: threads per rank; auto: this rank's part of the cores"},

    {"backend", SETTINGS_CHOICE, AT(backend), .initial = "auto", .choices = "auto|cuda|cpu", .flag = "--backend",
     .help = "what computes; auto: the fastest that this machine can run"},

    {"server.host", SETTINGS_TEXT, AT(server.host), .initial = "127.0.0.1", .flag = "--host",
     .help = "address that rank 0 listens on; 0.0.0.0: all"},
    {"server.port", SETTINGS_INT, AT(server.port), .initial = "8000", .least = 0, .most = 65535, .flag = "--port",
     .help = "port that rank 0 listens on; 0: the system picks one, the last start-up line tells"},
    {"server.api_keys_file", SETTINGS_TEXT, AT(server.api_keys_file),
     .help = "file with one key per line; when set, /v1 wants Authorization: Bearer"},
    {"server.max_queue", SETTINGS_INT, AT(server.max_queue), .initial = "1024", .least = 1, .most = 1000000,
     .help = "more waiting requests than this get 429 with Retry-After"},
    {"server.max_body", SETTINGS_BYTES, AT(server.max_body), .initial = "32MiB", .least = 1024, .most = 1 << 30,
     .help = "a larger request body gets 413"},
    {"server.max_responses", SETTINGS_BYTES, AT(server.max_responses), .initial = "256MiB", .least = 1024, .most = INT64_C(1) << 40,
     .help = "memory for what /v1/responses stores; the least recently used goes first"},
    {"server.drain_seconds", SETTINGS_INT, AT(server.drain_seconds), .initial = "30", .least = 0, .most = 86400,
     .help = "how long running requests may go on after SIGTERM, SIGINT or SIGUSR1"},

    {"log.level", SETTINGS_CHOICE, AT(log.level), .initial = "info", .choices = "error|warn|info|debug", .help = "what is logged"},
    {"log.format", SETTINGS_CHOICE, AT(log.format), .initial = "text", .choices = "text|json", .help = "json: one object a line"},
};

_Static_assert(sizeof table / sizeof *table <= SETTINGS_MAX_OPTIONS, "raise SETTINGS_MAX_OPTIONS");

const settings_option *settings_table(size_t *count)
{
    *count = sizeof table / sizeof *table;
    return table;
}

/* ---- looking up ------------------------------------------------------------------------------------------------- */

const settings_option *settings_find(const char *key)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].key, key) == 0) return &table[i];
    return NULL;
}

bool settings_is_section(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strncmp(table[i].key, name, length) == 0 && table[i].key[length] == '.') return true;
    return false;
}

static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

const char *settings_nearest_key(const char *key)
{
    const char *best = NULL;
    int best_distance = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int whole = nearest_distance(key, table[i].key);
        int part = nearest_distance(last_part(key), last_part(table[i].key)); /* the right word in the wrong section */
        bool plausible = nearest_plausible(last_part(key), whole < part ? whole : part);
        int distance = 2 * (whole < part ? whole : part) + (whole > 0 && part < whole);
        if (plausible && (!best || distance < best_distance)) {
            best = table[i].key;
            best_distance = distance;
        }
    }
    return best;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

const char *settings_show(const char *text, char out[SETTINGS_SHOWN])
{
    size_t used = 0;
    out[used++] = '\'';
    for (; *text && used < SETTINGS_SHOWN - 6; text++) out[used++] = iscntrl((unsigned char)*text) ? '?' : *text;
    if (*text) {
        while (used > 1 && ((unsigned char)out[used - 1] & 0xc0) == 0x80) used--; /* not into the middle of a character */
        if (used > 1 && (unsigned char)out[used - 1] >= 0xc0) used--;
        memcpy(out + used, "...", 3);
        used += 3;
    }
    out[used++] = '\'';
    out[used] = '\0';
    return out;
}

const char *settings_allowed(const settings_option *option, char *out, size_t size)
{
    char low[32], high[32];
    const char *or_auto = option->may_be_auto ? ", or auto" : "";
    switch (option->type) {
    case SETTINGS_BOOL: snprintf(out, size, "true or false"); break;
    case SETTINGS_INT: snprintf(out, size, "an integer from %" PRId64 " to %" PRId64 "%s", option->least, option->most, or_auto); break;
    case SETTINGS_BYTES:
        snprintf(out, size, "an amount such as 20GiB or 512MB, from %s to %s%s", bytes_format(option->least, low),
                 bytes_format(option->most, high), or_auto);
        break;
    case SETTINGS_CHOICE: {
        size_t used = (size_t)snprintf(out, size, "one of ");
        for (const char *c = option->choices; *c && used + 3 < size; c++) {
            if (*c == '|') out[used++] = ',';
            out[used++] = *c == '|' ? ' ' : *c;
        }
        out[used] = '\0';
        break;
    }
    case SETTINGS_TEXT: snprintf(out, size, option->initial ? "a text that is not empty" : "a text that is not empty, or null"); break;
    case SETTINGS_LIST: snprintf(out, size, "a name, or a list of names, none of them empty"); break;
    }
    return out;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

bool settings_is_null(const settings_scalar *value)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; !value->quoted && i < sizeof words / sizeof *words; i++)
        if (strcmp(value->text, words[i]) == 0) return true;
    return false;
}

static status refuse(const settings_option *option, const settings_scalar *value, status_detail *detail)
{
    char allowed[256], shown[SETTINGS_SHOWN];
    settings_allowed(option, allowed, sizeof allowed);
    if (settings_is_null(value)) return status_fail(detail, STATUS_USAGE, "found nothing (null), allowed is %s", allowed);
    bool number = option->type == SETTINGS_BOOL || option->type == SETTINGS_INT;
    return status_fail(detail, STATUS_USAGE, "found %s%s, allowed is %s", settings_show(value->text, shown),
                       number && value->quoted ? ", a text because of its quotes" : "", allowed);
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const words[] = {"false", "False", "FALSE", "true", "True", "TRUE"};
    for (int i = 0; i < 6; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = i >= 3;
            return true;
        }
    return false;
}

static bool parse_int(const char *text, int64_t *out)
{
    const char *digits = *text == '-' || *text == '+' ? text + 1 : text;
    if (!isdigit((unsigned char)*digits)) return false;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end || errno) return false;
    *out = value;
    return true;
}

static bool parse_choice(const char *text, const char *choices, int *out)
{
    size_t length = strlen(text);
    for (int i = 0; *choices; i++) {
        size_t n = strcspn(choices, "|");
        if (n == length && memcmp(choices, text, n) == 0) {
            *out = i;
            return true;
        }
        choices += n + (choices[n] == '|');
    }
    return false;
}

static status assign_text(char **to, const settings_option *option, const settings_scalar *value, status_detail *detail)
{
    char *copy = NULL;
    if (settings_is_null(value)) {
        if (option->initial) return refuse(option, value, detail);
    } else {
        if (!*value->text) return refuse(option, value, detail);
        copy = strdup(value->text);
        if (!copy) return status_fail(detail, STATUS_MACHINE, "out of memory");
    }
    free(*to);
    *to = copy;
    return STATUS_OK;
}

static void list_free(settings_list *list)
{
    for (int i = 0; i < list->count; i++) free(list->items[i]);
    free(list->items);
    *list = (settings_list){0};
}

static status assign_list(settings_list *to, const settings_option *option, const settings_scalar *values, size_t count,
                          status_detail *detail)
{
    settings_list list = {0};
    bool none = count == 0 || (count == 1 && settings_is_null(values));
    if (!none) {
        list.items = calloc(count, sizeof *list.items);
        if (!list.items) return status_fail(detail, STATUS_MACHINE, "out of memory");
        for (size_t i = 0; i < count; i++) {
            if (settings_is_null(&values[i]) || !*values[i].text) {
                list_free(&list);
                return refuse(option, &values[i], detail);
            }
            list.items[i] = strdup(values[i].text);
            list.count = (int)i + 1;
            if (!list.items[i]) {
                list_free(&list);
                return status_fail(detail, STATUS_MACHINE, "out of memory");
            }
        }
    }
    list_free(to);
    *to = list;
    return STATUS_OK;
}

static status assign_number(int64_t *to, const settings_option *option, const settings_scalar *value, status_detail *detail)
{
    int64_t number;
    if (option->may_be_auto && strcmp(value->text, "auto") == 0) {
        *to = SETTINGS_AUTO;
        return STATUS_OK;
    }
    bool read = option->type == SETTINGS_BYTES ? bytes_parse(value->text, &number) : !value->quoted && parse_int(value->text, &number);
    if (!read || number < option->least || number > option->most) return refuse(option, value, detail);
    *to = number;
    return STATUS_OK;
}

status settings_assign(settings *s, const settings_option *option, const settings_scalar *values, size_t count, status_detail *detail)
{
    void *to = (char *)s + option->offset;
    if (option->type == SETTINGS_LIST) return assign_list(to, option, values, count, detail);
    switch (option->type) {
    case SETTINGS_BOOL:
        return !values->quoted && parse_bool(values->text, to) ? STATUS_OK : refuse(option, values, detail);
    case SETTINGS_CHOICE:
        return parse_choice(values->text, option->choices, to) ? STATUS_OK : refuse(option, values, detail);
    case SETTINGS_TEXT: return assign_text(to, option, values, detail);
    case SETTINGS_INT:
    case SETTINGS_BYTES: return assign_number(to, option, values, detail);
    case SETTINGS_LIST: break;
    }
    return status_fail(detail, STATUS_INTERNAL, "key %s has no type", option->key);
}
