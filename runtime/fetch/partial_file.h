/* An unfinished file on disk: its bytes, and the record of which are there. Internal to runtime/fetch.
 *
 * The record is written after the bytes it tells of, so what it says is here is here after a kill at any moment. A machine that loses power
 * may have kept the record and lost the bytes: then the checksum does not fit, and the file begins anew. */
#ifndef RUNTIME_FETCH_PARTIAL_FILE_H
#define RUNTIME_FETCH_PARTIAL_FILE_H

#include "runtime/base/status.h"
#include "runtime/fetch/part_plan.h"

typedef struct partial_file partial_file;

/* Opens both files, or makes them; their folder is there. A record that does not fit this size, or tells of bytes that are not there, begins
 * anew with parts of `part_bytes`; else the parts are those of the record. Both paths must outlive it. */
status partial_file_open(const char *data_path, const char *record_path, int64_t size, int64_t part_bytes, partial_file **out,
                         status_detail *detail);
void partial_file_close(partial_file *p); /* both files stay; NULL is allowed */

const part_plan *partial_file_plan(const partial_file *p);
int64_t partial_file_done(const partial_file *p); /* bytes, of all parts */
int64_t partial_file_part_done(const partial_file *p, uint32_t part);
bool partial_file_complete(const partial_file *p);
int partial_file_fd(const partial_file *p);

/* Adds bytes to a part, which has room for them. STATUS_MACHINE when the disk does not take them; what it took counts. */
status partial_file_write(partial_file *p, uint32_t part, const void *bytes, size_t size, status_detail *detail);
/* The part has no bytes any more. */
status partial_file_rewind(partial_file *p, uint32_t part, status_detail *detail);
/* Nothing is here any more, and the parts are of `part_bytes`. */
status partial_file_restart(partial_file *p, int64_t part_bytes, status_detail *detail);

/* Bytes on disk that the unfinished file takes already; 0 when there is none. */
int64_t partial_file_stored(const char *data_path);

/* Makes the bytes durable, moves them to `final`, replacing what is there, and removes the record. `p` may then only be closed. */
status partial_file_publish(partial_file *p, const char *final, status_detail *detail);

#endif
