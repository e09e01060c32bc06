/* The shape of a gpt-oss model, from a checkpoint's config.json: Hugging Face's or OpenAI's own
 * (`original/config.json`).
 *
 * Field meanings and defaults: huggingface/transformers `configuration_gpt_oss.py`; openai/gpt-oss
 * `gpt_oss/torch/model.py` ModelConfig.
 */
#ifndef RUNTIME_MODEL_MODEL_CONFIG_H
#define RUNTIME_MODEL_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

enum { MODEL_MAX_LAYERS = 256, MODEL_MAX_EOS = 8 };

typedef struct model_config {
    int layers;
    int hidden;
    int intermediate; /* a multiple of 32 */
    int q_heads, kv_heads, head_dim;
    int experts, experts_per_token;
    int vocab;
    int sliding_window;
    bool sliding[MODEL_MAX_LAYERS]; /* layer_types; OpenAI's layout: every even layer */
    float rms_eps;
    float swiglu_alpha, swiglu_limit;
    double rope_theta;
    double rope_factor; /* YaRN; 1: plain rotary */
    double rope_beta_fast, rope_beta_slow;
    int rope_original_context;
    bool rope_truncate;           /* floor and ceil the ramp's ends; false in the published models */
    double rope_attention_factor; /* multiplied into cos and sin; 0: YaRN's own, 0.1 ln(rope_factor) + 1 */
    int max_positions;
    int n_eos;
    int32_t eos[MODEL_MAX_EOS]; /* of generation_config.json where it stands beside, else of config.json; empty in
                                   OpenAI's layout */
    bool original_layout;       /* tensors bear OpenAI's names */
} model_config;

/* Pure: config.json's bytes to a config. Every field is checked for presence, type and range; what this program does
 * not implement (another model_type, an activation, other quantisation, dense layers) is STATUS_MODEL with the field's
 * name. */
status model_config_parse(const char *json, size_t size, const char *name, model_config *out, status_detail *detail);

/* Pure: generation_config.json's bytes. Its eos_token_id, where it has one, replaces config->eos; ids must lie in the
 * vocabulary. */
status model_config_parse_generation(const char *json, size_t size, const char *name, model_config *config,
                                     status_detail *detail);

/* Reads DIR/config.json (or DIR/original/config.json where the former is absent), and in Hugging Face's layout
 * DIR/generation_config.json where it exists. DIR may be OpenAI's `original` folder itself. */
status model_config_read(const char *dir, model_config *out, status_detail *detail);

/* "gpt-oss-120b", "gpt-oss-20b": the published shapes by name, for `plan` and dummy weights without files. What stands
 * before the last slash ("openai/") is not looked at. False when unknown. */
bool model_config_published(const char *name, model_config *out);

/* Fills cos and sin [positions, head_dim / 2] in F32: F32 product of position and inverse frequency, then cos and sin,
 * times the YaRN concentration (rope_attention_factor). Sources: openai/gpt-oss `gpt_oss/torch/model.py`
 * RotaryEmbedding; huggingface/transformers `modeling_rope_utils.py` _compute_yarn_parameters, which also clamps the
 * ramp's ends for other shapes than the published ones. */
void model_config_rope(const model_config *config, int positions, float *cos_out, float *sin_out);

#endif
