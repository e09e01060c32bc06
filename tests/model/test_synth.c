/* The writer of random checkpoints: what it writes can be read, is deterministic, sane and announced. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/model/checkpoint.h"
#include "runtime/model/synth.h"
#include "runtime/model/synth_plan.h"
#include "runtime/model/synth_random.h"
#include "scratch.h"

/* What the callbacks were told. */
typedef struct heard {
    int tokenizers, reports;
    int n_ordinary, n_specials;
    int32_t start, stop;
    int64_t last, total;
    bool first_was_zero, backwards;
} heard;

static status hear_tokenizer(void *user, const char *path, int n_ordinary, const synth_special *specials,
                             int n_specials, status_detail *detail)
{
    heard *h = user;
    (void)detail;
    h->tokenizers++;
    h->n_ordinary = n_ordinary;
    h->n_specials = n_specials;
    for (int i = 0; i < n_specials; i++) {
        assert_int_equal(specials[i].id, n_ordinary + i);
        if (strcmp(specials[i].text, "<|start|>") == 0) h->start = specials[i].id;
        if (strcmp(specials[i].text, "<|return|>") == 0) h->stop = specials[i].id;
        for (int k = 0; k < i; k++) assert_string_not_equal(specials[i].text, specials[k].text);
    }
    assert_non_null(strstr(path, "/tokenizer.json"));
    return STATUS_OK;
}

static void hear_progress(void *user, int64_t done, int64_t total)
{
    heard *h = user;
    if (h->reports++ == 0) h->first_was_zero = done == 0;
    if (done < h->last) h->backwards = true;
    h->last = done;
    h->total = total;
}

static void write_tiny(const char *dir, uint64_t seed, heard *h)
{
    status_detail detail = {""};
    synth_options options = {.dir = dir, .like = "tiny", .seed = seed};
    if (h) {
        options.write_tokenizer = hear_tokenizer;
        options.progress = hear_progress;
        options.user = h;
    }
    if (synth_write(&options, &detail) != STATUS_OK) fail_msg("%s", detail.text);
}

static void assert_same_shape(const model_config *a, const model_config *b)
{
    assert_true(a->layers == b->layers && a->hidden == b->hidden && a->intermediate == b->intermediate &&
                a->vocab == b->vocab);
    assert_true(a->q_heads == b->q_heads && a->kv_heads == b->kv_heads && a->head_dim == b->head_dim);
    assert_true(a->experts == b->experts && a->experts_per_token == b->experts_per_token &&
                a->sliding_window == b->sliding_window);
    assert_true(a->rms_eps == b->rms_eps && a->swiglu_alpha == b->swiglu_alpha && a->swiglu_limit == b->swiglu_limit);
    assert_true(a->rope_theta == b->rope_theta && a->rope_factor == b->rope_factor &&
                a->rope_truncate == b->rope_truncate);
    assert_true(a->rope_beta_fast == b->rope_beta_fast && a->rope_beta_slow == b->rope_beta_slow);
    assert_true(a->rope_original_context == b->rope_original_context && a->max_positions == b->max_positions);
    assert_true(a->n_eos == b->n_eos && !a->original_layout && !b->original_layout);
    assert_memory_equal(a->sliding, b->sliding, sizeof a->sliding);
    assert_memory_equal(a->eos, b->eos, sizeof a->eos);
}

static void tiny_is_read_back(void **state)
{
    (void)state;
    char *dir = scratch_make();
    heard h = {0};
    write_tiny(scratch_path(dir, "a/b"), 7, &h);
    assert_int_equal(h.tokenizers, 1);
    assert_int_equal(h.n_ordinary, 4096);
    assert_int_equal(h.n_specials, 21);
    assert_int_equal(h.start, 4096 + 8);
    assert_true(h.first_was_zero && !h.backwards && h.total > 1000000 && h.last == h.total && h.total < 8000000);

    model_config read, shape;
    status_detail detail = {""};
    checkpoint *c;
    if (model_config_read(scratch_path(dir, "a/b"), &read, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    assert_true(synth_shape("tiny", &shape));
    assert_int_equal(read.eos[0], h.stop);
    assert_same_shape(&read, &shape);
    if (checkpoint_open(scratch_path(dir, "a/b"), &read, true, &c, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    checkpoint_close(c);

    json_t *index = NULL;
    buffer text = scratch_read(scratch_path(dir, "a/b"), "model.safetensors.index.json");
    index = json_loadb(text.data, text.size, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(index, "metadata"), "total_size")), h.total);
    json_decref(index);
    buffer_free(&text);
    scratch_remove(dir);
}

static bool same_shards(const char *a, const char *b)
{
    bool same = true;
    for (int i = 1;; i++) {
        char name[64];
        int n = 0;
        for (int total = i; total < 40 && n == 0; total++) { /* however many shards there are */
            snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i, total);
            if (access(scratch_path(a, name), R_OK) == 0) n = total;
        }
        if (n == 0) return assert_true(i > 2), same; /* more than one shard */
        buffer x = scratch_read(a, name), y = scratch_read(b, name);
        assert_int_equal(x.size, y.size);
        same = same && memcmp(x.data, y.data, x.size) == 0;
        buffer_free(&x);
        buffer_free(&y);
    }
}

static void seeds_decide_bytes(void **state)
{
    (void)state;
    char *one = scratch_make(), *again = scratch_make(), *other = scratch_make();
    write_tiny(one, 1, NULL);
    write_tiny(again, 1, NULL);
    write_tiny(other, 2, NULL);
    assert_true(same_shards(one, again));
    assert_false(same_shards(one, other));
    scratch_remove(one);
    scratch_remove(again);
    scratch_remove(other);
}

static void published_plans(void **state)
{
    (void)state;
    static const struct {
        const char *like;
        int64_t bytes;
        int shards;
    } cases[] = {{"20b", 13761264768, 3}, {"120b", 65248815744, 14}};
    for (int i = 0; i < 2; i++) {
        model_config config;
        synth_plan plan;
        int64_t filled[64] = {0};
        assert_true(synth_shape(cases[i].like, &config));
        assert_int_equal(synth_plan_make(&config, 5000000000, &plan, NULL), STATUS_OK);
        assert_true(plan.bytes == cases[i].bytes);
        assert_in_range(plan.n_shards, cases[i].shards, cases[i].shards + 2);
        for (size_t k = 0; k < plan.n_tensors; k++) {
            assert_true(plan.tensors[k].offset == filled[plan.tensors[k].shard]);
            filled[plan.tensors[k].shard] += plan.tensors[k].spec.bytes;
        }
        for (int k = 0; k < plan.n_shards; k++) assert_true(filled[k] > 0 && filled[k] <= 5000000000);
        synth_plan_free(&plan);
    }
    model_config none;
    assert_false(synth_shape("7b", &none));
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static double dequantised(const uint8_t *codes, const uint8_t *scales, int column)
{
    static const double values[16] = {0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6};
    int nibble = column % 2 ? codes[column / 2] >> 4 : codes[column / 2] & 15;
    return ldexp(values[nibble], scales[column / 32] - 127);
}

static void rows_have_unit_length(void **state)
{
    (void)state;
    static const int columns[] = {96, 160, 2880};
    static uint8_t codes[100 * 2880 / 2 + 8], scales[100 * 90 + 8];
    synth_random r = synth_random_seed(3, 4);
    for (int i = 0; i < 3; i++) {
        int k = columns[i];
        double sum = 0, square = 0;
        synth_random_codes(&r, codes, 100 * (size_t)k / 2);
        synth_random_scales(&r, scales, 100 * (size_t)k / 32, synth_random_scale_base(k));
        for (int row = 0; row < 100; row++)
            for (int c = 0; c < k; c++) {
                double v = dequantised(codes + row * k / 2, scales + row * k / 32, c);
                sum += v;
                square += v * v;
            }
        /* A power of two cannot hit 1 more closely than by a factor of sqrt(2). */
        assert_true(sqrt(square / 100) > 0.66 && sqrt(square / 100) < 1.52);
        assert_true(fabs(sum / (100.0 * k)) <
                    5 * sqrt(square / 100) / k / 10); /* mean 0 within 5 deviations of the mean */
    }
}

static void bf16_is_never_zero(void **state)
{
    (void)state;
    enum { N = 1 << 18 };
    static uint16_t values[N];
    synth_random r = synth_random_seed(5, 6);
    double sum = 0, square = 0;
    synth_random_bf16(&r, (uint8_t *)values, sizeof values, 0, 0.25f);
    for (int i = 0; i < N; i++) {
        double v = dtype_bf16_to_f32(values[i]);
        assert_true(v != 0 && fabs(v) < 0.25 * 1.74);
        sum += v;
        square += v * v;
    }
    assert_true(fabs(sum / N) < 5 * 0.25 / 512);
    assert_true(fabs(sqrt(square / N) / 0.25 - 1) < 0.01);
}

static void streams_differ(void **state)
{
    (void)state;
    uint8_t first[8], other[8];
    for (uint64_t stream = 0; stream < 64; stream++) {
        synth_random a = synth_random_seed(1, stream), b = synth_random_seed(1, stream + 1),
                     c = synth_random_seed(2, stream);
        synth_random_codes(&a, first, 8);
        synth_random_codes(&b, other, 8);
        assert_memory_not_equal(first, other, 8);
        synth_random_codes(&c, other, 8);
        assert_memory_not_equal(first, other, 8);
    }
}

/* ---- refusals --------------------------------------------------------------------------------------------------- */

static void refuses_wrong_use(void **state)
{
    (void)state;
    char *dir = scratch_make();
    status_detail detail = {""};
    synth_options options = {.dir = dir, .like = "7b"};
    assert_int_equal(synth_write(&options, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "7b"));

    options.like = "tiny";
    options.vocabulary = scratch_path(dir, "no.tiktoken");
    assert_int_equal(synth_write(&options, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "no.tiktoken"));

    options.vocabulary = NULL;
    scratch_write(dir, "config.json", "{}", 2);
    assert_int_equal(synth_write(&options, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "already holds a model"));

    scratch_write(dir, "file", "x", 1);
    options.dir = scratch_path(dir, "file/under");
    assert_int_equal(synth_write(&options, &detail), STATUS_MACHINE);
    assert_non_null(strstr(detail.text, "file"));
    scratch_remove(dir);
}

/* A limit on file sizes stands for a disk that fills up while shards are written. */
static void removes_what_it_cannot_finish(void **state)
{
    (void)state;
    char *dir = scratch_make();
    status_detail detail = {""};
    struct rlimit before, small;
    synth_options options = {.dir = dir, .like = "tiny", .seed = 1};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 900000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    status result = synth_write(&options, &detail);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(result, STATUS_MACHINE);
    assert_non_null(strstr(detail.text, ".safetensors: cannot be written"));
    assert_int_equal(rmdir(dir), 0); /* empty again */
    free(dir);
}

static status fail_tokenizer(void *user, const char *path, int n_ordinary, const synth_special *specials,
                             int n_specials, status_detail *detail)
{
    (void)user, (void)n_ordinary, (void)specials, (void)n_specials;
    return status_fail(detail, STATUS_INTERNAL, "%s: no", path);
}

static void passes_callback_errors_on(void **state)
{
    (void)state;
    char *dir = scratch_make();
    status_detail detail = {""};
    synth_options options = {.dir = dir, .like = "tiny", .write_tokenizer = fail_tokenizer};
    assert_int_equal(synth_write(&options, &detail), STATUS_INTERNAL);
    assert_non_null(strstr(detail.text, "tokenizer.json: no"));
    assert_int_not_equal(access(scratch_path(dir, "config.json"), F_OK), 0);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_is_read_back),         cmocka_unit_test(seeds_decide_bytes),
        cmocka_unit_test(published_plans),           cmocka_unit_test(rows_have_unit_length),
        cmocka_unit_test(bf16_is_never_zero),        cmocka_unit_test(streams_differ),
        cmocka_unit_test(refuses_wrong_use),         cmocka_unit_test(removes_what_it_cannot_finish),
        cmocka_unit_test(passes_callback_errors_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
