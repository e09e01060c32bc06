/* MXFP4 weights against blocks decoded elsewhere (tests/data/model/mxfp4_vectors.json), and dummy experts.
 *
 * Seen through `experts`: expert j's gate and up products are 0 and its biases make activation j alone differ from 0, so that its output row is
 * column j of the down projection, times a known factor.
 */
#include "tests/kernels/reference.h"
#include "tests/kernels/suite.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLS = 32, MAX_CASES = 32 };

static json_t *load_vectors(void)
{
    char path[512];
    const char *tests = getenv("GPTOSS_TESTS_DIR");
    json_error_t error;
    if (!tests) fail_msg("set GPTOSS_TESTS_DIR to the tests folder");
    snprintf(path, sizeof path, "%s/data/model/mxfp4_vectors.json", tests);
    json_t *value = json_load_file(path, 0, &error);
    if (!value) fail_msg("%s: %s", path, error.text);
    return value;
}

static void read_block(const char *hex, uint8_t *codes)
{
    for (int i = 0; i < COLS / 2; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        codes[i] = (uint8_t)byte;
    }
}

/* Output rows beyond the vectors repeat them: hidden is a multiple of 32. */
typedef struct vectors {
    uint8_t codes[COLS][COLS / 2], scales[COLS];
    double values[COLS][COLS];
} vectors;

static void read_vectors(vectors *v)
{
    json_t *root = load_vectors(), *cases = json_object_get(root, "cases");
    size_t n = json_array_size(cases);
    assert_in_range(n, 1, MAX_CASES);
    for (size_t row = 0; row < COLS; row++) {
        json_t *one = json_array_get(cases, row % n);
        v->scales[row] = (uint8_t)json_integer_value(json_object_get(one, "scale_byte"));
        read_block(json_string_value(json_object_get(one, "block_hex")), v->codes[row]);
        for (size_t i = 0; i < COLS; i++) v->values[row][i] = json_number_value(json_array_get(json_object_get(one, "values"), i));
    }
    json_decref(root);
}

static ops_weight mxfp4_view(const void *codes, const uint8_t *scales, int batches, int rows, bool shared)
{
    return (ops_weight){.format = OPS_MXFP4, .data = codes, .scales = scales, .batches = batches, .rows = rows, .cols = COLS, .row_stride = COLS / 2,
                        .batch_stride = shared ? 0 : rows * COLS / 2, .scale_row_stride = 1, .scale_batch_stride = shared ? 0 : rows};
}

/* Gates of 7 and ups of `up` on the diagonal, so that activation j of expert j is 7 sigmoid(7 alpha) (up + 1) and the others are 0. */
static suite_tensor diagonal_biases(suite *s, float up)
{
    suite_tensor bias = suite_bf16(s, COLS, 1, 2 * COLS, 0, 0);
    uint16_t *data = (uint16_t *)bias.host.data;
    for (int e = 0; e < COLS; e++) {
        data[e * 2 * COLS + 2 * e] = dtype_f32_to_bf16(7);
        data[e * 2 * COLS + 2 * e + 1] = dtype_f32_to_bf16(up);
    }
    return bias;
}

/* Every decoded value, times the known factor. */
static void check_vectors(suite *s, const vectors *v, float up, float weight)
{
    static const uint8_t zeros[COLS * 2 * COLS * COLS / 2];
    suite_tensor bias = diagonal_biases(s, up), down_bias = suite_absent();
    suite_tensor gate_up = {.host = mxfp4_view(zeros, zeros, COLS, 2 * COLS, false)}, down = {.host = mxfp4_view(v->codes, v->scales, COLS, COLS, true)};
    SUITE_PLACE(s, &gate_up);
    SUITE_PLACE(s, &bias);
    SUITE_PLACE(s, &down);
    SUITE_PLACE(s, &down_bias);
    ops_layer layer = {.gate_up = gate_up.placed, .gate_up_bias = bias.placed, .down = down.placed, .down_bias = down_bias.placed};
    double *x = suite_values(s, COLS * COLS, 1), factor = (double)weight * 7 / (1 + exp(-7 * (double)s->shape.swiglu_alpha)) * ((double)up + 1);
    int32_t ids[COLS];
    float weights[COLS];
    for (int i = 0; i < COLS; i++) ids[i] = i, weights[i] = weight;
    void *rows = suite_rows(s, x, COLS * COLS), *out = suite_device(s, COLS * COLS * suite_activation_size(s));
    s->ops->experts(s->c, &layer, COLS, rows, suite_upload(s, ids, sizeof ids), suite_upload(s, weights, sizeof weights), out);
    const double *got = suite_read(s, out, COLS * COLS);
    for (int row = 0; row < COLS; row++)
        for (int col = 0; col < COLS; col++)
            suite_compare("decoded weight", s->tolerance, &got[col * COLS + row], (double[]){v->values[row][col] * factor}, 1, 1);
}

/* The rows whose scale lies in [low, high]; zeros in place of the others and of values beyond the largest float. */
static vectors select_scales(const vectors *v, int low, int high)
{
    vectors out = *v;
    int values = 0;
    for (int row = 0; row < COLS; row++) {
        bool wanted = v->scales[row] >= low && v->scales[row] <= high;
        for (int i = 0; i < COLS; i++) {
            bool kept = wanted && fabs(v->values[row][i]) <= (double)FLT_MAX;
            if (!kept) out.codes[row][i / 2] &= i % 2 ? 0x0f : 0xf0;
            if (!wanted) out.scales[row] = 127;
            if (!kept) out.values[row][i] = 0;
            values += out.values[row][i] != 0;
        }
    }
    assert_true(values > COLS); /* something is left to check */
    return out;
}

static void open_diagonal(suite *s, void *backend)
{
    ops_shape shape = suite_shape();
    shape.hidden = shape.intermediate = shape.n_experts = shape.expert_count = COLS;
    shape.top_k = 1;
    suite_open(s, backend, &shape, 0);
}

static void decodes_known_blocks(void **state)
{
    vectors all, usual;
    suite s;
    read_vectors(&all);
    open_diagonal(&s, *state);
    usual = select_scales(&all, 100, s.caps.mxfp4_max_scale < 140 ? s.caps.mxfp4_max_scale : 140);
    check_vectors(&s, &usual, 1, 0.75f);
    suite_close(&s);
}

/* Subnormal weights, made visible by large routing weights, and weights near the largest float, by a small activation. Backends with 16-bit
 * activations may flush these: no real checkpoint has them. */
static void decodes_the_ends_of_the_range(void **state)
{
    vectors all, small, large;
    suite s;
    read_vectors(&all);
    small = select_scales(&all, 0, 1);
    large = select_scales(&all, 254, 254);
    open_diagonal(&s, *state);
    if (s.caps.activation == DTYPE_F32) {
        check_vectors(&s, &small, 1, 0x1p100f);
        check_vectors(&s, &large, -1 + 0x1p-7f, 0.5f);
    }
    suite_close(&s);
}

/* A backend that cannot hold a scale says so when the weights are placed. */
static void refuses_scales_beyond_its_range(void **state)
{
    static const uint8_t codes[2 * COLS * COLS / 2];
    uint8_t scales[2 * COLS];
    suite s;
    open_diagonal(&s, *state);
    memset(scales, 127, sizeof scales);
    scales[5] = (uint8_t)(s.caps.mxfp4_max_scale + 1);
    ops_weight host = mxfp4_view(codes, scales, 1, 2 * COLS, false), placed;
    status_detail detail = {""};
    status result = s.ops->place(s.c, &host, 1, 1, &placed, &detail);
    if (result == STATUS_OK) result = s.ops->place_end(s.c, &detail);
    if (s.caps.mxfp4_max_scale < 254) {
        assert_int_equal(result, STATUS_MODEL);
        assert_non_null(strstr(detail.text, "scale"));
    }
    suite_close(&s);
}

/* The same seed gives the same experts, another one others; neither NaN nor zeros. */
static void dummy_experts_depend_on_the_seed_alone(void **state)
{
    const uint64_t seeds[] = {7, 7, 8};
    double *results[3];
    suite s;
    open_diagonal(&s, *state);
    double *x = suite_values(&s, COLS * COLS, 1);
    void *rows = suite_rows(&s, x, COLS * COLS);
    int32_t ids[COLS];
    float weights[COLS];
    for (int i = 0; i < COLS; i++) ids[i] = i, weights[i] = 1;
    for (int i = 0; i < 3; i++) {
        suite_tensor bias = diagonal_biases(&s, 1), down_bias = suite_absent();
        ops_weight host[2] = {mxfp4_view(NULL, NULL, COLS, 2 * COLS, false), mxfp4_view(NULL, NULL, COLS, COLS, false)}, placed[2];
        status_detail detail;
        SUITE_PLACE(&s, &bias);
        SUITE_PLACE(&s, &down_bias);
        for (int k = 0; k < 2; k++) assert_int_equal(s.ops->place(s.c, &host[k], 1, seeds[i] + (uint64_t)(100 * k), &placed[k], &detail), STATUS_OK);
        assert_int_equal(s.ops->place_end(s.c, &detail), STATUS_OK);
        ops_layer layer = {.gate_up = placed[0], .gate_up_bias = bias.placed, .down = placed[1], .down_bias = down_bias.placed};
        void *out = suite_device(&s, COLS * COLS * suite_activation_size(&s));
        s.ops->experts(s.c, &layer, COLS, rows, suite_upload(&s, ids, sizeof ids), suite_upload(&s, weights, sizeof weights), out);
        results[i] = suite_read(&s, out, COLS * COLS);
    }
    assert_memory_equal(results[0], results[1], COLS * COLS * sizeof(double));
    int different = 0;
    for (int i = 0; i < COLS * COLS; i++) {
        assert_true(isfinite(results[0][i]));
        different += results[0][i] != results[2][i];
    }
    assert_true(different > COLS * COLS * 9 / 10);
    suite_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_known_blocks),
        cmocka_unit_test(decodes_the_ends_of_the_range),
        cmocka_unit_test(refuses_scales_beyond_its_range),
        cmocka_unit_test(dummy_experts_depend_on_the_seed_alone),
    };
    return suite_main("mxfp4", tests, sizeof tests / sizeof *tests);
}
