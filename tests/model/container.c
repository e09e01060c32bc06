#include "container.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/model/checkpoint_files.h"
#include "scratch.h"

static container_tensor *append(container *c)
{
    c->tensors = realloc(c->tensors, (size_t)(c->count + 1) * sizeof *c->tensors);
    assert_non_null(c->tensors);
    c->tensors[c->count] = (container_tensor){0};
    return &c->tensors[c->count++];
}

static void set_data(container_tensor *t, const void *data, int64_t size)
{
    t->size = size;
    t->data = malloc((size_t)size);
    assert_non_null(t->data);
    memcpy(t->data, data, (size_t)size);
}

container container_load(const char *dir)
{
    container out = {0};
    checkpoint_files files;
    status_detail detail = {""};
    if (checkpoint_files_open(dir, &files, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    for (size_t i = 0; i < files.n_tensors; i++) {
        const safetensors_entry *e = files.tensors[i].entry;
        container_tensor *t = append(&out);
        snprintf(t->name, sizeof t->name, "%s", e->name);
        snprintf(t->type, sizeof t->type, "%.7s", e->type_name);
        t->n_dims = e->n_dims;
        for (int k = 0; k < e->n_dims; k++) t->shape[k] = e->shape[k];
        set_data(t, e->data, (int64_t)e->size);
    }
    checkpoint_files_close(&files);
    return out;
}

container_tensor *container_find(const container *c, const char *name)
{
    for (int i = 0; i < c->count; i++)
        if (strcmp(c->tensors[i].name, name) == 0) return &c->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* The bytes of a role in Hugging Face's layout, appended to `to`. */
static void take(const container *hf, const model_config *config, checkpoint_role role, int layer, buffer *to)
{
    checkpoint_spec spec;
    assert_true(checkpoint_names_spec(config, role, layer, &spec));
    const container_tensor *t = container_find(hf, spec.name);
    assert_true(buffer_append(to, t->data, (size_t)t->size));
}

container container_to_original(const container *hf, const model_config *config)
{
    container out = {0};
    model_config original = *config;
    checkpoint_cursor cursor = {0};
    checkpoint_spec spec;
    original.original_layout = true;
    while (checkpoint_names_next(&original, &cursor, &spec)) {
        buffer data = {0};
        int step = cursor.role == CHECKPOINT_QKV || cursor.role == CHECKPOINT_QKV_BIAS;
        checkpoint_role first = cursor.role == CHECKPOINT_QKV ? CHECKPOINT_Q : step ? CHECKPOINT_Q_BIAS : cursor.role;
        for (int i = 0; i < (step ? 3 : 1); i++)
            take(hf, config, (checkpoint_role)((int)first + 2 * i), cursor.layer, &data);
        container_tensor *t = append(&out);
        snprintf(t->name, sizeof t->name, "%s", spec.name);
        snprintf(t->type, sizeof t->type, "%s", spec.type == DTYPE_BF16 ? "BF16" : "U8");
        t->n_dims = spec.n_dims;
        memcpy(t->shape, spec.shape, sizeof t->shape);
        set_data(t, data.data, (int64_t)data.size);
        buffer_free(&data);
    }
    return out;
}

void container_drop(container *c, const char *name)
{
    container_tensor *t = container_find(c, name);
    free(t->data);
    *t = c->tensors[--c->count];
}

void container_add_copy(container *c, const container_tensor *from, const char *name)
{
    container_tensor copy = *from; /* `from` may lie in the list that grows */
    container_tensor *t = append(c);
    *t = copy;
    set_data(t, copy.data, copy.size);
    snprintf(t->name, sizeof t->name, "%s", name);
}

void container_free(container *c)
{
    for (int i = 0; i < c->count; i++) free(c->tensors[i].data);
    free(c->tensors);
    *c = (container){0};
}

void container_write(const container *c, int first, int last, const char *dir, const char *name, int pad)
{
    buffer header = {0}, file = {0};
    int64_t at = 0;
    uint8_t length[8];
    assert_true(buffer_append_text(&header, "{"));
    for (int i = first; i < last; i++) {
        const container_tensor *t = &c->tensors[i];
        assert_true(
            buffer_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i > first ? "," : "", t->name, t->type));
        for (int k = 0; k < t->n_dims; k++)
            assert_true(buffer_printf(&header, "%s%" PRId64, k ? "," : "", t->shape[k]));
        assert_true(buffer_printf(&header, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", at, at + t->size));
        at += t->size;
    }
    assert_true(buffer_append_text(&header, "}"));
    while (header.size % 8 != 0) assert_true(buffer_append_text(&header, " "));
    for (int i = 0; i < pad; i++) assert_true(buffer_append_text(&header, " "));
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)header.size >> (8 * i));
    assert_true(buffer_append(&file, length, 8) && buffer_append(&file, header.data, header.size));
    for (int i = first; i < last; i++)
        assert_true(buffer_append(&file, c->tensors[i].data, (size_t)c->tensors[i].size));
    scratch_write(dir, name, file.data, file.size);
    buffer_free(&header);
    buffer_free(&file);
}
