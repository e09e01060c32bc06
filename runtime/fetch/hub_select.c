#include "runtime/fetch/hub_select.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FILES = 4096 };

typedef enum wanted_by { WANTED_BY_ROOT = 1, WANTED_BY_ORIGINAL = 2 } wanted_by;

typedef struct select_rule {
    const char *pattern; /* a '*' does not pass a '/' */
    int wanted_by;
} select_rule;

/* The layouts of openai/gpt-oss-20b and -120b. The folder original/ has no tokenizer; a root's config.json beside it would say that the
 * root's weights are there too. */
static const select_rule rules[] = {
    {"config.json", WANTED_BY_ROOT},
    {"*.safetensors", WANTED_BY_ROOT},
    {"*.safetensors.index.json", WANTED_BY_ROOT},
    {"generation_config.json", WANTED_BY_ROOT | WANTED_BY_ORIGINAL},
    {"tokenizer*", WANTED_BY_ROOT | WANTED_BY_ORIGINAL},
    {"special_tokens_map.json", WANTED_BY_ROOT | WANTED_BY_ORIGINAL},
    {"chat_template*", WANTED_BY_ROOT | WANTED_BY_ORIGINAL},
    {"original/config.json", WANTED_BY_ORIGINAL},
    {"original/dtypes.json", WANTED_BY_ORIGINAL},
    {"original/*.safetensors", WANTED_BY_ORIGINAL},
    {"original/*.safetensors.index.json", WANTED_BY_ORIGINAL},
};

bool hub_select_wants(const char *path, bool original)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if ((rules[i].wanted_by & (original ? WANTED_BY_ORIGINAL : WANTED_BY_ROOT)) && fnmatch(rules[i].pattern, path, FNM_PATHNAME) == 0)
            return true;
    return false;
}

status hub_select(hub_listing *listing, bool original, status_detail *detail)
{
    size_t kept = 0;
    bool configured = false, weights = false;
    for (size_t i = 0; i < listing->count; i++) {
        hub_file *file = &listing->files[i];
        if (!hub_select_wants(file->path, original)) {
            free(file->path);
            continue;
        }
        configured |= strcmp(file->path, original ? "original/config.json" : "config.json") == 0;
        weights |= fnmatch("*.safetensors", file->path, 0) == 0;
        listing->files[kept++] = *file;
    }
    listing->count = kept;
    if (kept > MOST_FILES) return status_fail(detail, STATUS_MODEL, "the hub's listing has %zu files of weights, which no model has", kept);
    if (!configured || !weights)
        return status_fail(detail, STATUS_MODEL, "the hub holds no %s%s there: is this a model's name? (openai/gpt-oss-20b is)",
                           original ? "original/" : "", configured ? "*.safetensors" : "config.json");
    return STATUS_OK;
}
