/* Names that come from a hub or the command line and become paths here. Pure. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_HUB_PATH_H
#define RUNTIME_FETCH_HUB_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum { HUB_PATH_MOST = 1024 /* bytes of a file's path */ };

/* Whether path[size] stays inside the folder it is put in and is fit to print: relative, no empty, "." or ".." component, none over 255
 * bytes, no control character, no backslash, no NUL. */
bool hub_path_is_safe(const char *path, size_t size);

/* The same for a branch, tag or commit, of the characters that git and the hubs agree on: letters, digits, . _ - and / */
bool hub_path_is_revision(const char *revision);

/* Whether text[size] is `digits` lower-case hexadecimal digits. */
bool hub_path_is_hex(const char *text, size_t size, size_t digits);

#endif
