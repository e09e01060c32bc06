#include "runtime/server/api_error.h"

#include <stdarg.h>
#include <stdio.h>

bool api_error_set(api_error *e, int http, const char *param, const char *format, ...)
{
    e->http = http;
    snprintf(e->param, sizeof e->param, "%s", param ? param : "");
    va_list args;
    va_start(args, format);
    vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    return false;
}

bool api_error_from(api_error *e, status code, const status_detail *detail)
{
    int http = code == STATUS_INVALID ? 400 : code == STATUS_BUSY ? 429 : 500;
    return api_error_set(e, http, NULL, "%.600s", detail->text);
}

/* The names vLLM gives; clients look at the status and the message. */
static const char *error_type(int http)
{
    switch (http) {
    case 401: return "AuthenticationError";
    case 404: return "NotFoundError";
    case 405: return "MethodNotAllowedError";
    case 429: return "RateLimitError";
    case 501: return "NotImplementedError";
    case 503: return "ServiceUnavailableError";
    default: return http >= 500 ? "InternalServerError" : "BadRequestError";
    }
}

void api_error_write(json_writer *w, const api_error *e)
{
    json_write_raw(w, "{\"error\":{\"message\":");
    json_write_text(w, e->message);
    json_write_format(w, ",\"type\":\"%s\",\"param\":", error_type(e->http));
    json_write_text(w, e->param[0] ? e->param : NULL);
    json_write_format(w, ",\"code\":%d}}", e->http);
}
