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
        status_detail whole;
        va_list args;
        va_start(args, format);
        vsnprintf(whole.text, sizeof whole.text, format, args);
        va_end(args);
        size_t used = strlen(whole.text), room = sizeof whole.text - used;
        if (room > 3) {
            memcpy(whole.text + used, ": ", 3);
            size_t rest = strnlen(detail->text, room - 3);
            memcpy(whole.text + used + 2, detail->text, rest);
            whole.text[used + 2 + rest] = '\0';
        }
        *detail = whole;
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
