/* The table of expected tensors against the lists of the published checkpoints, in both layouts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/model/checkpoint_names.h"
#include "scratch.h"

static void assert_spec(const checkpoint_spec *spec, const json_t *entry)
{
    const json_t *shape = json_object_get(entry, "shape");
    assert_string_equal(spec->type == DTYPE_BF16 ? "BF16" : "U8", json_string_value(json_object_get(entry, "dtype")));
    assert_int_equal(spec->n_dims, json_array_size(shape));
    for (int i = 0; i < spec->n_dims; i++)
        assert_int_equal(spec->shape[i], json_integer_value(json_array_get(shape, (size_t)i)));
    assert_int_equal(spec->bytes, json_integer_value(json_object_get(entry, "bytes")));
}

/* The list's tensors by name; in OpenAI's layout slices "name[a:b]" of one tensor become one with all their rows. */
static json_t *by_name(const json_t *list, bool original)
{
    json_t *out = json_object(), *entry;
    size_t i;
    json_array_foreach(json_object_get(list, "tensors"), i, entry)
    {
        char name[128];
        snprintf(name, sizeof name, "%s", json_string_value(json_object_get(entry, original ? "original" : "hf")));
        char *slice = strchr(name, '[');
        if (slice) *slice = '\0';
        json_t *seen = json_object_get(out, name);
        assert_true(!seen || slice);
        if (!seen) {
            json_object_set_new(out, name, json_deep_copy(entry));
            continue;
        }
        json_t *rows = json_array_get(json_object_get(seen, "shape"), 0), *bytes = json_object_get(seen, "bytes");
        json_integer_set(rows, json_integer_value(rows) +
                                   json_integer_value(json_array_get(json_object_get(entry, "shape"), 0)));
        json_integer_set(bytes, json_integer_value(bytes) + json_integer_value(json_object_get(entry, "bytes")));
    }
    return out;
}

static void compare(const char *model, const char *data, bool original)
{
    json_t *list = scratch_data_json(data), *expected = by_name(list, original);
    model_config config;
    checkpoint_cursor cursor = {0};
    checkpoint_spec spec;
    int64_t total = 0;
    assert_true(model_config_published(model, &config));
    config.original_layout = original;
    while (checkpoint_names_next(&config, &cursor, &spec)) {
        json_t *entry = json_object_get(expected, spec.name);
        if (!entry) fail_msg("%s is not a tensor of %s", spec.name, model);
        assert_spec(&spec, entry);
        total += spec.bytes;
        json_object_del(expected, spec.name);
    }
    assert_int_equal(json_object_size(expected), 0); /* none left over */
    assert_true(total == json_integer_value(json_object_get(list, "total_size")));
    json_decref(expected);
    json_decref(list);
}

static void hugging_face_20b(void **state) { (void)state, compare("gpt-oss-20b", "tensors_20b.json", false); }
static void hugging_face_120b(void **state) { (void)state, compare("gpt-oss-120b", "tensors_120b.json", false); }
static void original_20b(void **state) { (void)state, compare("gpt-oss-20b", "tensors_20b.json", true); }
static void original_120b(void **state) { (void)state, compare("gpt-oss-120b", "tensors_120b.json", true); }

static void which_roles_are_where(void **state)
{
    (void)state;
    model_config config;
    checkpoint_spec spec;
    assert_true(model_config_published("gpt-oss-20b", &config));
    assert_false(checkpoint_names_spec(&config, CHECKPOINT_QKV, 0, &spec));
    assert_true(checkpoint_names_spec(&config, CHECKPOINT_Q, 11, &spec));
    assert_string_equal(spec.name, "model.layers.11.self_attn.q_proj.weight");
    config.original_layout = true;
    assert_false(checkpoint_names_spec(&config, CHECKPOINT_V_BIAS, 0, &spec));
    assert_true(checkpoint_names_spec(&config, CHECKPOINT_QKV, 0, &spec));
    assert_true(checkpoint_names_in_layer(true, "block.99.x") && !checkpoint_names_in_layer(true, "model.layers.0.x"));
    assert_true(checkpoint_names_in_layer(false, "model.layers.0.x") &&
                !checkpoint_names_in_layer(false, "model.norm.weight"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hugging_face_20b), cmocka_unit_test(hugging_face_120b),     cmocka_unit_test(original_20b),
        cmocka_unit_test(original_120b),    cmocka_unit_test(which_roles_are_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
