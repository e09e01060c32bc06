#include "launch/chat_history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool chat_history_path(buffer *out)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool given = state && state[0] == '/'; /* a relative one is to be ignored (XDG Base Directory Specification) */
    if (!given && (!home || home[0] != '/')) return false;
    return buffer_printf(out, "%s%s/gptoss-tp/chat_history", given ? state : home, given ? "" : "/.local/state");
}

void chat_history_load(History *kept, const char *path)
{
    HistEvent event;
    history(kept, &event, H_LOAD, path);
}

static void make_folders(const char *path)
{
    char *folder = strdup(path);
    for (char *slash = folder ? strchr(folder + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(folder, 0700);
        *slash = '/';
    }
    free(folder);
}

void chat_history_save(History *kept, const char *path)
{
    HistEvent event;
    buffer fresh = {0};
    make_folders(path);
    int fd = buffer_printf(&fresh, "%s.XXXXXX", path) ? mkstemp(fresh.data) : -1; /* mode 0600 */
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file) {
        bool good = history(kept, &event, H_SAVE_FP, file) >= 0;
        good = fclose(file) == 0 && good;
        if (!good || rename(fresh.data, path) != 0) unlink(fresh.data);
    } else if (fd >= 0) {
        close(fd);
        unlink(fresh.data);
    }
    buffer_free(&fresh);
}
