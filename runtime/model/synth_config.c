#include "runtime/model/synth_config.h"

#include <jansson.h>
#include <stdlib.h>

/* Takes the reference over; NULL fails. */
static bool append_json(json_t *value, buffer *out)
{
    char *text =
        value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(7)) : NULL; /* 7 digits: what floats hold */
    bool good = text && buffer_printf(out, "%s\n", text);
    free(text);
    json_decref(value);
    return good;
}

static json_t *layer_types(const model_config *c)
{
    json_t *types = json_array();
    for (int i = 0; i < c->layers; i++)
        json_array_append_new(types, json_string(c->sliding[i] ? "sliding_attention" : "full_attention"));
    return types;
}

static json_t *eos_list(const model_config *c)
{
    json_t *ids = json_array();
    for (int i = 0; i < c->n_eos; i++) json_array_append_new(ids, json_integer(c->eos[i]));
    return ids;
}

bool synth_config_model(const model_config *c, int32_t pad, buffer *out)
{
    json_t *rope =
        json_pack("{s:s, s:f, s:f, s:f, s:i, s:b}", "rope_type", "yarn", "factor", c->rope_factor, "beta_fast",
                  c->rope_beta_fast, "beta_slow", c->rope_beta_slow, "original_max_position_embeddings",
                  c->rope_original_context, "truncate", c->rope_truncate);
    json_t *quantization =
        json_pack("{s:s, s:[s,s,s,s]}", "quant_method", "mxfp4", "modules_to_not_convert", "model.layers.*.self_attn",
                  "model.layers.*.mlp.router", "model.embed_tokens", "lm_head");
    json_t *shape =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "num_hidden_layers", c->layers,
                  "hidden_size", c->hidden, "intermediate_size", c->intermediate, "num_attention_heads", c->q_heads,
                  "num_key_value_heads", c->kv_heads, "head_dim", c->head_dim, "num_local_experts", c->experts,
                  "num_experts_per_tok", c->experts_per_token, "experts_per_token", c->experts_per_token, "vocab_size",
                  c->vocab, "sliding_window", c->sliding_window, "max_position_embeddings", c->max_positions,
                  "initial_context_length", c->rope_original_context);
    json_t *root = json_pack(
        "{s:[s], s:s, s:b, s:f, s:i, s:s, s:o, s:i, s:o, s:f, s:o, s:f, s:f, s:b, s:b}", "architectures",
        "GptOssForCausalLM", "model_type", "gpt_oss", "attention_bias", 1, "attention_dropout", 0.0, "eos_token_id",
        (int)c->eos[0], "hidden_act", "silu", "layer_types", layer_types(c), "pad_token_id", (int)pad,
        "quantization_config", quantization, "rms_norm_eps", (double)c->rms_eps, "rope_scaling", rope, "rope_theta",
        c->rope_theta, "swiglu_limit", (double)c->swiglu_limit, "tie_word_embeddings", 0, "use_cache", 1);
    bool good = root && shape && json_object_update(root, shape) == 0;
    json_decref(shape);
    if (!good) json_decref(root);
    return good && append_json(root, out);
}

bool synth_config_generation(const model_config *c, int32_t bos, int32_t pad, buffer *out)
{
    return append_json(json_pack("{s:i, s:b, s:o, s:i}", "bos_token_id", (int)bos, "do_sample", 1, "eos_token_id",
                                 eos_list(c), "pad_token_id", (int)pad),
                       out);
}

bool synth_config_tokenizer(const model_config *c, buffer *out)
{
    return append_json(json_pack("{s:s, s:s, s:s, s:s, s:b, s:i}", "tokenizer_class", "PreTrainedTokenizerFast",
                                 "bos_token", "<|startoftext|>", "eos_token", "<|return|>", "pad_token",
                                 "<|endoftext|>", "clean_up_tokenization_spaces", 0, "model_max_length",
                                 c->max_positions),
                       out);
}
