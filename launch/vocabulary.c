#include "launch/vocabulary.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char name[] = "o200k_base.tiktoken";

/* "DIR/../share/gptoss-tp" for the program DIR/gptoss-tp; so an installation can be moved as a whole. */
static void share_beside(char *out, size_t size)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    out[0] = '\0';
    if (length <= 0) return;
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash) return;
    *slash = '\0';
    if (snprintf(out, size, "%s/../share/gptoss-tp", program) >= (int)size) out[0] = '\0';
}

status vocabulary_find(char *out, size_t size, status_detail *detail)
{
    char beside[PATH_MAX], path[PATH_MAX + sizeof name + 1];
    share_beside(beside, sizeof beside);
    const char *const places[] = {beside, GPTOSS_INSTALLED_SHARE, GPTOSS_SOURCE_SHARE};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", places[i], name);
        if (!*places[i] || access(path, R_OK) != 0 || strlen(path) >= size) continue;
        memcpy(out, path, strlen(path) + 1);
        return STATUS_OK;
    }
    return status_fail(detail, STATUS_MACHINE, "%s is neither in %s nor in %s: install the program again", name, GPTOSS_INSTALLED_SHARE,
                       GPTOSS_SOURCE_SHARE);
}
