/* Typed readers of an object's fields. An absent field and null both leave the output as it is (the default); another type or a value out
 * of range is an error 400 that names the field with its path. Every reader returns false after setting the error. */
#ifndef RUNTIME_SERVER_JSON_FIELDS_H
#define RUNTIME_SERVER_JSON_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/server/api_error.h"

typedef struct json_fields {
    const json_t *object; /* borrowed */
    const char *path;     /* of the object, "messages[2]"; "": the body itself */
    api_error *error;
} json_fields;

/* The value, or NULL when absent or null. */
const json_t *json_fields_get(const json_fields *f, const char *key);

bool json_fields_bool(const json_fields *f, const char *key, bool *out);
/* Whole numbers; 5.0 counts as 5. */
bool json_fields_int(const json_fields *f, const char *key, int64_t min, int64_t max, int64_t *out);
/* Rounded to a float; the range is that float's. */
bool json_fields_float(const json_fields *f, const char *key, float min, float max, float *out);
/* Borrowed from the JSON; may hold NUL bytes when `size` is asked for, otherwise they are an error. `size` may be NULL. */
bool json_fields_string(const json_fields *f, const char *key, const char **out, size_t *size);
bool json_fields_array(const json_fields *f, const char *key, const json_t **out);
bool json_fields_object(const json_fields *f, const char *key, const json_t **out);

/* One element of the array `key`: an id below `vocab`. The error says the number as it was sent. */
bool json_fields_token_id(const json_fields *f, const char *key, const json_t *value, int32_t vocab, int32_t *out);

/* An error 400 about field `key` ("" : the object itself). Returns false. */
bool json_fields_fail(const json_fields *f, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Writes "path.key", or one of the two when the other is empty. */
void json_fields_path(const json_fields *f, const char *key, char *out, size_t size);

/* How a JSON type is called in messages: "a string". */
const char *json_fields_type_name(const json_t *value);

#endif
