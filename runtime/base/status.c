#include "runtime/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

status status_fail(status_detail *detail, status code, const char *format, ...)
{
    if (detail) {
        va_list args;
        va_start(args, format);
        vsnprintf(detail->text, sizeof detail->text, format, args);
        va_end(args);
    }
    return code;
}

status status_prefix(status_detail *detail, status code, const char *format, ...)
{
    if (detail) {
        char front[sizeof detail->text];
        va_list args;
        va_start(args, format);
        vsnprintf(front, sizeof front, format, args);
        va_end(args);
        size_t used = strlen(front);
        if (used + 3 < sizeof front) snprintf(front + used, sizeof front - used, ": %s", detail->text);
        memcpy(detail->text, front, sizeof front);
        detail->text[sizeof front - 1] = '\0';
    }
    return code;
}

int status_exit_code(status code)
{
    switch (code) {
    case STATUS_OK: return 0;
    case STATUS_USAGE: return 2;
    case STATUS_MACHINE: return 3;
    case STATUS_MODEL: return 4;
    case STATUS_PEER: return 5;
    case STATUS_INVALID:
    case STATUS_BUSY:
    case STATUS_INTERNAL: break;
    }
    return 1;
}
