/* The small JSON files of a written checkpoint. Internal to the model layer. Each appends to `out`; false when memory
 * ends. */
#ifndef RUNTIME_MODEL_SYNTH_CONFIG_H
#define RUNTIME_MODEL_SYNTH_CONFIG_H

#include <stdbool.h>

#include "runtime/base/buffer.h"
#include "runtime/model/model_config.h"

bool synth_config_model(const model_config *config, int32_t pad, buffer *out); /* config.json */
bool synth_config_generation(const model_config *config, int32_t bos, int32_t pad,
                             buffer *out);                            /* generation_config.json */
bool synth_config_tokenizer(const model_config *config, buffer *out); /* tokenizer_config.json */

#endif
