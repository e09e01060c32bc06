#include "runtime/model/safetensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The format's own limit (huggingface/safetensors `tensor.rs` MAX_HEADER_SIZE). */
enum { MAX_HEADER = 100000000 };

/* Element sizes of the format's dtypes. In bits, for there are some below a byte. */
typedef struct known_type {
    const char *name;
    int bits;
    int supported;
    dtype type;
} known_type;

static const known_type known_types[] = {
    {"F32", 32, 1, DTYPE_F32}, {"BF16", 16, 1, DTYPE_BF16}, {"I32", 32, 1, DTYPE_I32},
    {"U8", 8, 1, DTYPE_U8},    {"BOOL", 8, 0, 0},           {"I8", 8, 0, 0},
    {"F8_E4M3", 8, 0, 0},      {"F8_E5M2", 8, 0, 0},        {"F8_E8M0", 8, 0, 0},
    {"I16", 16, 0, 0},         {"U16", 16, 0, 0},           {"F16", 16, 0, 0},
    {"U32", 32, 0, 0},         {"I64", 64, 0, 0},           {"U64", 64, 0, 0},
    {"F64", 64, 0, 0},         {"C64", 64, 0, 0},           {"F4", 4, 0, 0},
    {"F6_E2M3", 6, 0, 0},      {"F6_E3M2", 6, 0, 0},
};

static const known_type *find_type(const char *name)
{
    for (size_t i = 0; i < sizeof known_types / sizeof known_types[0]; i++)
        if (strcmp(known_types[i].name, name) == 0) return &known_types[i];
    return NULL;
}

/* One file while it is read. */
typedef struct parse {
    const char *name;    /* of the file */
    const uint8_t *body; /* what follows the header */
    size_t body_size;
    status_detail *detail;
} parse;

static status wrong_tensor(const parse *p, const char *tensor, const char *what)
{
    return status_fail(p->detail, STATUS_MODEL, "%s: tensor %.200s: %s; the file is damaged, download it again",
                       p->name, tensor, what);
}

/* The product of the shape, in elements. */
static status read_shape(const parse *p, const char *tensor, const json_t *shape, safetensors_entry *out,
                         int64_t *elements)
{
    int64_t product = 1;
    if (!json_is_array(shape)) return wrong_tensor(p, tensor, "shape is not a list");
    if (json_array_size(shape) > SAFETENSORS_MAX_DIMS) return wrong_tensor(p, tensor, "more than 8 dimensions");
    out->n_dims = (int)json_array_size(shape);
    for (int i = 0; i < out->n_dims; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        out->shape[i] = json_integer_value(dim);
        if (!json_is_integer(dim) || out->shape[i] < 0)
            return wrong_tensor(p, tensor, "a dimension is not a whole number from 0");
        if (__builtin_mul_overflow(product, out->shape[i], &product))
            return wrong_tensor(p, tensor, "the shape overflows 64 bits");
    }
    *elements = product;
    return STATUS_OK;
}

static status read_offsets(const parse *p, const char *tensor, const json_t *offsets, safetensors_entry *out)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return wrong_tensor(p, tensor, "data_offsets is not a pair of whole numbers");
    json_int_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from) return wrong_tensor(p, tensor, "data_offsets run backwards");
    if ((uint64_t)to > p->body_size)
        return status_fail(
            p->detail, STATUS_MODEL,
            "%s: tensor %.200s: ends %lld bytes after the header, but only %zu are there; the download is incomplete",
            p->name, tensor, (long long)to, p->body_size);
    out->data = p->body + from;
    out->size = (size_t)(to - from);
    return STATUS_OK;
}

static status read_entry(const parse *p, const char *tensor, const json_t *value, safetensors_entry *out)
{
    const char *type_name = json_string_value(json_object_get(value, "dtype"));
    int64_t elements = 0, bits = 0;
    if (!type_name || !*type_name || strlen(type_name) >= sizeof out->type_name)
        return wrong_tensor(p, tensor, "dtype is not a short text");
    strcpy(out->type_name, type_name);
    STATUS_TRY(read_shape(p, tensor, json_object_get(value, "shape"), out, &elements));
    STATUS_TRY(read_offsets(p, tensor, json_object_get(value, "data_offsets"), out));

    const known_type *type = find_type(type_name);
    if (type) {
        if (__builtin_mul_overflow(elements, (int64_t)type->bits, &bits))
            return wrong_tensor(p, tensor, "the shape overflows 64 bits");
        if (bits % 8 != 0 || (uint64_t)bits / 8 != out->size)
            return status_fail(p->detail, STATUS_MODEL,
                               "%s: tensor %.200s: found %zu bytes of data, but its shape and dtype %s make %lld",
                               p->name, tensor, out->size, type_name, (long long)(bits / 8));
        out->type = type->type;
        out->supported = type->supported;
    }
    out->name = strdup(tensor);
    return out->name ? STATUS_OK : status_fail(p->detail, STATUS_MACHINE, "%s: out of memory for its header", p->name);
}

static int by_data(const void *a, const void *b)
{
    const safetensors_entry *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const safetensors_entry *)a)->name, ((const safetensors_entry *)b)->name);
}

/* The format asks that tensors tile the data: no overlap, no hole, nothing behind the last one. */
static status check_tiling(const parse *p, safetensors *s)
{
    const uint8_t *at = p->body;
    if (s->count) qsort(s->entries, s->count, sizeof *s->entries, by_data);
    for (size_t i = 0; i < s->count; i++) {
        const safetensors_entry *e = &s->entries[i];
        if (e->data < at) return wrong_tensor(p, e->name, "overlaps another tensor");
        if (e->data > at) return wrong_tensor(p, e->name, "bytes before it belong to no tensor");
        at = e->data + e->size;
    }
    if (at != p->body + p->body_size)
        return status_fail(p->detail, STATUS_MODEL,
                           "%s: found %zu bytes after the last tensor, where the file must end; download it again",
                           p->name, (size_t)(p->body + p->body_size - at));
    return STATUS_OK;
}

/* Files whole entries into s->entries, which has room for all. On failure s->count says how many own a name. */
static status read_entries(const parse *p, json_t *header, safetensors *s)
{
    const char *tensor;
    json_t *value;
    json_object_foreach(header, tensor, value)
    {
        if (strcmp(tensor, "__metadata__") == 0) continue; /* free text of the writer's */
        safetensors_entry entry = {0};
        STATUS_TRY(read_entry(p, tensor, value, &entry));
        s->entries[s->count++] = entry;
    }
    return STATUS_OK;
}

/* The length of the header, checked against the file's. */
static status header_size(const uint8_t *data, size_t size, const char *name, size_t *out, status_detail *detail)
{
    uint64_t length = 0;
    if (size < 8)
        return status_fail(detail, STATUS_MODEL, "%s: %zu bytes are too few for a safetensors file; download it again",
                           name, size);
    for (int i = 7; i >= 0; i--) length = length << 8 | data[i];
    if (length > MAX_HEADER)
        return status_fail(
            detail, STATUS_MODEL,
            "%s: claims a header of %llu bytes, allowed: %d; this is not a safetensors file (a Git LFS pointer?)", name,
            (unsigned long long)length, MAX_HEADER);
    if (length > size - 8)
        return status_fail(detail, STATUS_MODEL,
                           "%s: claims a header of %llu bytes, but only %zu follow; the download is incomplete", name,
                           (unsigned long long)length, size - 8);
    *out = (size_t)length;
    return STATUS_OK;
}

status safetensors_parse(const uint8_t *data, size_t size, const char *name, safetensors *out, status_detail *detail)
{
    size_t length = 0;
    status result;
    safetensors s = {0};
    json_error_t error;
    STATUS_TRY(header_size(data, size, name, &length, detail));

    parse p = {name, data + 8 + length, size - 8 - length, detail};
    json_t *header = json_loadb((const char *)data + 8, length, JSON_REJECT_DUPLICATES, &error);
    if (!header) {
        result = status_fail(detail, STATUS_MODEL, "%s: header, byte %d: %s; the file is damaged, download it again",
                             name, error.position, error.text);
        goto done;
    }
    if (!json_is_object(header)) {
        result = status_fail(detail, STATUS_MODEL,
                             "%s: the header is not a JSON object; the file is damaged, download it again", name);
        goto done;
    }
    s.entries = calloc(json_object_size(header) + 1, sizeof *s.entries);
    if (!s.entries) {
        result = status_fail(detail, STATUS_MACHINE, "%s: out of memory for its header", name);
        goto done;
    }
    result = read_entries(&p, header, &s);
    if (result == STATUS_OK) result = check_tiling(&p, &s);
    if (result != STATUS_OK) goto done;
    qsort(s.entries, s.count, sizeof *s.entries, by_name);
    *out = s;
    s = (safetensors){0};
done:
    safetensors_free(&s);
    json_decref(header);
    return result;
}

void safetensors_free(safetensors *s)
{
    for (size_t i = 0; i < s->count; i++) free(s->entries[i].name);
    free(s->entries);
    *s = (safetensors){0};
}

const safetensors_entry *safetensors_find(const safetensors *s, const char *name)
{
    safetensors_entry key = {.name = (char *)(uintptr_t)name};
    return s->count ? bsearch(&key, s->entries, s->count, sizeof *s->entries, by_name) : NULL;
}
