#include "runtime/model/model_config.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "runtime/model/model_file.h"

enum { CONFIG_FILE_LIMIT = 4 << 20 };

/* Bounds that keep every product of sizes far inside 64 bits. */
enum {
    MAX_SIZE = 1 << 20,
    MAX_HEADS = 1 << 12,
    MAX_HEAD_DIM = 1 << 10,
    MAX_EXPERTS = 1 << 12,
    MAX_VOCAB = 1 << 24,
    MAX_POSITIONS = 1 << 24
};

/* What every reader below needs to say where something is wrong. */
typedef struct reader {
    const char *name;   /* of the file */
    const char *prefix; /* of the object inside it, "" or "rope_scaling." */
    status_detail *detail;
} reader;

static status wrong(const reader *r, const char *key, const json_t *found, const char *allowed)
{
    char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    status result = status_fail(r->detail, STATUS_MODEL, "%s: field %s%s: found %.80s, allowed: %s", r->name, r->prefix,
                                key, text ? text : "nothing", allowed);
    free(text);
    return result;
}

/* JSON null counts as absent, as it does in Python's configurations. */
static json_t *get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* ---- fields ----------------------------------------------------------------------------------------------------- */

typedef enum field_type { FIELD_INT, FIELD_FLOAT, FIELD_DOUBLE } field_type;

/* One number of the file and where it goes. Absent: an error when required, else the destination keeps its default. */
typedef struct field {
    const char *key;
    field_type type;
    bool required;
    size_t offset;
    double min, max;
} field;

#define INT_FIELD(key, required, member, min, max)                                                                     \
    {                                                                                                                  \
        key, FIELD_INT, required, offsetof(model_config, member), min, max                                             \
    }
#define FLOAT_FIELD(key, required, member, min, max)                                                                   \
    {                                                                                                                  \
        key, FIELD_FLOAT, required, offsetof(model_config, member), min, max                                           \
    }
#define DOUBLE_FIELD(key, required, member, min, max)                                                                  \
    {                                                                                                                  \
        key, FIELD_DOUBLE, required, offsetof(model_config, member), min, max                                          \
    }

static const field shared_fields[] = {
    INT_FIELD("num_hidden_layers", true, layers, 1, MODEL_MAX_LAYERS),
    INT_FIELD("hidden_size", true, hidden, 32, MAX_SIZE),
    INT_FIELD("intermediate_size", true, intermediate, 32, MAX_SIZE),
    INT_FIELD("num_attention_heads", true, q_heads, 1, MAX_HEADS),
    INT_FIELD("num_key_value_heads", true, kv_heads, 1, MAX_HEADS),
    INT_FIELD("head_dim", true, head_dim, 2, MAX_HEAD_DIM),
    INT_FIELD("vocab_size", true, vocab, 1, MAX_VOCAB),
    INT_FIELD("sliding_window", true, sliding_window, 1, MAX_POSITIONS),
    FLOAT_FIELD("swiglu_limit", false, swiglu_limit, 1e-3, 1e6),
    FLOAT_FIELD("swiglu_alpha", false, swiglu_alpha, 1e-3, 1e3),
};

static const field hf_fields[] = {
    INT_FIELD("num_local_experts", true, experts, 1, MAX_EXPERTS),
    INT_FIELD("max_position_embeddings", true, max_positions, 1, MAX_POSITIONS),
    FLOAT_FIELD("rms_norm_eps", false, rms_eps, 1e-12, 1e-1),
};

static const field original_fields[] = {
    INT_FIELD("num_experts", true, experts, 1, MAX_EXPERTS),
    INT_FIELD("experts_per_token", true, experts_per_token, 1, OPS_MAX_TOP_K_EXPERTS),
    INT_FIELD("initial_context_length", true, rope_original_context, 1, MAX_POSITIONS),
    DOUBLE_FIELD("rope_theta", true, rope_theta, 1.0001, 1e12),
    DOUBLE_FIELD("rope_scaling_factor", true, rope_factor, 1, 1e6),
    DOUBLE_FIELD("rope_ntk_alpha", true, rope_beta_slow, 1e-6, 1e6),
    DOUBLE_FIELD("rope_ntk_beta", true, rope_beta_fast, 1e-6, 1e6),
};

/* Keys of rope_scaling and rope_parameters. */
static const field yarn_fields[] = {
    DOUBLE_FIELD("factor", true, rope_factor, 1, 1e6),
    DOUBLE_FIELD("beta_fast", false, rope_beta_fast, 1e-6, 1e6),
    DOUBLE_FIELD("beta_slow", false, rope_beta_slow, 1e-6, 1e6),
    INT_FIELD("original_max_position_embeddings", false, rope_original_context, 1, MAX_POSITIONS),
    DOUBLE_FIELD("attention_factor", false, rope_attention_factor, 1e-6, 1e6),
};

static const field theta_field[] = {DOUBLE_FIELD("rope_theta", true, rope_theta, 1.0001, 1e12)};

/* Hugging Face writes both names of this one. */
static const field top_k_fields[] = {
    INT_FIELD("num_experts_per_tok", false, experts_per_token, 1, OPS_MAX_TOP_K_EXPERTS),
    INT_FIELD("experts_per_token", false, experts_per_token, 1, OPS_MAX_TOP_K_EXPERTS),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static status read_field(const reader *r, const json_t *object, const field *f, model_config *out)
{
    char allowed[96];
    const json_t *value = get(object, f->key);
    bool right = f->type == FIELD_INT ? json_is_integer(value) : json_is_number(value);
    double number = json_number_value(value);
    if (!value && !f->required) return STATUS_OK;
    if (!right || !(number >= f->min && number <= f->max)) {
        snprintf(allowed, sizeof allowed, "%s from %.10g to %.10g",
                 f->type == FIELD_INT ? "a whole number" : "a number", f->min, f->max);
        return wrong(r, f->key, value, allowed);
    }
    void *to = (char *)out + f->offset;
    switch (f->type) {
    case FIELD_INT: *(int *)to = (int)number; break;
    case FIELD_FLOAT: *(float *)to = (float)number; break;
    case FIELD_DOUBLE: *(double *)to = number; break;
    }
    return STATUS_OK;
}

static status read_fields(const reader *r, const json_t *object, const field *fields, size_t n, model_config *out)
{
    for (size_t i = 0; i < n; i++) STATUS_TRY(read_field(r, object, &fields[i], out));
    return STATUS_OK;
}

/* A field that must hold exactly this: what else it may say in other models is not implemented here. */
typedef struct fixed_field {
    const char *key;
    bool required;
    const char *text; /* JSON */
} fixed_field;

static const fixed_field hf_fixed[] = {
    {"model_type", true, "\"gpt_oss\""},
    {"hidden_act", false, "\"silu\""},
    {"attention_bias", false, "true"},
    {"tie_word_embeddings", false, "false"},
};

static status check_fixed(const reader *r, const json_t *object, const fixed_field *f)
{
    const json_t *value = get(object, f->key);
    if (!value && !f->required) return STATUS_OK;
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    bool right = text && strcmp(text, f->text) == 0;
    free(text);
    return right ? STATUS_OK : wrong(r, f->key, value, f->text);
}

/* ---- the parts of Hugging Face's config ------------------------------------------------------------------------- */

static status read_quantization(const reader *r, const json_t *root)
{
    static const fixed_field method = {"quant_method", true, "\"mxfp4\""};
    const json_t *quantization = get(root, "quantization_config");
    reader inner = {r->name, "quantization_config.", r->detail};
    if (!json_is_object(quantization))
        return wrong(r, "quantization_config", quantization,
                     "an object with quant_method \"mxfp4\" (experts in other formats are not supported)");
    return check_fixed(&inner, quantization, &method);
}

static status read_top_k(const reader *r, const json_t *root, model_config *out)
{
    const json_t *a = get(root, top_k_fields[0].key), *b = get(root, top_k_fields[1].key);
    if (!a && !b) return wrong(r, top_k_fields[0].key, NULL, "a whole number");
    STATUS_TRY(read_fields(r, root, top_k_fields, COUNT(top_k_fields), out));
    if (a && b && !json_equal(a, b)) return wrong(r, "experts_per_token", b, "the same number as num_experts_per_tok");
    return STATUS_OK;
}

static void alternate_layers(model_config *out)
{
    for (int i = 0; i < out->layers; i++) out->sliding[i] = i % 2 == 0;
}

static status read_layer_types(const reader *r, const json_t *root, model_config *out)
{
    const json_t *types = get(root, "layer_types");
    if (!types) {
        alternate_layers(out);
        return STATUS_OK;
    }
    if (!json_is_array(types)) return wrong(r, "layer_types", types, "a list");
    if (json_array_size(types) != (size_t)out->layers)
        return status_fail(r->detail, STATUS_MODEL,
                           "%s: field layer_types: found %zu entries, allowed: %d, one for each of num_hidden_layers",
                           r->name, json_array_size(types), out->layers);
    for (int i = 0; i < out->layers; i++) {
        char key[32];
        const json_t *entry = json_array_get(types, (size_t)i);
        const char *type = json_string_value(entry);
        bool sliding = type && strcmp(type, "sliding_attention") == 0;
        snprintf(key, sizeof key, "layer_types[%d]", i);
        if (!sliding && (!type || strcmp(type, "full_attention") != 0))
            return wrong(r, key, entry, "\"sliding_attention\" or \"full_attention\"");
        out->sliding[i] = sliding;
    }
    return STATUS_OK;
}

/* transformers `modeling_rope_utils.py` get_mscale. */
static double yarn_scale(double factor, double mscale)
{
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

/* mscale and mscale_all_dim count only together and without attention_factor. */
static status read_mscale(const reader *r, const json_t *rope, model_config *out)
{
    const json_t *one = get(rope, "mscale"), *all = get(rope, "mscale_all_dim");
    if (one && !(json_number_value(one) >= 0 && json_is_number(one))) return wrong(r, "mscale", one, "a number from 0");
    if (all && !(json_number_value(all) >= 0 && json_is_number(all)))
        return wrong(r, "mscale_all_dim", all, "a number from 0");
    double a = json_number_value(one), b = json_number_value(all);
    if (out->rope_attention_factor == 0.0 && a > 0.0 && b > 0.0)
        out->rope_attention_factor = yarn_scale(out->rope_factor, a) / yarn_scale(out->rope_factor, b);
    return STATUS_OK;
}

static status read_yarn(const reader *r, const json_t *rope, model_config *out)
{
    const json_t *truncate = get(rope, "truncate");
    out->rope_beta_fast = 32.0;
    out->rope_beta_slow = 1.0;
    out->rope_original_context = out->max_positions;
    out->rope_truncate = true; /* transformers' default; the published models say false */
    STATUS_TRY(read_fields(r, rope, yarn_fields, COUNT(yarn_fields), out));
    if (out->rope_beta_fast < out->rope_beta_slow)
        return wrong(r, "beta_fast", get(rope, "beta_fast"), "a number not below beta_slow");
    if (truncate && !json_is_boolean(truncate)) return wrong(r, "truncate", truncate, "true or false");
    if (truncate) out->rope_truncate = json_is_true(truncate);
    return read_mscale(r, rope, out);
}

/* Rotating a part of each head only is not implemented. */
static status check_whole_heads(const reader *r, const json_t *object)
{
    const json_t *part = get(object, "partial_rotary_factor");
    return part && json_number_value(part) != 1.0 ? wrong(r, "partial_rotary_factor", part, "1") : STATUS_OK;
}

static status read_rope(const reader *r, const json_t *root, model_config *out)
{
    const json_t *parameters = get(root, "rope_parameters"),
                 *rope = parameters ? parameters : get(root, "rope_scaling");
    const char *key = parameters ? "rope_parameters" : "rope_scaling";
    reader inner = {r->name, parameters ? "rope_parameters." : "rope_scaling.", r->detail};
    bool theta_inside = get(rope, "rope_theta") != NULL;

    out->rope_factor = 1.0;
    out->rope_original_context = out->max_positions;
    if (rope && !json_is_object(rope)) return wrong(r, key, rope, "an object or null");
    STATUS_TRY(read_fields(theta_inside ? &inner : r, theta_inside ? rope : root, theta_field, 1, out));
    STATUS_TRY(check_whole_heads(r, root));
    if (!rope) return STATUS_OK;
    STATUS_TRY(check_whole_heads(&inner, rope));

    const json_t *type = get(rope, "rope_type") ? get(rope, "rope_type") : get(rope, "type");
    const char *text = json_string_value(type);
    if (text && strcmp(text, "default") == 0) return STATUS_OK;
    if (!text || strcmp(text, "yarn") != 0) return wrong(&inner, "rope_type", type, "\"yarn\" or \"default\"");
    return read_yarn(&inner, rope, out);
}

/* One id or a list of them. Absent: leaves config->eos as it is. */
static status read_eos(const reader *r, const json_t *root, model_config *out)
{
    const json_t *eos = get(root, "eos_token_id");
    size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
    int32_t ids[MODEL_MAX_EOS];
    if (!eos) return STATUS_OK;
    if (n > MODEL_MAX_EOS)
        return status_fail(r->detail, STATUS_MODEL, "%s: field eos_token_id: found %zu ids, allowed: at most %d",
                           r->name, n, MODEL_MAX_EOS);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_is_array(eos) ? json_array_get(eos, i) : eos;
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value >= out->vocab)
            return wrong(r, "eos_token_id", id, "ids of the vocabulary, from 0 to below vocab_size");
        ids[i] = (int32_t)value;
    }
    memcpy(out->eos, ids, n * sizeof ids[0]);
    out->n_eos = (int)n;
    return STATUS_OK;
}

/* ---- whole configs ---------------------------------------------------------------------------------------------- */

static status read_hf(const reader *r, const json_t *root, model_config *out)
{
    for (size_t i = 0; i < COUNT(hf_fixed); i++) STATUS_TRY(check_fixed(r, root, &hf_fixed[i]));
    STATUS_TRY(read_fields(r, root, shared_fields, COUNT(shared_fields), out));
    STATUS_TRY(read_fields(r, root, hf_fields, COUNT(hf_fields), out));
    STATUS_TRY(read_quantization(r, root));
    STATUS_TRY(read_top_k(r, root, out));
    STATUS_TRY(read_layer_types(r, root, out));
    STATUS_TRY(read_rope(r, root, out));
    return read_eos(r, root, out);
}

static status read_original(const reader *r, const json_t *root, model_config *out)
{
    STATUS_TRY(read_fields(r, root, shared_fields, COUNT(shared_fields), out));
    STATUS_TRY(read_fields(r, root, original_fields, COUNT(original_fields), out));
    if (out->rope_beta_fast < out->rope_beta_slow)
        return wrong(r, "rope_ntk_beta", get(root, "rope_ntk_beta"), "a number not below rope_ntk_alpha");
    double positions = out->rope_original_context * out->rope_factor;
    if (positions > MAX_POSITIONS)
        return wrong(r, "rope_scaling_factor", get(root, "rope_scaling_factor"),
                     "a factor whose product with initial_context_length is at most 16777216");
    out->max_positions = (int)positions;
    out->original_layout = true;
    alternate_layers(out);
    return STATUS_OK;
}

static status check_shape(const reader *r, const model_config *c)
{
    if (c->q_heads % c->kv_heads != 0)
        return status_fail(r->detail, STATUS_MODEL,
                           "%s: field num_attention_heads: found %d, allowed: a multiple of num_key_value_heads (%d)",
                           r->name, c->q_heads, c->kv_heads);
    if (c->head_dim % 2 != 0)
        return status_fail(r->detail, STATUS_MODEL, "%s: field head_dim: found %d, allowed: even numbers", r->name,
                           c->head_dim);
    if (c->hidden % 32 != 0)
        return status_fail(r->detail, STATUS_MODEL,
                           "%s: field hidden_size: found %d, allowed: multiples of 32 (MXFP4 blocks)", r->name,
                           c->hidden);
    if (c->intermediate % 32 != 0)
        return status_fail(r->detail, STATUS_MODEL,
                           "%s: field intermediate_size: found %d, allowed: multiples of 32 (MXFP4 blocks)", r->name,
                           c->intermediate);
    if (c->experts_per_token > c->experts)
        return status_fail(
            r->detail, STATUS_MODEL, "%s: field %s: found %d, allowed: at most the number of experts (%d)", r->name,
            c->original_layout ? "experts_per_token" : "num_experts_per_tok", c->experts_per_token, c->experts);
    return STATUS_OK;
}

static status load(const reader *r, const char *json, size_t size, json_t **out)
{
    json_error_t error;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return status_fail(r->detail, STATUS_MODEL, "%s:%d: not valid JSON: %s", r->name, error.line, error.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return status_fail(r->detail, STATUS_MODEL, "%s: a JSON object is expected", r->name);
    }
    *out = root;
    return STATUS_OK;
}

status model_config_parse(const char *json, size_t size, const char *name, model_config *out, status_detail *detail)
{
    reader r = {name, "", detail};
    model_config config = {.rms_eps = 1e-5f, .swiglu_alpha = 1.702f, .swiglu_limit = 7.0f};
    json_t *root = NULL;
    STATUS_TRY(load(&r, json, size, &root));

    /* OpenAI's file names no model type; its num_experts is what no Hugging Face file of this model has. */
    bool original = !get(root, "model_type") && get(root, "num_experts");
    status result = original ? read_original(&r, root, &config) : read_hf(&r, root, &config);
    if (result == STATUS_OK) result = check_shape(&r, &config);
    json_decref(root);
    if (result == STATUS_OK) *out = config;
    return result;
}

status model_config_parse_generation(const char *json, size_t size, const char *name, model_config *config,
                                     status_detail *detail)
{
    reader r = {name, "", detail};
    json_t *root = NULL;
    STATUS_TRY(load(&r, json, size, &root));
    status result = read_eos(&r, root, config);
    json_decref(root);
    return result;
}

status model_config_read(const char *dir, model_config *out, status_detail *detail)
{
    char path[PATH_MAX];
    model_config config;
    buffer text = {0};
    const char *name = model_file_exists(dir, "config.json") || !model_file_exists(dir, "original/config.json")
                           ? "config.json"
                           : "original/config.json";
    STATUS_TRY(model_file_path(path, sizeof path, dir, name, detail));
    STATUS_TRY(model_file_read(path, CONFIG_FILE_LIMIT, &text, detail));
    status result = model_config_parse(text.data ? text.data : "", text.size, path, &config, detail);

    if (result == STATUS_OK && !config.original_layout && model_file_exists(dir, "generation_config.json")) {
        buffer_free(&text);
        result = model_file_path(path, sizeof path, dir, "generation_config.json", detail);
        if (result == STATUS_OK) result = model_file_read(path, CONFIG_FILE_LIMIT, &text, detail);
        if (result == STATUS_OK)
            result = model_config_parse_generation(text.data ? text.data : "", text.size, path, &config, detail);
    }
    buffer_free(&text);
    if (result == STATUS_OK) *out = config;
    return result;
}

bool model_config_published(const char *name, model_config *out)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    bool large = strcmp(base, "gpt-oss-120b") == 0;
    if (!large && strcmp(base, "gpt-oss-20b") != 0) return false;
    *out = (model_config){
        .layers = large ? 36 : 24,
        .hidden = 2880,
        .intermediate = 2880,
        .q_heads = 64,
        .kv_heads = 8,
        .head_dim = 64,
        .experts = large ? 128 : 32,
        .experts_per_token = 4,
        .vocab = 201088,
        .sliding_window = 128,
        .rms_eps = 1e-5f,
        .swiglu_alpha = 1.702f,
        .swiglu_limit = 7.0f,
        .rope_theta = 150000.0,
        .rope_factor = 32.0,
        .rope_beta_fast = 32.0,
        .rope_beta_slow = 1.0,
        .rope_original_context = 4096,
        .max_positions = 131072,
        .n_eos = 3,
        .eos = {200002, 199999, 200012},
    };
    alternate_layers(out);
    return true;
}
