/* The two files a batch writes. Lines are added whole, by one write each; a file that is there already is gone on with. */
#ifndef LAUNCH_BATCH_OUTPUT_H
#define LAUNCH_BATCH_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

#include "launch/batch_ids.h"
#include "runtime/base/status.h"

typedef struct batch_output {
    const char *path; /* the caller's */
    int fd;           /* -1: not open */
    bool dirty;       /* written to since it was last made safe */
} batch_output;

/* Opens or makes the file and locks it against a second batch, for which it waits a moment: a job that was just killed may still be going.
 * STATUS_USAGE when it cannot be written, is no regular file, or another batch has it. Nothing in it is changed. */
status batch_output_open(const char *path, batch_output *out, status_detail *detail);
/* Puts the lines of earlier runs into `ids`, adds their number to *records, and cuts off a last line that was not written to its end.
 * STATUS_USAGE, without any change, when the file holds anything else. */
status batch_output_resume(batch_output *o, batch_ids *ids, int64_t *records, status_detail *detail);

/* Adds one line, newline included. */
status batch_output_add(batch_output *o, const char *line, size_t size, status_detail *detail);
/* Whatever was added will survive the machine's end. */
status batch_output_sync(batch_output *o, status_detail *detail);
/* An empty file is removed, when `only_if_filled`. Does nothing when it is not open. */
void batch_output_close(batch_output *o, bool only_if_filled);

#endif
