#include "launch/batch_input.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 256 << 10 };

static bool is_blank(const char *line, size_t size)
{
    size_t i = 0;
    while (i < size && strchr(" \t\r", line[i]) && line[i]) i++;
    return i == size;
}

/* Reads more; what was given out is dropped first. LINE: there is more, or the end was found. */
static batch_input_found fill(batch_input *in)
{
    struct pollfd ready = {.fd = in->fd, .events = POLLIN};
    int n = poll(&ready, 1, 0);
    if (n < 0 && errno != EINTR) return BATCH_INPUT_FAILED;
    if (n <= 0) return BATCH_INPUT_WAIT;
    if (in->at) memmove(in->data.data, in->data.data + in->at, in->data.size - in->at);
    in->data.size -= in->at;
    in->looked -= in->at;
    in->at = 0;
    if (!buffer_reserve(&in->data, READ_BYTES)) return errno = ENOMEM, BATCH_INPUT_FAILED;
    ssize_t got = read(in->fd, in->data.data + in->data.size, READ_BYTES);
    if (got < 0) return errno == EINTR || errno == EAGAIN ? BATCH_INPUT_WAIT : BATCH_INPUT_FAILED;
    in->data.size += (size_t)got;
    in->ended = got == 0;
    return BATCH_INPUT_LINE;
}

/* Gives out data[at .. at + size), which is a line or the last one. */
static void take(batch_input *in, size_t size, bool newline)
{
    in->line++;
    in->offset = in->next;
    in->torn = !newline;
    in->next += (int64_t)(size + newline);
    in->at += size + newline;
    in->looked = in->at;
}

batch_input_found batch_input_next(batch_input *in, char **line, size_t *size)
{
    for (;;) {
        char *from = in->data.data + in->looked;
        char *newline = in->data.size > in->looked ? memchr(from, '\n', in->data.size - in->looked) : NULL;
        size_t length = (newline ? (size_t)(newline - in->data.data) : in->data.size) - in->at;
        if (newline || (in->ended && (length || in->skipping))) {
            bool was_long = in->skipping || length > in->limit;
            *line = in->data.data + in->at;
            *size = length;
            take(in, length, newline);
            in->skipping = false;
            if (was_long) return BATCH_INPUT_LONG;
            if (!is_blank(*line, length)) return BATCH_INPUT_LINE;
            continue;
        }
        if (in->ended) return BATCH_INPUT_END;
        in->looked = in->data.size;
        if (in->skipping || length > in->limit) { /* its bytes are of no use */
            in->skipping = true;
            in->next += (int64_t)length;
            in->at = in->data.size;
        }
        batch_input_found found = fill(in);
        if (found != BATCH_INPUT_LINE) return found;
    }
}

void batch_input_free(batch_input *in) { buffer_free(&in->data); }
