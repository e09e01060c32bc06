/* A request body: bytes from anybody -> JSON object, or a clear error. Pure. */
#ifndef RUNTIME_SERVER_JSON_BODY_H
#define RUNTIME_SERVER_JSON_BODY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "runtime/server/api_error.h"

enum {
    JSON_BODY_MAX_DEPTH = 100,       /* arrays and objects in each other; what walks the tree later may recurse */
    JSON_BODY_MAX_VALUES = 4000000,  /* a parsed value costs up to a hundred bytes of memory, its text only two */
};

/* Parses `data`, which must be an object. Lone surrogates ("\ud800" without its partner), legal in JSON and impossible in UTF-8, become
 * U+FFFD; the edit is done in `data`, in place. The caller drops *out with json_decref(). */
bool json_body_parse(char *data, size_t size, json_t **out, api_error *error);

#endif
