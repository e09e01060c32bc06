/* JSON values as compact text, byte for byte as Rust's serde_json prints them: the prompts that the model was trained
 * on come from it. */
#ifndef RUNTIME_TEXT_HARMONY_JSON_H
#define RUNTIME_TEXT_HARMONY_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "runtime/base/buffer.h"

/* Nesting that rendering accepts, in levels of arrays and objects. Indentation grows with the depth of a schema, so
 * that a small request nested a thousand levels deep would otherwise make a prompt of hundreds of megabytes. */
enum { HARMONY_JSON_DEPTH = 64 };

/* Whether `value` (NULL: true) stays within HARMONY_JSON_DEPTH levels. */
bool harmony_json_depth_allowed(const json_t *value);

/* Appends `value`, keys in their order. false when memory ends. `value` must stay within HARMONY_JSON_DEPTH levels. */
bool harmony_json_write(const json_t *value, buffer *out);

/* Appends a finite double: the shortest digits that read back as the same value, and at least one digit after the
 * point; an exponent
 * (`1e21`, `1.5e-7`) below 1e-5 and from 1e16 on. */
bool harmony_json_write_double(double value, buffer *out);

#endif
