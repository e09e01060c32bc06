/* What a client is told when a request fails: an HTTP status and the OpenAI error object. */
#ifndef RUNTIME_SERVER_API_ERROR_H
#define RUNTIME_SERVER_API_ERROR_H

#include <stdbool.h>

#include "runtime/base/status.h"
#include "runtime/server/json_write.h"

typedef struct api_error {
    int http;          /* status, 400..599 */
    char param[128];   /* the field at fault, "messages[2].content"; "": none */
    char message[640]; /* one line */
} api_error;

/* Fills in an error and returns false, so that `return api_error_set(...)` reads well. `param` may be NULL. */
bool api_error_set(api_error *e, int http, const char *param, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The error a failed call of another layer amounts to: STATUS_INVALID 400, STATUS_BUSY 429, the rest 500. Returns false. */
bool api_error_from(api_error *e, status code, const status_detail *detail);

/* {"error":{"message","type","param","code"}} */
void api_error_write(json_writer *w, const api_error *e);

#endif
