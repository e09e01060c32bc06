#include "tests/kernels/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one element of a row may be off by, as a multiple of what the row may be off by as a whole: more with BF16 (a tolerance of 1e-2). An element is
 * a sum of terms that were rounded one by one, with a roundoff of 2^-8: among thousands of elements computed exactly but for that, the worst are 1.7 %
 * of the row's root mean square away (experts of 96 columns, biases against products). */
static double element_factor(double tolerance) { return tolerance < 1e-3 ? 1 : 3; }

/* ---- running ------------------------------------------------------------------------------------------------------ */

static bool can_open(const ops *backend, const char *group)
{
    ops_options options = {.backend = backend->name, .threads = 1};
    status_detail detail = {""};
    ops_context *c;
    if (backend->open(&options, &c, &detail) != STATUS_OK) {
        print_message("[  SKIPPED ] %s on %s: %s\n", group, backend->name, detail.text);
        return false;
    }
    backend->close(c);
    return true;
}

static int run_on(const ops *backend, const char *group, const struct CMUnitTest *tests, size_t n)
{
    char name[128];
    struct CMUnitTest *own = calloc(n, sizeof *own);
    snprintf(name, sizeof name, "%s on %s", group, backend->name);
    for (size_t i = 0; i < n; i++) {
        own[i] = tests[i];
        own[i].initial_state = (void *)backend;
    }
    int failures = _cmocka_run_group_tests(name, own, n, NULL, NULL);
    free(own);
    return failures;
}

int suite_main(const char *group, const struct CMUnitTest *tests, size_t n)
{
    int failures = 0, backends = 0;
    char *names = strdup(ops_names()), *rest = names, *name;
    while ((name = strsep(&rest, ", "))) {
        const ops *backend = *name ? ops_find(name) : NULL;
        if (!backend || !can_open(backend, group)) continue;
        failures += run_on(backend, group, tests, n);
        backends++;
    }
    free(names);
    if (backends == 0) print_error("%s: no backend could be opened\n", group);
    return failures || backends == 0;
}

ops_shape suite_shape(void)
{
    return (ops_shape){.hidden = 96, .head_dim = 64, .q_heads = 4, .kv_heads = 2, .n_experts = 5, .top_k = 2, .expert_first = 0, .expert_count = 5,
                       .intermediate = 64, .vocab = 160, .logit_shards = 1, .logit_shard_cols = 160, .logit_first = 0, .logit_count = 160,
                       .sliding_window = 8, .rms_eps = 1e-5f, .swiglu_alpha = 1.702f, .swiglu_limit = 7, .max_positions = 640,
                       .max_tokens = 320, .max_expert_rows = 320, .max_sequences = 6, .max_logit_rows = 32};
}

/* Angles of plain rotary embedding with base 10000, and a concentration of 1.25 in both tables. */
static void make_rope(suite *s)
{
    int half = s->shape.head_dim / 2;
    size_t count = (size_t)s->shape.max_positions * (size_t)half;
    float *cosine = suite_host(s, count * sizeof *cosine), *sine = suite_host(s, count * sizeof *sine);
    for (size_t i = 0; i < count; i++) {
        double angle = (double)(i / (size_t)half) * pow(10000.0, -(double)(i % (size_t)half) / half);
        cosine[i] = (float)(1.25 * cos(angle));
        sine[i] = (float)(1.25 * sin(angle));
    }
    s->shape.rope_cos = cosine;
    s->shape.rope_sin = sine;
}

void suite_open(suite *s, void *backend, const ops_shape *shape, int threads)
{
    *s = (suite){.ops = backend, .shape = *shape, .random = 1};
    ops_options options = {.backend = s->ops->name, .threads = threads ? threads : 2};
    status_detail detail = {""};
    if (s->ops->open(&options, &s->c, &detail) != STATUS_OK) fail_msg("open: %s", detail.text);
    s->ops->caps(s->c, &s->caps);
    s->tolerance = s->caps.activation == DTYPE_F32 ? 1e-5 : 1e-2;
    s->shape.block_tokens = s->caps.block_tokens;
    s->shape.max_blocks_per_sequence = (shape->max_positions + s->caps.block_tokens - 1) / s->caps.block_tokens;
    make_rope(s);
    if (s->ops->configure(s->c, &s->shape, &detail) != STATUS_OK) fail_msg("configure: %s", detail.text);
}

void suite_close(suite *s)
{
    s->ops->close(s->c); /* first: placed weights may point into host memory */
    for (int i = 0; i < s->n_memory; i++) free(s->memory[i]);
    free(s->memory);
}

/* ---- numbers ------------------------------------------------------------------------------------------------------ */

void *suite_host(suite *s, size_t bytes)
{
    void *memory = calloc(1, bytes ? bytes : 1);
    s->memory = realloc(s->memory, (size_t)(s->n_memory + 1) * sizeof *s->memory);
    assert_true(memory && s->memory);
    return s->memory[s->n_memory++] = memory;
}

static uint64_t next_random(suite *s) /* splitmix64 */
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double suite_uniform(suite *s, double low, double high) { return low + (high - low) * (double)(next_random(s) >> 11) * 0x1p-53; }

int suite_integer(suite *s, int end) { return (int)(next_random(s) % (uint64_t)end); }

double *suite_values(suite *s, size_t n, double spread)
{
    double *values = suite_host(s, n * sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = suite_uniform(s, -spread, spread);
    return values;
}

size_t suite_activation_size(const suite *s) { return dtype_size(s->caps.activation); }

void *suite_rows(suite *s, double *values, size_t n)
{
    size_t size = suite_activation_size(s);
    uint8_t *host = suite_host(s, n * size);
    for (size_t i = 0; i < n; i++) {
        float value = (float)values[i];
        uint16_t bits = dtype_f32_to_bf16(value);
        if (size == sizeof bits) value = dtype_bf16_to_f32(bits);
        memcpy(host + i * size, size == sizeof bits ? (const void *)&bits : (const void *)&value, size);
        values[i] = (double)value;
    }
    return suite_upload(s, host, n * size);
}

void *suite_device(suite *s, size_t bytes)
{
    void *host = suite_host(s, bytes);
    memset(host, 0xff, bytes);
    return suite_upload(s, host, bytes);
}

double *suite_read(suite *s, const void *device, size_t n)
{
    size_t size = suite_activation_size(s);
    uint8_t *host = suite_host(s, n * size);
    double *values = suite_host(s, n * sizeof *values);
    suite_download(s, host, device, n * size);
    for (size_t i = 0; i < n; i++) {
        float value;
        uint16_t bits;
        memcpy(size == sizeof bits ? (void *)&bits : (void *)&value, host + i * size, size);
        values[i] = (double)(size == sizeof bits ? dtype_bf16_to_f32(bits) : value);
    }
    return values;
}

void *suite_upload(suite *s, const void *host, size_t bytes)
{
    status_detail detail = {""};
    void *device;
    if (s->ops->allocate(s->c, bytes ? bytes : 1, &device, &detail) != STATUS_OK) fail_msg("allocate: %s", detail.text);
    assert_int_equal((uintptr_t)device % 256, 0);
    if (s->ops->upload(s->c, device, host, bytes, &detail) != STATUS_OK) fail_msg("upload: %s", detail.text);
    return device;
}

void suite_download(suite *s, void *host, const void *device, size_t bytes)
{
    status_detail detail = {""};
    if (s->ops->download(s->c, host, device, bytes, &detail) != STATUS_OK) fail_msg("download: %s", detail.text);
}

void suite_compare(const char *what, double tolerance, const double *got, const double *want, int rows, int cols)
{
    for (int row = 0; row < rows; row++) {
        const double *g = got + (size_t)row * (size_t)cols, *w = want + (size_t)row * (size_t)cols;
        double squares = 0, errors = 0;
        for (int i = 0; i < cols; i++) {
            squares += w[i] * w[i];
            errors += (g[i] - w[i]) * (g[i] - w[i]);
        }
        for (int i = 0; i < cols; i++) {
            double limit = element_factor(tolerance) * tolerance * fmax(fabs(w[i]), sqrt(squares / cols));
            if (!(fabs(g[i] - w[i]) <= limit))
                fail_msg("%s: row %d of %d, column %d of %d: %.9g instead of %.9g (allowed: %.2g)", what, row, rows, i, cols, g[i], w[i], limit);
        }
        if (!(sqrt(errors) <= tolerance * sqrt(squares)))
            fail_msg("%s: row %d of %d: relative error %.2g (allowed: %.2g)", what, row, rows, sqrt(errors / squares), tolerance);
    }
}
