/* Lines of a file or a pipe, one after the other, however many there are: what is held is one line and what was read with it. */
#ifndef LAUNCH_BATCH_INPUT_H
#define LAUNCH_BATCH_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"

typedef enum batch_input_found {
    BATCH_INPUT_LINE,
    BATCH_INPUT_LONG,   /* a line beyond the limit; it is left out, but counted */
    BATCH_INPUT_WAIT,   /* nothing is there now: wait until `fd` is readable */
    BATCH_INPUT_END,
    BATCH_INPUT_FAILED, /* errno tells */
} batch_input_found;

typedef struct batch_input {
    int fd;             /* the caller's */
    size_t limit;       /* bytes of a line */
    int64_t line;       /* number of the line that was given last, from 1 */
    int64_t offset;     /* bytes before that line */
    bool torn;          /* no newline ended that line */
    /* its own */
    buffer data;
    size_t at, looked;  /* where the next line begins, and how far no newline is */
    int64_t next;       /* bytes before data.data[at] */
    bool ended, skipping;
} batch_input;

/* {.fd, .limit} begins. The line, without its newline, may be edited, and is valid until the next call. Lines of white space alone are
 * passed over, but counted. Never waits. */
batch_input_found batch_input_next(batch_input *in, char **line, size_t *size);
void batch_input_free(batch_input *in);

#endif
