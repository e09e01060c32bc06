/* The keys that clients must show as "Authorization: Bearer KEY". */
#ifndef RUNTIME_SERVER_API_KEYS_H
#define RUNTIME_SERVER_API_KEYS_H

#include <stdbool.h>

#include "runtime/base/status.h"
#include "runtime/server/http_parse.h"

typedef struct api_keys {
    char **keys;
    int n; /* 0: none are asked for */
} api_keys;

/* One key per line, white space around it is dropped, empty lines too. `path` NULL: no keys. STATUS_USAGE when the file cannot be read or
 * holds none: a server that was meant to be locked must not stand open. */
status api_keys_read(const char *path, api_keys *out, status_detail *detail);
/* One key from memory, copied; white space around it is dropped. */
status api_keys_take(const char *key, api_keys *out, status_detail *detail);
void api_keys_free(api_keys *k);

/* Whether the value of an Authorization header carries one of the keys. Takes the same time whichever byte differs. */
bool api_keys_allow(const api_keys *k, http_slice authorization);

#endif
