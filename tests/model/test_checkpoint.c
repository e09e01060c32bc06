/* Opening a checkpoint: the same bytes from both layouts, and a clear refusal of every damage. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "container.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/synth.h"
#include "runtime/model/synth_plan.h"
#include "scratch.h"

/* A tiny checkpoint, written once for all tests and left alone. */
typedef struct fixture {
    char *dir;
    model_config config;
    container tensors;
} fixture;

static int set_up(void **state)
{
    static fixture f;
    status_detail detail = {""};
    f.dir = scratch_make();
    synth_options options = {.dir = f.dir, .like = "tiny", .seed = 11};
    if (synth_write(&options, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    assert_int_equal(model_config_read(f.dir, &f.config, &detail), STATUS_OK);
    f.tensors = container_load(f.dir);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    container_free(&f->tensors);
    scratch_remove(f->dir);
    return 0;
}

static checkpoint *open_good(const char *dir, const model_config *config)
{
    checkpoint *c = NULL;
    status_detail detail = {""};
    if (checkpoint_open(dir, config, true, &c, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    return c;
}

/* ---- views ------------------------------------------------------------------------------------------------------ */

enum { N_LAYER_VIEWS = sizeof(checkpoint_layer) / sizeof(ops_weight) };

/* A layer's views as a list, in the order of checkpoint_layer. */
static void views_of(const checkpoint *c, int layer, ops_weight out[N_LAYER_VIEWS])
{
    checkpoint_layer l;
    checkpoint_get_layer(c, layer, &l);
    memcpy(out, &l, sizeof l);
}

static int64_t data_bytes(const ops_weight *w)
{
    return w->batches * w->rows * (w->format == OPS_MXFP4 ? w->cols / 2 : 2 * w->cols);
}

static void assert_same_view(const ops_weight *a, const ops_weight *b)
{
    assert_int_equal(a->format, b->format);
    assert_true(a->batches == b->batches && a->rows == b->rows && a->cols == b->cols);
    assert_true(a->row_stride == b->row_stride && a->batch_stride == b->batch_stride);
    assert_true(a->scale_row_stride == b->scale_row_stride && a->scale_batch_stride == b->scale_batch_stride);
    assert_memory_equal(a->data, b->data, (size_t)data_bytes(a));
    assert_int_equal(!a->scales, !b->scales);
    if (a->scales) assert_memory_equal(a->scales, b->scales, (size_t)(a->batches * a->scale_batch_stride));
}

static void assert_same_checkpoint(const checkpoint *a, const checkpoint *b, int layers)
{
    ops_weight x[3] = {checkpoint_embedding(a), checkpoint_final_norm(a), checkpoint_head(a)};
    ops_weight y[3] = {checkpoint_embedding(b), checkpoint_final_norm(b), checkpoint_head(b)};
    for (int i = 0; i < 3; i++) assert_same_view(&x[i], &y[i]);
    for (int layer = 0; layer < layers; layer++) {
        ops_weight p[N_LAYER_VIEWS], q[N_LAYER_VIEWS];
        views_of(a, layer, p);
        views_of(b, layer, q);
        for (int i = 0; i < N_LAYER_VIEWS; i++) assert_same_view(&p[i], &q[i]);
    }
}

static void assert_view(const container *tensors, const char *name, const ops_weight *w, int64_t batches, int64_t rows,
                        int64_t cols)
{
    const container_tensor *t = container_find(tensors, name);
    assert_true(w->batches == batches && w->rows == rows && w->cols == cols);
    assert_true(t->size == data_bytes(w));
    assert_true(w->batch_stride == rows * w->row_stride);
    assert_true(w->row_stride * rows * batches == t->size);
    assert_memory_equal(w->data, t->data, (size_t)t->size);
}

static void views_are_the_files_bytes(void **state)
{
    const fixture *f = *state;
    checkpoint *c = open_good(f->dir, &f->config);
    checkpoint_layer l;
    checkpoint_get_layer(c, 3, &l);
#define LAYER "model.layers.3."
    assert_view(&f->tensors, LAYER "input_layernorm.weight", &l.attn_norm, 1, 1, 96);
    assert_view(&f->tensors, LAYER "self_attn.q_proj.weight", &l.q, 1, 512, 96);
    assert_view(&f->tensors, LAYER "self_attn.k_proj.weight", &l.k, 1, 256, 96);
    assert_view(&f->tensors, LAYER "self_attn.v_proj.weight", &l.v, 1, 256, 96);
    assert_view(&f->tensors, LAYER "self_attn.q_proj.bias", &l.q_bias, 1, 1, 512);
    assert_view(&f->tensors, LAYER "self_attn.k_proj.bias", &l.k_bias, 1, 1, 256);
    assert_view(&f->tensors, LAYER "self_attn.v_proj.bias", &l.v_bias, 1, 1, 256);
    assert_view(&f->tensors, LAYER "self_attn.sinks", &l.sinks, 1, 1, 8);
    assert_view(&f->tensors, LAYER "self_attn.o_proj.weight", &l.o, 1, 96, 512);
    assert_view(&f->tensors, LAYER "self_attn.o_proj.bias", &l.o_bias, 1, 1, 96);
    assert_view(&f->tensors, LAYER "post_attention_layernorm.weight", &l.mlp_norm, 1, 1, 96);
    assert_view(&f->tensors, LAYER "mlp.router.weight", &l.router, 1, 8, 96);
    assert_view(&f->tensors, LAYER "mlp.router.bias", &l.router_bias, 1, 1, 8);
    assert_view(&f->tensors, LAYER "mlp.experts.gate_up_proj_blocks", &l.gate_up, 8, 320, 96);
    assert_view(&f->tensors, LAYER "mlp.experts.gate_up_proj_bias", &l.gate_up_bias, 8, 1, 320);
    assert_view(&f->tensors, LAYER "mlp.experts.down_proj_blocks", &l.down, 8, 96, 160);
    assert_view(&f->tensors, LAYER "mlp.experts.down_proj_bias", &l.down_bias, 8, 1, 96);
    const container_tensor *scales = container_find(&f->tensors, LAYER "mlp.experts.down_proj_scales");
    assert_memory_equal(l.down.scales, scales->data, (size_t)scales->size);
    assert_true(l.down.scale_row_stride == 5 && l.down.scale_batch_stride == 5 * 96);
    assert_true(l.gate_up.scale_row_stride == 3 && l.gate_up.scale_batch_stride == 3 * 320);
    ops_weight embedding = checkpoint_embedding(c), norm = checkpoint_final_norm(c), head = checkpoint_head(c);
    assert_view(&f->tensors, "model.embed_tokens.weight", &embedding, 1, 4117, 96);
    assert_view(&f->tensors, "model.norm.weight", &norm, 1, 1, 96);
    assert_view(&f->tensors, "lm_head.weight", &head, 1, 4117, 96);
    checkpoint_close(c);
}

static void one_file_without_an_index(void **state)
{
    const fixture *f = *state;
    char *dir = scratch_make();
    container_write(&f->tensors, 0, f->tensors.count, dir, "model.safetensors", 0);
    scratch_write(dir, "adapter.safetensors", "not looked at", 13);
    checkpoint *a = open_good(f->dir, &f->config), *b = open_good(dir, &f->config);
    assert_same_checkpoint(a, b, f->config.layers);
    checkpoint_close(a);
    checkpoint_close(b);
    scratch_remove(dir);
}

static json_t *original_config(const model_config *c)
{
    return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:i,s:i,s:i,s:i,s:i,s:f,s:f,s:i,s:i}", "num_hidden_layers",
                     c->layers, "num_experts", c->experts, "experts_per_token", c->experts_per_token, "vocab_size",
                     c->vocab, "hidden_size", c->hidden, "intermediate_size", c->intermediate, "swiglu_limit", 7.0,
                     "head_dim", c->head_dim, "num_attention_heads", c->q_heads, "num_key_value_heads", c->kv_heads,
                     "sliding_window", c->sliding_window, "initial_context_length", c->rope_original_context,
                     "rope_theta", c->rope_theta, "rope_scaling_factor", c->rope_factor, "rope_ntk_alpha", 1,
                     "rope_ntk_beta", 32);
}

/* Once as one file in the folder itself, once as several in original/. */
static void original_layout(void **state)
{
    const fixture *f = *state;
    container original = container_to_original(&f->tensors, &f->config);
    json_t *config = original_config(&f->config);
    assert_int_equal(original.count, 3 + 4 * 15);
    for (int files = 1; files <= 3; files += 2) {
        char *dir = scratch_make();
        model_config read;
        status_detail detail = {""};
        char name[64];
        if (files > 1) scratch_folder(dir, "original");
        const char *inside = files > 1 ? "original/" : "";
        snprintf(name, sizeof name, "%sconfig.json", inside);
        scratch_write_json(dir, name, config);
        for (int i = 0; i < files; i++) {
            snprintf(name, sizeof name, "%smodel--%05d.safetensors", inside, i);
            container_write(&original, original.count * i / files, original.count * (i + 1) / files, dir, name, 0);
        }
        if (model_config_read(dir, &read, &detail) != STATUS_OK) fail_msg("%s", detail.text);
        assert_true(read.original_layout);
        checkpoint *a = open_good(f->dir, &f->config), *b = open_good(dir, &read);
        assert_same_checkpoint(a, b, f->config.layers);
        checkpoint_close(a);
        checkpoint_close(b);
        scratch_remove(dir);
    }
    json_decref(config);
    container_free(&original);
}

static void dummy_has_the_same_shapes(void **state)
{
    const fixture *f = *state;
    checkpoint *c = open_good(f->dir, &f->config), *dummy = NULL;
    assert_int_equal(checkpoint_open_dummy(&f->config, &dummy, NULL), STATUS_OK);
    ops_weight real[N_LAYER_VIEWS], empty[N_LAYER_VIEWS];
    views_of(c, 1, real);
    views_of(dummy, 1, empty);
    for (int i = 0; i < N_LAYER_VIEWS; i++) {
        assert_null(empty[i].data);
        assert_null(empty[i].scales);
        real[i].data = NULL;
        real[i].scales = NULL;
        assert_true(real[i].format == empty[i].format && real[i].batches == empty[i].batches &&
                    real[i].rows == empty[i].rows && real[i].cols == empty[i].cols &&
                    real[i].row_stride == empty[i].row_stride &&
                    real[i].scale_batch_stride == empty[i].scale_batch_stride);
    }
    assert_true(checkpoint_embedding(dummy).rows == 4117 && !checkpoint_embedding(dummy).data);
    checkpoint_close(c);
    checkpoint_close(dummy);
    checkpoint_close(NULL);
}

/* ---- damage ----------------------------------------------------------------------------------------------------- */

static void assert_refused(const char *dir, const model_config *config, bool check_scales, const char *says)
{
    checkpoint *c = (checkpoint *)(uintptr_t)64;
    status_detail detail = {""};
    status result = checkpoint_open(dir, config, check_scales, &c, &detail);
    if (result != STATUS_MODEL) fail_msg("accepted, but should say: %s", says);
    if (!strstr(detail.text, says)) fail_msg("\"%s\" does not say: %s", detail.text, says);
    assert_non_null(strstr(detail.text, dir));
    assert_ptr_equal(c, (checkpoint *)(uintptr_t)64);
}

/* A copy of the tiny checkpoint in one file, changed by `change`, must be refused with `says`. */
static void refuse_changed(const fixture *f, void (*change)(container *), bool check_scales, const char *says)
{
    char *dir = scratch_make();
    container copy = {0};
    for (int i = 0; i < f->tensors.count; i++)
        container_add_copy(&copy, &f->tensors.tensors[i], f->tensors.tensors[i].name);
    change(&copy);
    container_write(&copy, 0, copy.count, dir, "model.safetensors", 0);
    assert_refused(dir, &f->config, check_scales, says);
    container_free(&copy);
    scratch_remove(dir);
}

static void drop_router(container *c) { container_drop(c, "model.layers.2.mlp.router.weight"); }
static void rename_experts(container *c)
{
    strcpy(container_find(c, "model.layers.0.mlp.experts.gate_up_proj_blocks")->name,
           "model.layers.0.mlp.experts.gate_up_proj");
}
static void retype_norm(container *c) { strcpy(container_find(c, "model.norm.weight")->type, "F16"); }
static void transpose_q(container *c)
{
    container_tensor *t = container_find(c, "model.layers.1.self_attn.q_proj.weight");
    t->shape[0] = 96, t->shape[1] = 512;
}
static void flatten_head(container *c)
{
    container_tensor *t = container_find(c, "lm_head.weight");
    t->n_dims = 1, t->shape[0] = 4117 * 96;
}
static void widen_bias(container *c)
{
    container_tensor *t = container_find(c, "model.layers.1.self_attn.k_proj.bias");
    t->data = realloc(t->data, 514);
    assert_non_null(t->data);
    t->data[512] = t->data[513] = 1;
    t->size = 514, t->shape[0] = 257;
}
static void add_layer(container *c)
{
    container_add_copy(c, container_find(c, "model.layers.3.self_attn.sinks"), "model.layers.4.self_attn.sinks");
}
static void add_q_norm(container *c)
{
    container_add_copy(c, container_find(c, "model.layers.3.self_attn.sinks"),
                       "model.layers.3.self_attn.q_norm.weight");
}
static void make_nan(container *c)
{
    container_find(c, "model.layers.3.mlp.experts.down_proj_scales")->data[1234] = 255;
}

static void refuses_damaged_tensors(void **state)
{
    const fixture *f = *state;
    refuse_changed(f, drop_router, false, "tensor model.layers.2.mlp.router.weight is missing");
    refuse_changed(f, rename_experts, false, "stored as MXFP4");
    refuse_changed(f, retype_norm, false,
                   "model.safetensors: tensor model.norm.weight: found F16 [96], expected BF16 [96]");
    refuse_changed(f, transpose_q, false, "q_proj.weight: found BF16 [96, 512], expected BF16 [512, 96]");
    refuse_changed(f, flatten_head, false, "lm_head.weight: found BF16 [395232], expected BF16 [4117, 96]");
    refuse_changed(f, widen_bias, false, "k_proj.bias: found BF16 [257], expected BF16 [256]");
    refuse_changed(f, add_layer, false, "found tensor model.layers.4.self_attn.sinks");
    refuse_changed(f, add_q_norm, false, "found tensor model.layers.3.self_attn.q_norm.weight");
    refuse_changed(f, make_nan, true, "down_proj_scales: found scale byte 255 (NaN) at 1234");
}

static void accepts_what_is_not_ours(void **state)
{
    const fixture *f = *state;
    char *dir = scratch_make();
    container copy = {0};
    for (int i = 0; i < f->tensors.count; i++)
        container_add_copy(&copy, &f->tensors.tensors[i], f->tensors.tensors[i].name);
    make_nan(&copy); /* nobody asks for scales here */
    container_add_copy(&copy, container_find(&copy, "model.norm.weight"), "draft.norm.weight");
    container_write(&copy, 0, copy.count, dir, "model.safetensors", 0);
    checkpoint *c = NULL;
    assert_int_equal(checkpoint_open(dir, &f->config, false, &c, NULL), STATUS_OK);
    checkpoint_close(c);
    container_free(&copy);
    scratch_remove(dir);
}

static void refuses_damaged_files(void **state)
{
    const fixture *f = *state;
    char *dir = scratch_make();
    int n = f->tensors.count;
    assert_refused(dir, &f->config, false, "is the download complete?");

    container_write(&f->tensors, 0, n, dir, "model.safetensors", 1);
    assert_refused(dir, &f->config, false, "begins at an odd byte");

    container_write(&f->tensors, 0, n, dir, "model.safetensors", 0);
    buffer whole = scratch_read(dir, "model.safetensors");
    scratch_write(dir, "model.safetensors", whole.data, whole.size - 1);
    assert_refused(dir, &f->config, false, "the download is incomplete");
    scratch_write(dir, "model.safetensors", whole.data, 0);
    assert_refused(dir, &f->config, false, "is empty");
    buffer_free(&whole);
    assert_int_equal(unlink(scratch_path(dir, "model.safetensors")), 0);

    container_write(&f->tensors, 0, n - 10, dir, "a.safetensors", 0);
    container_write(&f->tensors, n - 11, n, dir, "b.safetensors", 0);
    assert_refused(dir, &f->config, false, "is in a.safetensors and in b.safetensors");
    scratch_remove(dir);
}

/* ---- the index -------------------------------------------------------------------------------------------------- */

static json_t *index_of(const fixture *f, const char *file)
{
    json_t *map = json_object();
    for (int i = 0; i < f->tensors.count; i++) json_object_set_new(map, f->tensors.tensors[i].name, json_string(file));
    return json_pack("{s:o}", "weight_map", map);
}

static void refuse_index(const fixture *f, const char *dir, const char *tensor, json_t *file, const char *says)
{
    json_t *index = index_of(f, "weights.safetensors"), *map = json_object_get(index, "weight_map");
    if (file)
        json_object_set_new(map, tensor, file);
    else
        json_object_del(map, tensor);
    scratch_write_json(dir, "model.safetensors.index.json", index);
    json_decref(index);
    assert_refused(dir, &f->config, false, says);
}

static void index_decides(void **state)
{
    const fixture *f = *state;
    char *dir = scratch_make();
    container_write(&f->tensors, 0, f->tensors.count, dir, "weights.safetensors", 0);
    json_t *index = index_of(f, "weights.safetensors");
    scratch_write_json(dir, "model.safetensors.index.json", index);
    json_decref(index);
    scratch_write(dir, "model.safetensors", "not named, not read", 19);
    checkpoint_close(open_good(dir, &f->config));

    const char *norm = "model.norm.weight";
    static const char *const outside[] = {
        "../weights.safetensors", "/etc/passwd", "a/weights.safetensors", "..", ".", ""};
    for (int i = 0; i < 6; i++)
        refuse_index(f, dir, norm, json_string(outside[i]), "allowed: the name of a file in the same folder");
    refuse_index(f, dir, norm, json_integer(3), "allowed: the name of a file in the same folder");
    refuse_index(f, dir, norm, json_string("other.safetensors"), "other.safetensors: cannot be opened");
    refuse_index(f, dir, norm, NULL, "model.norm.weight is missing: model.safetensors.index.json does not name it");
    refuse_index(f, dir, "model.extra", json_string("weights.safetensors"), "tensor model.extra is missing, though");

    static const char *const malformed[] = {"{", "[]", "{}", "{\"weight_map\": []}"};
    for (int i = 0; i < 4; i++) {
        scratch_write(dir, "model.safetensors.index.json", malformed[i], strlen(malformed[i]));
        assert_refused(dir, &f->config, false, "model.safetensors.index.json");
    }
    scratch_remove(dir);
}

/* ---- size ------------------------------------------------------------------------------------------------------- */

/* 65 GB of holes: opening must read headers alone. Counted in page faults rather than seconds, which depend on the
 * machine. */
static void opens_120b_by_its_headers(void **state)
{
    (void)state;
    char *dir = scratch_make(), name[SYNTH_NAME_SIZE];
    model_config config;
    synth_plan plan;
    struct rusage before, after;
    assert_true(synth_shape("120b", &config));
    assert_int_equal(synth_plan_make(&config, 5000000000, &plan, NULL), STATUS_OK);
    for (int i = 0; i < plan.n_shards; i++) {
        buffer header = {0};
        int64_t data = 0;
        assert_true(synth_plan_header(&plan, i, &header));
        for (size_t k = 0; k < plan.n_tensors; k++)
            if (plan.tensors[k].shard == i) data += plan.tensors[k].spec.bytes;
        synth_plan_shard_name(&plan, i, name);
        scratch_write(dir, name, header.data, header.size);
        assert_int_equal(truncate(scratch_path(dir, name), (off_t)header.size + data), 0);
        buffer_free(&header);
    }
    buffer index = {0};
    assert_true(synth_plan_index(&plan, &index));
    scratch_write(dir, "model.safetensors.index.json", index.data, index.size);

    checkpoint *c = NULL;
    status_detail detail = {""};
    getrusage(RUSAGE_SELF, &before);
    status result = checkpoint_open(dir, &config, false, &c, &detail);
    getrusage(RUSAGE_SELF, &after);
    if (result != STATUS_OK) fail_msg("%s", detail.text);
    assert_in_range(after.ru_minflt - before.ru_minflt, 0, 20000); /* of 16 million pages */
    checkpoint_close(c);
    buffer_free(&index);
    synth_plan_free(&plan);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_are_the_files_bytes), cmocka_unit_test(one_file_without_an_index),
        cmocka_unit_test(original_layout),           cmocka_unit_test(dummy_has_the_same_shapes),
        cmocka_unit_test(refuses_damaged_tensors),   cmocka_unit_test(accepts_what_is_not_ours),
        cmocka_unit_test(refuses_damaged_files),     cmocka_unit_test(index_decides),
        cmocka_unit_test(opens_120b_by_its_headers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
