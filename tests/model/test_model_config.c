/* config.json of both layouts, every refusal by name, and the rotary table against Hugging Face's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/model/model_config.h"
#include "scratch.h"

static status parse_json(const json_t *value, model_config *out, status_detail *detail)
{
    char *text = json_dumps(value, 0);
    assert_non_null(text);
    status result = model_config_parse(text, strlen(text), "config.json", out, detail);
    free(text);
    return result;
}

static void parse_data(const char *name, model_config *out)
{
    status_detail detail = {""};
    buffer text = scratch_data(name);
    status result = model_config_parse(text.data, text.size, name, out, &detail);
    buffer_free(&text);
    if (result != STATUS_OK) fail_msg("%s", detail.text);
}

/* Sets "a.b" in `root` to the JSON text; NULL removes it. */
static void edit(json_t *root, const char *path, const char *text)
{
    char head[64];
    const char *dot = strchr(path, '.');
    if (dot) {
        snprintf(head, sizeof head, "%.*s", (int)(dot - path), path);
        edit(json_object_get(root, head), dot + 1, text);
    } else if (text) {
        json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        assert_int_equal(json_object_set_new(root, path, value), 0);
    } else {
        assert_int_equal(json_object_del(root, path), 0);
    }
}

static void assert_shape(const model_config *c, int layers, int experts)
{
    assert_int_equal(c->layers, layers);
    assert_int_equal(c->experts, experts);
    assert_int_equal(c->hidden, 2880);
    assert_int_equal(c->intermediate, 2880);
    assert_int_equal(c->q_heads, 64);
    assert_int_equal(c->kv_heads, 8);
    assert_int_equal(c->head_dim, 64);
    assert_int_equal(c->experts_per_token, 4);
    assert_int_equal(c->vocab, 201088);
    assert_int_equal(c->sliding_window, 128);
    for (int i = 0; i < layers; i++) assert_int_equal(c->sliding[i], i % 2 == 0);
    assert_true(c->rms_eps == 1e-5f && c->swiglu_alpha == 1.702f && c->swiglu_limit == 7.0f);
    assert_true(c->rope_theta == 150000.0 && c->rope_factor == 32.0 && c->rope_beta_fast == 32.0 &&
                c->rope_beta_slow == 1.0);
    assert_int_equal(c->rope_original_context, 4096);
    assert_false(c->rope_truncate);
    assert_int_equal(c->max_positions, 131072);
}

static void published_files(void **state)
{
    (void)state;
    model_config c;
    parse_data("config_hf_20b.json", &c);
    assert_shape(&c, 24, 32);
    assert_false(c.original_layout);
    assert_int_equal(c.n_eos, 1);
    assert_int_equal(c.eos[0], 200002);
    parse_data("config_hf_120b.json", &c);
    assert_shape(&c, 36, 128);
    parse_data("config_original_20b.json", &c);
    assert_shape(&c, 24, 32);
    assert_true(c.original_layout);
    assert_int_equal(c.n_eos, 0);
    parse_data("config_original_120b.json", &c);
    assert_shape(&c, 36, 128);
}

static void published_names(void **state)
{
    (void)state;
    model_config c;
    assert_true(model_config_published("gpt-oss-20b", &c));
    assert_shape(&c, 24, 32);
    assert_true(model_config_published("openai/gpt-oss-120b", &c));
    assert_shape(&c, 36, 128);
    assert_int_equal(c.n_eos, 3);
    assert_false(model_config_published("gpt-oss-1200b", &c));
    assert_false(model_config_published("gpt-oss-20b/original", &c));
}

/* ---- refusals --------------------------------------------------------------------------------------------------- */

typedef struct refusal {
    const char *path, *value, *named; /* what is edited, to what (NULL: removed), and what the message must name */
} refusal;

static void assert_refused(const char *data, const refusal *r)
{
    json_t *root = scratch_data_json(data);
    model_config c, untouched;
    status_detail detail = {""};
    memset(&c, 0x5a, sizeof c);
    untouched = c;
    edit(root, r->path, r->value);
    status result = parse_json(root, &c, &detail);
    json_decref(root);
    if (result != STATUS_MODEL) fail_msg("%s = %s was accepted", r->path, r->value ? r->value : "(absent)");
    if (!strstr(detail.text, r->named))
        fail_msg("%s = %s: \"%s\" does not name %s", r->path, r->value, detail.text, r->named);
    assert_non_null(strstr(detail.text, "config.json"));
    assert_memory_equal(&c, &untouched, sizeof c);
}

static const refusal hf_table[] = {
    {"model_type", "\"llama\"", "model_type: found \"llama\""},
    {"hidden_act", "\"gelu\"", "hidden_act"},
    {"attention_bias", "false", "attention_bias"},
    {"tie_word_embeddings", "true", "tie_word_embeddings"},
    {"quantization_config", NULL, "quantization_config"},
    {"quantization_config", "[]", "quantization_config"},
    {"quantization_config.quant_method", "\"gptq\"", "quantization_config.quant_method"},
    {"num_hidden_layers", NULL, "num_hidden_layers: found nothing"},
    {"num_hidden_layers", "0", "num_hidden_layers"},
    {"num_hidden_layers", "257", "num_hidden_layers"},
    {"num_hidden_layers", "24.0", "num_hidden_layers"},
    {"num_hidden_layers", "23", "layer_types"},
    {"hidden_size", "\"2880\"", "hidden_size"},
    {"hidden_size", "2890", "hidden_size: found 2890, allowed: multiples of 32"},
    {"hidden_size", "null", "hidden_size"},
    {"intermediate_size", "2896", "intermediate_size"},
    {"intermediate_size", "-32", "intermediate_size"},
    {"intermediate_size", "4611686018427387904", "intermediate_size"},
    {"num_attention_heads", "60", "num_attention_heads"},
    {"num_attention_heads", "true", "num_attention_heads"},
    {"num_key_value_heads", "7", "num_key_value_heads"},
    {"num_key_value_heads", "0", "num_key_value_heads"},
    {"head_dim", "63", "head_dim"},
    {"head_dim", "2048", "head_dim"},
    {"num_local_experts", "3", "num_experts_per_tok"},
    {"num_local_experts", "[]", "num_local_experts"},
    {"num_experts_per_tok", "9", "num_experts_per_tok"},
    {"num_experts_per_tok", "2", "experts_per_token"},
    {"experts_per_token", "0", "experts_per_token"},
    {"vocab_size", "0", "vocab_size"},
    {"vocab_size", "200002", "eos_token_id"},
    {"sliding_window", "null", "sliding_window"},
    {"sliding_window", "-1", "sliding_window"},
    {"layer_types", "{}", "layer_types"},
    {"layer_types", "[\"full_attention\"]", "layer_types: found 1 entries"},
    {"rms_norm_eps", "\"1e-5\"", "rms_norm_eps"},
    {"rms_norm_eps", "-1", "rms_norm_eps"},
    {"swiglu_limit", "0", "swiglu_limit"},
    {"swiglu_alpha", "\"x\"", "swiglu_alpha"},
    {"max_position_embeddings", "0", "max_position_embeddings"},
    {"max_position_embeddings", "1e6", "max_position_embeddings"},
    {"partial_rotary_factor", "0.5", "partial_rotary_factor"},
    {"rope_theta", NULL, "rope_theta"},
    {"rope_theta", "1", "rope_theta"},
    {"rope_scaling", "[]", "rope_scaling"},
    {"rope_scaling", "{}", "rope_scaling.rope_type"},
    {"rope_scaling.rope_type", "\"linear\"", "rope_scaling.rope_type: found \"linear\""},
    {"rope_scaling.factor", NULL, "rope_scaling.factor"},
    {"rope_scaling.factor", "0.5", "rope_scaling.factor"},
    {"rope_scaling.beta_fast", "0.5", "rope_scaling.beta_fast"},
    {"rope_scaling.beta_slow", "0", "rope_scaling.beta_slow"},
    {"rope_scaling.truncate", "0", "rope_scaling.truncate"},
    {"rope_scaling.original_max_position_embeddings", "4096.5", "rope_scaling.original_max_position_embeddings"},
    {"rope_scaling.attention_factor", "-1.0", "rope_scaling.attention_factor"},
    {"rope_scaling.mscale", "\"1\"", "rope_scaling.mscale"},
    {"rope_parameters", "{\"rope_type\": \"dynamic\", \"rope_theta\": 10000}", "rope_parameters.rope_type"},
    {"eos_token_id", "-1", "eos_token_id"},
    {"eos_token_id", "[0, 1, 2, 3, 4, 5, 6, 7, 8]", "eos_token_id: found 9 ids"},
    {"eos_token_id", "[200002, \"a\"]", "eos_token_id"},
};

static void hf_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hf_table / sizeof hf_table[0]; i++)
        assert_refused("config_hf_20b.json", &hf_table[i]);
}

static void original_refusals(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {"num_experts", "1.5", "num_experts"},
        {"experts_per_token", NULL, "experts_per_token"},
        {"experts_per_token", "33", "experts_per_token"},
        {"initial_context_length", "0", "initial_context_length"},
        {"rope_scaling_factor", "0", "rope_scaling_factor"},
        {"rope_scaling_factor", "1e5", "rope_scaling_factor"},
        {"rope_ntk_beta", "0.5", "rope_ntk_beta"},
        {"rope_ntk_alpha", NULL, "rope_ntk_alpha"},
        {"hidden_size", "2881", "hidden_size"},
        {"num_experts", NULL, "model_type"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_refused("config_original_20b.json", &refusals[i]);
}

static void malformed_text(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "{", "[]", "null", "\"x\"", "{\"num_experts\": 1, \"num_experts\": 1}", "{}", "\xff\xfe{}", "{} {}"};
    buffer whole = scratch_data("config_hf_20b.json");
    model_config c;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        status_detail detail = {""};
        assert_int_equal(model_config_parse(texts[i], strlen(texts[i]), "x.json", &c, &detail), STATUS_MODEL);
        assert_non_null(strstr(detail.text, "x.json"));
    }
    for (size_t cut = 0; cut + 1 < whole.size; cut += 7)
        assert_int_equal(model_config_parse(whole.data, cut, "x.json", &c, NULL), STATUS_MODEL);
    buffer_free(&whole);
}

/* ---- what may be left out --------------------------------------------------------------------------------------- */

static void optional_fields(void **state)
{
    (void)state;
    static const char *const absent[] = {"layer_types",    "swiglu_limit",        "rms_norm_eps",      "hidden_act",
                                         "attention_bias", "tie_word_embeddings", "experts_per_token", "eos_token_id"};
    json_t *root = scratch_data_json("config_hf_20b.json");
    model_config c;
    status_detail detail = {""};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) edit(root, absent[i], NULL);
    if (parse_json(root, &c, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    assert_shape(&c, 24, 32);
    assert_int_equal(c.n_eos, 0);

    edit(root, "swiglu_limit", "5");
    edit(root, "swiglu_alpha", "1.5");
    edit(root, "rope_scaling.truncate", NULL);
    edit(root, "rope_scaling.original_max_position_embeddings", NULL);
    assert_int_equal(parse_json(root, &c, &detail), STATUS_OK);
    assert_true(c.swiglu_limit == 5.0f && c.swiglu_alpha == 1.5f && c.rope_truncate);
    assert_int_equal(c.rope_original_context, 131072);

    edit(root, "rope_scaling", "null");
    assert_int_equal(parse_json(root, &c, &detail), STATUS_OK);
    assert_true(c.rope_factor == 1.0);
    json_decref(root);
}

static void rope_parameters(void **state)
{
    (void)state;
    json_t *root = scratch_data_json("config_hf_20b.json"),
           *rope = json_deep_copy(json_object_get(root, "rope_scaling"));
    model_config c;
    status_detail detail = {""};
    json_object_set_new(rope, "rope_theta", json_integer(150000));
    json_object_set_new(root, "rope_parameters", rope);
    edit(root, "rope_scaling", NULL);
    edit(root, "rope_theta", NULL);
    if (parse_json(root, &c, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    assert_shape(&c, 24, 32);
    json_decref(root);
}

static void odd_layer_types(void **state)
{
    (void)state;
    json_t *root = scratch_data_json("config_hf_20b.json");
    model_config c;
    edit(root, "num_hidden_layers", "3");
    edit(root, "layer_types", "[\"full_attention\", \"sliding_attention\", \"sliding_attention\"]");
    assert_int_equal(parse_json(root, &c, NULL), STATUS_OK);
    assert_true(!c.sliding[0] && c.sliding[1] && c.sliding[2]);
    edit(root, "layer_types", "[\"full_attention\", \"chunked_attention\", \"full_attention\"]");
    status_detail detail = {""};
    assert_int_equal(parse_json(root, &c, &detail), STATUS_MODEL);
    assert_non_null(strstr(detail.text, "layer_types[1]"));
    json_decref(root);
}

/* ---- folders ---------------------------------------------------------------------------------------------------- */

static void copy_data(const char *data, const char *dir, const char *name)
{
    buffer text = scratch_data(data);
    scratch_write(dir, name, text.data, text.size);
    buffer_free(&text);
}

static void folders(void **state)
{
    (void)state;
    char *dir = scratch_make();
    model_config c;
    status_detail detail = {""};
    assert_int_equal(model_config_read(dir, &c, &detail), STATUS_MODEL);
    assert_non_null(strstr(detail.text, "config.json"));

    scratch_folder(dir, "original");
    copy_data("config_original_20b.json", dir, "original/config.json");
    assert_int_equal(model_config_read(dir, &c, &detail), STATUS_OK);
    assert_true(c.original_layout);
    assert_int_equal(model_config_read(scratch_path(dir, "original"), &c, &detail), STATUS_OK);
    assert_true(c.original_layout);

    copy_data("config_hf_20b.json", dir, "config.json");
    assert_int_equal(model_config_read(dir, &c, &detail), STATUS_OK);
    assert_false(c.original_layout);
    assert_int_equal(c.n_eos, 1);

    copy_data("generation_config.json", dir, "generation_config.json");
    assert_int_equal(model_config_read(dir, &c, &detail), STATUS_OK);
    assert_int_equal(c.n_eos, 3);
    assert_int_equal(c.eos[0], 200002);
    assert_int_equal(c.eos[1], 199999);
    assert_int_equal(c.eos[2], 200012);

    scratch_write(dir, "generation_config.json", "{\"eos_token_id\": 201088}", 24);
    assert_int_equal(model_config_read(dir, &c, &detail), STATUS_MODEL);
    assert_non_null(strstr(detail.text, "generation_config.json"));
    scratch_remove(dir);
}

/* ---- rotary table ----------------------------------------------------------------------------------------------- */

static void yarn_table(void **state)
{
    (void)state;
    enum { HALF = 32 };
    static float cosine[2 * HALF], sine[2 * HALF];
    json_t *table = scratch_data_json("yarn_table.json"), *pairs = json_object_get(table, "dim_pairs");
    double concentration = json_number_value(json_object_get(table, "concentration"));
    model_config c;
    assert_true(model_config_published("gpt-oss-120b", &c));
    model_config_rope(&c, 2, cosine, sine);
    assert_int_equal(json_array_size(pairs), HALF);
    for (int i = 0; i < HALF; i++) {
        double expected = json_number_value(json_object_get(json_array_get(pairs, (size_t)i), "inv_freq"));
        double found = atan2(sine[HALF + i], cosine[HALF + i]); /* position 1: the angle is the frequency */
        /* F32 steps err by a few units in the last place of the frequency, cos and sin by one of theirs. */
        assert_true(fabs(found - expected) <= 4 * 6e-8 * expected + 6e-8);
        assert_true(fabs(hypot(sine[HALF + i], cosine[HALF + i]) - concentration) <= 3e-7);
        assert_true(cosine[i] == (float)concentration && sine[i] == 0.0f); /* position 0 */
    }
    json_decref(table);
}

static void compare_case(const json_t *one, const json_t *positions)
{
    model_config c;
    status_detail detail = {""};
    json_t *root = scratch_data_json("config_hf_20b.json");
    static const char *const copied[] = {"head_dim", "rope_theta", "max_position_embeddings", "rope_scaling"};
    for (int i = 0; i < 4; i++) json_object_set(root, copied[i], json_object_get(one, copied[i]));
    if (parse_json(root, &c, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    json_decref(root);

    int half = c.head_dim / 2, n = 1024;
    float *cosine = calloc((size_t)n * (size_t)half, sizeof *cosine),
          *sine = calloc((size_t)n * (size_t)half, sizeof *sine);
    assert_true(cosine && sine);
    model_config_rope(&c, n, cosine, sine);
    for (size_t p = 0; p < json_array_size(positions); p++) {
        const json_t *cos_row = json_array_get(json_object_get(one, "cos"), p),
                     *sin_row = json_array_get(json_object_get(one, "sin"), p);
        int position = (int)json_integer_value(json_array_get(positions, p));
        for (int i = 0; i < half; i++) {
            double frequency = json_number_value(json_array_get(json_object_get(one, "inv_freq"), (size_t)i));
            /* Two powf may differ by 2 units of the frequency, which the position multiplies; then one unit each of cos
             * and scaling. */
            double allowed = 1.5 * (2 * 1.2e-7 * frequency * position + 2.4e-7);
            double d_cos = fabs(cosine[position * half + i] - json_number_value(json_array_get(cos_row, (size_t)i)));
            double d_sin = fabs(sine[position * half + i] - json_number_value(json_array_get(sin_row, (size_t)i)));
            if (!(d_cos <= allowed && d_sin <= allowed))
                fail_msg("%s: position %d pair %d: off by %g %g, allowed %g",
                         json_string_value(json_object_get(one, "name")), position, i, d_cos, d_sin, allowed);
        }
    }
    free(cosine);
    free(sine);
}

static void rope_like_hugging_face(void **state)
{
    (void)state;
    json_t *reference = scratch_data_json("rope_reference.json"), *cases = json_object_get(reference, "cases");
    assert_true(json_array_size(cases) >= 10);
    for (size_t i = 0; i < json_array_size(cases); i++)
        compare_case(json_array_get(cases, i), json_object_get(reference, "positions"));
    json_decref(reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_files),
        cmocka_unit_test(published_names),
        cmocka_unit_test(hf_refusals),
        cmocka_unit_test(original_refusals),
        cmocka_unit_test(malformed_text),
        cmocka_unit_test(optional_fields),
        cmocka_unit_test(rope_parameters),
        cmocka_unit_test(odd_layer_types),
        cmocka_unit_test(folders),
        cmocka_unit_test(yarn_table),
        cmocka_unit_test(rope_like_hugging_face),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
