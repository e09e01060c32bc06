/* The safetensors container: 8 bytes little-endian header length, a JSON header, raw bytes.
 *
 * Parsing is a pure function over (data, size) and trusts nothing. Format: huggingface/safetensors README.
 */
#ifndef RUNTIME_MODEL_SAFETENSORS_H
#define RUNTIME_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

enum { SAFETENSORS_MAX_DIMS = 8 };

typedef struct safetensors_entry {
    char *name;
    char type_name[12]; /* as the file spells it */
    dtype type;         /* F32, BF16, I32, U8; others are kept as entries with supported = 0 */
    int supported;
    int n_dims;
    int64_t shape[SAFETENSORS_MAX_DIMS];
    const uint8_t *data; /* into the given bytes */
    size_t size;
} safetensors_entry;

typedef struct safetensors {
    safetensors_entry *entries; /* sorted by name */
    size_t count;
} safetensors;

/* Views into data, which must outlive `out`; entries own their names. Reads the header alone, never a tensor's bytes.
 * STATUS_MODEL, with the file's `name` and the tensor's, for anything the format forbids: a header longer than the file
 * or 100 MB, wrong JSON, offsets outside the data, overlapping, leaving holes, or not matching shape * dtype, bytes
 * after the last tensor, duplicate names, negative or overflowing shapes. The size of a dtype that the format has
 * gained since is not checked. */
status safetensors_parse(const uint8_t *data, size_t size, const char *name, safetensors *out, status_detail *detail);
void safetensors_free(safetensors *s);
/* NULL when there is none of that name. */
const safetensors_entry *safetensors_find(const safetensors *s, const char *name);

#endif
