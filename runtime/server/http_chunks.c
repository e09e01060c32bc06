/* The chunked transfer coding, RFC 9112 section 7.1. */
#include <string.h>

#include "runtime/server/http_parse.h"

enum {
    IN_SIZE,      /* hexadecimal digits */
    IN_EXTENSION, /* ";..." behind them, ignored */
    IN_SIZE_LF,
    IN_DATA,
    IN_DATA_CR,
    IN_DATA_LF,
    IN_TRAILER_START, /* first byte of a trailer line, or CR of the last empty one */
    IN_TRAILER,
    IN_TRAILER_LF,
    IN_END_LF,
    AT_END,
};

/* A size line or all trailers together may not be longer. */
enum { MAX_LINE = 4096 };

static bool refuse(http_fault *fault, int status, const char *reason)
{
    *fault = (http_fault){status, reason};
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool size_byte(http_chunks *c, char byte, int64_t max_body, http_fault *fault)
{
    int digit = hex_digit(byte);
    if (digit >= 0) {
        if (c->left > max_body) return refuse(fault, 413, "The request body is too large.");
        c->left = c->left * 16 + digit;
        return true;
    }
    if (c->line_size == 1) return refuse(fault, 400, "A chunk has no size.");
    if (c->total + c->left > max_body) return refuse(fault, 413, "The request body is too large.");
    if (byte == '\r') c->state = IN_SIZE_LF;
    else if (byte == ';' || byte == ' ' || byte == '\t') c->state = IN_EXTENSION;
    else return refuse(fault, 400, "A chunk's size is malformed.");
    return true;
}

/* A byte that must be `wanted`, after which `next` follows. */
static bool expect(http_chunks *c, char byte, char wanted, int next, http_fault *fault)
{
    if (byte != wanted) return refuse(fault, 400, "A chunk does not end where its size says.");
    c->state = next;
    return true;
}

static bool control_byte(http_chunks *c, char byte, int64_t max_body, http_fault *fault)
{
    if (++c->line_size > MAX_LINE) return refuse(fault, 431, "A chunk's header or trailer is too long.");
    switch (c->state) {
    case IN_SIZE: return size_byte(c, byte, max_body, fault);
    case IN_EXTENSION:
        if (byte == '\n') return refuse(fault, 400, "A chunk's size is malformed.");
        if (byte == '\r') c->state = IN_SIZE_LF;
        return true;
    case IN_SIZE_LF:
        c->line_size = 0;
        return expect(c, byte, '\n', c->left ? IN_DATA : IN_TRAILER_START, fault);
    case IN_DATA_CR: return expect(c, byte, '\r', IN_DATA_LF, fault);
    case IN_DATA_LF:
        c->line_size = 0;
        return expect(c, byte, '\n', IN_SIZE, fault);
    case IN_TRAILER_START: c->state = byte == '\r' ? IN_END_LF : IN_TRAILER; return true;
    case IN_TRAILER:
        if (byte == '\r') c->state = IN_TRAILER_LF;
        return true;
    case IN_TRAILER_LF: return expect(c, byte, '\n', IN_TRAILER_START, fault);
    default: return expect(c, byte, '\n', AT_END, fault);
    }
}

http_chunks_result http_chunks_push(http_chunks *c, const char *data, size_t size, int64_t max_body, buffer *body, size_t *taken,
                                    http_fault *fault)
{
    size_t i = 0;
    bool good = true;
    while (good && i < size && c->state != AT_END) {
        if (c->state != IN_DATA) {
            good = control_byte(c, data[i++], max_body, fault);
            continue;
        }
        size_t n = (int64_t)(size - i) < c->left ? size - i : (size_t)c->left;
        if (!buffer_append(body, data + i, n)) good = refuse(fault, 503, "No memory for the request body.");
        i += n;
        c->left -= (int64_t)n;
        c->total += (int64_t)n;
        if (!c->left) c->state = IN_DATA_CR, c->line_size = 0;
    }
    *taken = i;
    return !good ? HTTP_CHUNKS_FAULT : c->state == AT_END ? HTTP_CHUNKS_DONE : HTTP_CHUNKS_MORE;
}
