#include "runtime/model/checkpoint.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/model/checkpoint_files.h"
#include "runtime/model/checkpoint_names.h"
#include "runtime/model/distribution.h"
#include "runtime/model/model_file.h"

/* Where the bytes of each role begin; NULL in a dummy checkpoint. In OpenAI's layout Q, K and V point into QKV. */
typedef struct checkpoint_data {
    const uint8_t *of[CHECKPOINT_ROLES];
} checkpoint_data;

struct checkpoint {
    model_config config;
    checkpoint_files files;
    checkpoint_data *layers; /* [config.layers]; the roles that are there once stand in the first */
};

/* ---- views ------------------------------------------------------------------------------------------------------ */

static ops_weight bf16_view(const checkpoint_data *from, checkpoint_role role, int64_t batches, int64_t rows, int64_t cols)
{
    distribution random = distribution_of(role, cols);
    return (ops_weight){
        .format = OPS_BF16,
        .data = from->of[role],
        .mean = random.mean,
        .deviation = random.deviation,
        .batches = batches,
        .rows = rows,
        .cols = cols,
        .row_stride = 2 * cols,
        .batch_stride = 2 * cols * rows,
    };
}

static ops_weight mxfp4_view(const checkpoint_data *from, checkpoint_role blocks, checkpoint_role scales, int64_t batches, int64_t rows,
                             int64_t cols)
{
    return (ops_weight){
        .format = OPS_MXFP4,
        .data = from->of[blocks],
        .scales = from->of[scales],
        .batches = batches,
        .rows = rows,
        .cols = cols,
        .row_stride = cols / 2,
        .batch_stride = cols / 2 * rows,
        .scale_row_stride = cols / 32,
        .scale_batch_stride = cols / 32 * rows,
    };
}

void checkpoint_get_layer(const checkpoint *c, int layer, checkpoint_layer *out)
{
    const model_config *m = &c->config;
    const checkpoint_data *from = &c->layers[layer];
    int64_t q_rows = (int64_t)m->q_heads * m->head_dim, kv_rows = (int64_t)m->kv_heads * m->head_dim;
    int64_t gate_up_rows = 2 * (int64_t)m->intermediate;
    *out = (checkpoint_layer){
        .attn_norm = bf16_view(from, CHECKPOINT_ATTN_NORM, 1, 1, m->hidden),
        .q = bf16_view(from, CHECKPOINT_Q, 1, q_rows, m->hidden),
        .k = bf16_view(from, CHECKPOINT_K, 1, kv_rows, m->hidden),
        .v = bf16_view(from, CHECKPOINT_V, 1, kv_rows, m->hidden),
        .q_bias = bf16_view(from, CHECKPOINT_Q_BIAS, 1, 1, q_rows),
        .k_bias = bf16_view(from, CHECKPOINT_K_BIAS, 1, 1, kv_rows),
        .v_bias = bf16_view(from, CHECKPOINT_V_BIAS, 1, 1, kv_rows),
        .sinks = bf16_view(from, CHECKPOINT_SINKS, 1, 1, m->q_heads),
        .o = bf16_view(from, CHECKPOINT_O, 1, m->hidden, q_rows),
        .o_bias = bf16_view(from, CHECKPOINT_O_BIAS, 1, 1, m->hidden),
        .mlp_norm = bf16_view(from, CHECKPOINT_MLP_NORM, 1, 1, m->hidden),
        .router = bf16_view(from, CHECKPOINT_ROUTER, 1, m->experts, m->hidden),
        .router_bias = bf16_view(from, CHECKPOINT_ROUTER_BIAS, 1, 1, m->experts),
        .gate_up = mxfp4_view(from, CHECKPOINT_GATE_UP_BLOCKS, CHECKPOINT_GATE_UP_SCALES, m->experts, gate_up_rows,
                              m->hidden),
        .gate_up_bias = bf16_view(from, CHECKPOINT_GATE_UP_BIAS, m->experts, 1, gate_up_rows),
        .down =
            mxfp4_view(from, CHECKPOINT_DOWN_BLOCKS, CHECKPOINT_DOWN_SCALES, m->experts, m->hidden, m->intermediate),
        .down_bias = bf16_view(from, CHECKPOINT_DOWN_BIAS, m->experts, 1, m->hidden),
    };
}

ops_weight checkpoint_embedding(const checkpoint *c)
{
    return bf16_view(&c->layers[0], CHECKPOINT_EMBEDDING, 1, c->config.vocab, c->config.hidden);
}

ops_weight checkpoint_final_norm(const checkpoint *c)
{
    return bf16_view(&c->layers[0], CHECKPOINT_FINAL_NORM, 1, 1, c->config.hidden);
}

ops_weight checkpoint_head(const checkpoint *c)
{
    return bf16_view(&c->layers[0], CHECKPOINT_HEAD, 1, c->config.vocab, c->config.hidden);
}

/* ---- checks ----------------------------------------------------------------------------------------------------- */

static const char *type_text(dtype type) { return type == DTYPE_BF16 ? "BF16" : "U8"; }

/* "[32, 5760, 90]" */
static void shape_text(char *out, size_t size, const int64_t *shape, int n)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < n && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, i ? ", %" PRId64 : "%" PRId64, shape[i]);
    if (used < size) snprintf(out + used, size - used, "]");
}

static status missing(const checkpoint *c, const char *dir, const checkpoint_spec *spec, status_detail *detail)
{
    char unpacked[CHECKPOINT_NAME_SIZE];
    char *tail;
    snprintf(unpacked, sizeof unpacked, "%s", spec->name);
    tail = strstr(unpacked, "_blocks");
    if (tail) *tail = '\0';
    if (tail && checkpoint_files_find(&c->files, unpacked))
        return status_fail(
            detail, STATUS_MODEL,
            "%s: found tensor %s, expected %s: experts must be stored as MXFP4, as in the published checkpoints", dir,
            unpacked, spec->name);
    return status_fail(detail, STATUS_MODEL, "%s: tensor %s is missing: %s; is the download complete?", dir, spec->name,
                       c->files.indexed ? "model.safetensors.index.json does not name it"
                                        : "no *.safetensors file of this folder holds it");
}

static status check_tensor(const char *dir, const checkpoint_tensor *t, const checkpoint_spec *spec,
                           status_detail *detail)
{
    const safetensors_entry *e = t->entry;
    bool right = e->supported && e->type == spec->type && e->n_dims == spec->n_dims &&
                 (int64_t)e->size == spec->bytes &&
                 memcmp(e->shape, spec->shape, (size_t)spec->n_dims * sizeof spec->shape[0]) == 0;
    if (!right) {
        char found[160], expected[96];
        shape_text(found, sizeof found, e->shape, e->n_dims);
        shape_text(expected, sizeof expected, spec->shape, spec->n_dims);
        return status_fail(detail, STATUS_MODEL, "%s/%s: tensor %s: found %s %s, expected %s %s, as config.json says",
                           dir, t->shard->name, spec->name, e->type_name, found, type_text(spec->type), expected);
    }
    if ((uintptr_t)e->data % dtype_size(spec->type) != 0)
        return status_fail(
            detail, STATUS_MODEL,
            "%s/%s: tensor %s: its data begins at an odd byte; save the file again with the safetensors library", dir,
            t->shard->name, spec->name);
    return STATUS_OK;
}

/* MXFP4 exponents of 255 stand for NaN (OCP Microscaling Formats 1.0, 5.4.1): one would spread over every logit. */
static status check_scale_bytes(const char *dir, const checkpoint_tensor *t, status_detail *detail)
{
    const uint8_t *data = t->entry->data, *bad;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)data & ~(page - 1);
    madvise((void *)first, (uintptr_t)data + t->entry->size - first, MADV_WILLNEED);
    bad = memchr(data, 0xff, t->entry->size);
    if (!bad) return STATUS_OK;
    return status_fail(detail, STATUS_MODEL,
                       "%s/%s: tensor %s: found scale byte 255 (NaN) at %td, allowed: 0 to 254; the file is damaged, "
                       "download it again",
                       dir, t->shard->name, t->entry->name, bad - data);
}

static bool is_scales(checkpoint_role role)
{
    return role == CHECKPOINT_GATE_UP_SCALES || role == CHECKPOINT_DOWN_SCALES;
}

/* A layer more than config.json says, or a tensor that this program would leave out of a layer's sum. */
static status check_surplus(const checkpoint *c, const char *dir, status_detail *detail)
{
    for (size_t i = 0; i < c->files.n_tensors; i++) {
        const checkpoint_tensor *t = &c->files.tensors[i];
        if (!t->used && checkpoint_names_in_layer(c->config.original_layout, t->entry->name))
            return status_fail(
                detail, STATUS_MODEL,
                "%s/%s: found tensor %.200s, expected none of that name in a model of %d layers, as config.json says",
                dir, t->shard->name, t->entry->name, c->config.layers);
    }
    return STATUS_OK;
}

/* Finds and checks every tensor. */
static status find_tensors(checkpoint *c, const char *dir, bool check_scales, status_detail *detail)
{
    checkpoint_cursor cursor = {0};
    checkpoint_spec spec;
    while (checkpoint_names_next(&c->config, &cursor, &spec)) {
        checkpoint_tensor *t = checkpoint_files_find(&c->files, spec.name);
        if (!t) return missing(c, dir, &spec, detail);
        STATUS_TRY(check_tensor(dir, t, &spec, detail));
        if (check_scales && is_scales(cursor.role)) STATUS_TRY(check_scale_bytes(dir, t, detail));
        t->used = true;
        c->layers[cursor.layer].of[cursor.role] = t->entry->data;
    }
    return check_surplus(c, dir, detail);
}

/* q, k and v lie in that order in the rows of qkv. */
static void split_qkv(checkpoint *c)
{
    const model_config *m = &c->config;
    int64_t q_rows = (int64_t)m->q_heads * m->head_dim, kv_rows = (int64_t)m->kv_heads * m->head_dim;
    for (int i = 0; i < m->layers; i++) {
        const uint8_t **of = c->layers[i].of, *weight = of[CHECKPOINT_QKV], *bias = of[CHECKPOINT_QKV_BIAS];
        of[CHECKPOINT_Q] = weight;
        of[CHECKPOINT_K] = weight + 2 * q_rows * m->hidden;
        of[CHECKPOINT_V] = weight + 2 * (q_rows + kv_rows) * m->hidden;
        of[CHECKPOINT_Q_BIAS] = bias;
        of[CHECKPOINT_K_BIAS] = bias + 2 * q_rows;
        of[CHECKPOINT_V_BIAS] = bias + 2 * (q_rows + kv_rows);
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

status checkpoint_open_dummy(const model_config *config, checkpoint **out, status_detail *detail)
{
    checkpoint *c = calloc(1, sizeof *c);
    if (c) c->layers = calloc((size_t)config->layers, sizeof *c->layers);
    if (!c || !c->layers) {
        free(c);
        return status_fail(detail, STATUS_MACHINE, "out of memory for the table of weights");
    }
    c->config = *config;
    *out = c;
    return STATUS_OK;
}

status checkpoint_open(const char *dir, const model_config *config, bool check_scales, checkpoint **out,
                       status_detail *detail)
{
    char original[PATH_MAX];
    checkpoint *c = NULL;
    if (config->original_layout && !model_file_exists(dir, "config.json")) {
        STATUS_TRY(model_file_path(original, sizeof original, dir, "original", detail));
        dir = original;
    }
    STATUS_TRY(checkpoint_open_dummy(config, &c, detail));
    status result = checkpoint_files_open(dir, &c->files, detail);
    if (result == STATUS_OK) result = find_tensors(c, dir, check_scales, detail);
    if (result != STATUS_OK) {
        checkpoint_close(c);
        return result;
    }
    if (config->original_layout) split_qkv(c);
    *out = c;
    return STATUS_OK;
}

void checkpoint_close(checkpoint *c)
{
    if (!c) return;
    checkpoint_files_close(&c->files);
    free(c->layers);
    free(c);
}
