/* Files for the tests of the model layer: given data, and a scratch folder that goes away. Failures end the test. */
#ifndef TESTS_MODEL_SCRATCH_H
#define TESTS_MODEL_SCRATCH_H

#include <jansson.h>

#include "runtime/base/buffer.h"

/* $GPTOSS_TESTS_DIR/data/model/NAME as JSON; a new reference. */
json_t *scratch_data_json(const char *name);
/* The same as text; free with buffer_free(). */
buffer scratch_data(const char *name);

/* A new empty folder; free() the path. */
char *scratch_make(void);
/* Removes the folder with all in it, and frees the path. */
void scratch_remove(char *dir);
/* DIR/NAME in a static buffer of the last four calls. */
const char *scratch_path(const char *dir, const char *name);
void scratch_folder(const char *dir, const char *name);
void scratch_write(const char *dir, const char *name, const void *bytes, size_t size);
void scratch_write_json(const char *dir, const char *name, const json_t *value);
buffer scratch_read(const char *dir, const char *name);

#endif
