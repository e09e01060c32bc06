#include "runtime/base/hub_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One way of naming a path: $VARIABLE + tail. */
typedef struct hub_rule {
    const char *variable, *tail;
} hub_rule;

static bool first_rule(const hub_rule *rules, size_t count, char *out, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(rules[i].variable), *home = "";
        if (!value || !*value) continue;
        if (value[0] == '~' && (value[1] == '/' || value[1] == '\0') && getenv("HOME")) {
            home = getenv("HOME");
            value++;
        }
        int n = snprintf(out, size, "%s%s%s", home, value, rules[i].tail);
        return n > 0 && (size_t)n < size;
    }
    return false;
}

bool hub_cache_folder(char *out, size_t size)
{
    static const hub_rule rules[] = {
        {"HF_HUB_CACHE", ""},
        {"HUGGINGFACE_HUB_CACHE", ""},
        {"HF_HOME", "/hub"},
        {"XDG_CACHE_HOME", "/huggingface/hub"},
        {"HOME", "/.cache/huggingface/hub"},
    };
    return first_rule(rules, sizeof rules / sizeof *rules, out, size);
}

bool hub_cache_token_path(char *out, size_t size)
{
    static const hub_rule rules[] = {
        {"HF_TOKEN_PATH", ""},
        {"HF_HOME", "/token"},
        {"XDG_CACHE_HOME", "/huggingface/token"},
        {"HOME", "/.cache/huggingface/token"},
    };
    return first_rule(rules, sizeof rules / sizeof *rules, out, size);
}

bool hub_cache_is_repository(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *slash = strchr(name, '/');
    size_t head = strspn(name, allowed);
    if (head == 0 || name[0] == '.' || strlen(name) > 200) return false;
    if (!slash) return name[head] == '\0';
    return name + head == slash && slash[1] != '\0' && slash[1] != '.' && slash[1 + strspn(slash + 1, allowed)] == '\0';
}

bool hub_cache_repository(char *out, size_t size, const char *hub, const char *name)
{
    const char *slash = strchr(name, '/');
    int org = slash ? (int)(slash - name) : 0;
    int n = slash ? snprintf(out, size, "%s/models--%.*s--%s", hub, org, name, slash + 1) : snprintf(out, size, "%s/models--%s", hub, name);
    return n > 0 && (size_t)n < size;
}
