/* Whole small text files of a model directory. Internal to the model layer. */
#ifndef RUNTIME_MODEL_MODEL_FILE_H
#define RUNTIME_MODEL_MODEL_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"

/* Writes "DIR/NAME" to out[size]. STATUS_MODEL when it does not fit. */
status model_file_path(char *out, size_t size, const char *dir, const char *name, status_detail *detail);

/* Whether DIR/NAME is there, as a file or a link to one. A path that is too long is not there. */
bool model_file_exists(const char *dir, const char *name);

/* Reads all of `path` into `out`, which was empty and stays empty on failure. STATUS_MODEL when it cannot be read, or
 * holds more than `limit` bytes (nothing of a model's text files is that large: it is not what its name says). */
status model_file_read(const char *path, size_t limit, buffer *out, status_detail *detail);

#endif
