/* A file cut into parts that are fetched side by side, and the record of how much of each is here. Pure. Internal to runtime/fetch.
 *
 * A record is little-endian: "gptossP1", u64 size of the file, u64 bytes of a part, u64 number of parts, and for each part u64 bytes that are
 * here, from its start on. It lies beside the unfinished file and says where each part goes on.
 */
#ifndef RUNTIME_FETCH_PART_PLAN_H
#define RUNTIME_FETCH_PART_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct part_plan {
    int64_t size;       /* bytes of the file */
    int64_t part_bytes; /* of every part but the last; >= 1 */
    uint32_t count;     /* 0 for an empty file */
} part_plan;

enum { PART_PLAN_MOST = 65536, PART_RECORD_HEADER = 32, PART_RECORD_ENTRY = 8 };

/* Parts of `part_bytes` (>= 1), or larger ones where that would be more than PART_PLAN_MOST. */
part_plan part_plan_make(int64_t size, int64_t part_bytes);
int64_t part_plan_start(const part_plan *plan, uint32_t part);
int64_t part_plan_length(const part_plan *plan, uint32_t part);

/* Bytes of the record of a plan, and its header. */
size_t part_record_size(const part_plan *plan);
void part_record_header(const part_plan *plan, uint8_t out[PART_RECORD_HEADER]);
void part_record_entry(int64_t done, uint8_t out[PART_RECORD_ENTRY]);

/* Reads the header of a record data[bytes] for a file of `size` bytes. False, and nothing written: it is none, belongs to another file, or
 * contradicts itself; the file then begins anew. */
bool part_record_parse(const uint8_t *data, size_t bytes, int64_t size, part_plan *plan);
/* Bytes of that part that are here, 0..its length. `data` was accepted by part_record_parse(). */
int64_t part_record_done(const uint8_t *data, uint32_t part);

#endif
