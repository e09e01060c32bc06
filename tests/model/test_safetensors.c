/* The container format: what is read, and everything that is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/buffer.h"
#include "runtime/model/safetensors.h"

/* A file of that header and `n` bytes of data, 1, 2, 3, ... */
static buffer file_of(const char *header, size_t n)
{
    buffer out = {0};
    uint8_t length[8] = {0};
    size_t size = strlen(header);
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)size >> (8 * i));
    assert_true(buffer_append(&out, length, 8) && buffer_append(&out, header, size));
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)(i + 1);
        assert_true(buffer_append(&out, &byte, 1));
    }
    return out;
}

/* Parses exact-size heap copies, so that the address sanitizer sees a read past the end. */
static status parse(const char *bytes, size_t size, uint8_t **copy, safetensors *out, status_detail *detail)
{
    *copy = malloc(size ? size : 1);
    assert_non_null(*copy);
    memcpy(*copy, bytes, size);
    return safetensors_parse(*copy, size, "x.safetensors", out, detail);
}

static void reads_entries(void **state)
{
    (void)state;
    buffer f = file_of("{\"__metadata__\":{\"format\":\"pt\"},"
                       "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
                       "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                       "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[16,20]},"
                       "\"none\":{\"dtype\":\"I32\",\"shape\":[0,7],\"data_offsets\":[20,20]},"
                       "\"half\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[20,22]},"
                       "\"packed\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[22,23]},"
                       "\"future\":{\"dtype\":\"F12_X\",\"shape\":[2],\"data_offsets\":[23,26]}}     ",
                       26);
    uint8_t *copy;
    safetensors s;
    status_detail detail = {""};
    if (parse(f.data, f.size, &copy, &s, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    assert_int_equal(s.count, 7);
    for (size_t i = 1; i < s.count; i++) assert_true(strcmp(s.entries[i - 1].name, s.entries[i].name) < 0);
    const safetensors_entry *b = safetensors_find(&s, "b");
    assert_non_null(b);
    assert_true(b->supported && b->type == DTYPE_BF16 && b->n_dims == 2 && b->shape[0] == 2 && b->shape[1] == 3 &&
                b->size == 12);
    assert_int_equal(b->data[0], 5);
    assert_string_equal(b->type_name, "BF16");
    assert_true(safetensors_find(&s, "a")->type == DTYPE_U8);
    assert_true(safetensors_find(&s, "scalar")->n_dims == 0 && safetensors_find(&s, "scalar")->size == 4);
    assert_true(safetensors_find(&s, "none")->size == 0);
    assert_false(safetensors_find(&s, "half")->supported);
    assert_false(safetensors_find(&s, "packed")->supported);
    assert_false(safetensors_find(&s, "future")->supported);
    assert_null(safetensors_find(&s, "c"));
    assert_null(safetensors_find(&s, "__metadata__"));
    safetensors_free(&s);
    free(copy);
    buffer_free(&f);
}

static void reads_no_tensors(void **state)
{
    (void)state;
    buffer f = file_of("{}", 0);
    uint8_t *copy;
    safetensors s;
    assert_int_equal(parse(f.data, f.size, &copy, &s, NULL), STATUS_OK);
    assert_int_equal(s.count, 0);
    assert_null(safetensors_find(&s, "a"));
    safetensors_free(&s);
    free(copy);
    buffer_free(&f);
}

static void assert_refused(const char *bytes, size_t size, const char *says)
{
    uint8_t *copy;
    status_detail detail = {""};
    safetensors s = {(safetensors_entry *)(uintptr_t)64, 77}; /* must stay as it is */
    status result = parse(bytes, size, &copy, &s, &detail);
    if (result != STATUS_MODEL) fail_msg("accepted, but should say: %s", says);
    if (!strstr(detail.text, says)) fail_msg("\"%s\" does not say: %s", detail.text, says);
    assert_non_null(strstr(detail.text, "x.safetensors"));
    assert_true(s.count == 77 && s.entries == (safetensors_entry *)(uintptr_t)64);
    free(copy);
}

#define A "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}"
#define ONE(dtype, shape, offsets) "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void refuses_lies(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } cases[] = {
        {"", 4, "header"},
        {"[]", 0, "not a JSON object"},
        {"{", 4, "header"},
        {"{\"a\":1}", 0, "dtype"},
        {"{" A "," A "}", 4, "duplicate"},
        {"{" A ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, "tensor b: overlaps"},
        {"{" A ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "overlaps"},
        {"{" A ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[5,9]}}", 9, "tensor b: bytes before it"},
        {"{" A "}", 5, "after the last tensor"},
        {"{" A "}", 3, "incomplete"},
        {ONE("\"U8\"", "[4]", "[1,5]"), 5, "bytes before it"},
        {ONE("\"BF16\"", "[4]", "[0,4]"), 4, "found 4 bytes"},
        {ONE("\"F4\"", "[3]", "[0,1]"), 1, "found 1 bytes"},
        {ONE("\"F16\"", "[4]", "[0,4]"), 4, "found 4 bytes"},
        {ONE("\"U8\"", "[-4]", "[0,4]"), 4, "dimension"},
        {ONE("\"U8\"", "[4.0]", "[0,4]"), 4, "dimension"},
        {ONE("\"U8\"", "[\"4\"]", "[0,4]"), 4, "dimension"},
        {ONE("\"U8\"", "4", "[0,4]"), 4, "shape is not a list"},
        {ONE("\"U8\"", "[1,1,1,1,1,1,1,1,4]", "[0,4]"), 4, "8 dimensions"},
        {ONE("\"U8\"", "[4294967296,4294967296]", "[0,4]"), 4, "overflows"},
        {ONE("\"U8\"", "[4611686018427387904,4]", "[0,0]"), 0, "overflows"},
        {ONE("\"F64\"", "[2305843009213693952]", "[0,0]"), 0, "overflows"},
        {ONE("\"U8\"", "[99999999999999999999]", "[0,4]"), 4, "header"},
        {ONE("\"U8\"", "[4]", "[0]"), 4, "data_offsets"},
        {ONE("\"U8\"", "[4]", "[0,4,8]"), 4, "data_offsets"},
        {ONE("\"U8\"", "[4]", "{}"), 4, "data_offsets"},
        {ONE("\"U8\"", "[4]", "[0,4.0]"), 4, "data_offsets"},
        {ONE("\"U8\"", "[4]", "[4,0]"), 4, "backwards"},
        {ONE("\"U8\"", "[4]", "[-4,0]"), 4, "backwards"},
        {ONE("\"U8\"", "[9223372036854775807]", "[0,9223372036854775807]"), 4, "incomplete"},
        {ONE("\"\"", "[4]", "[0,4]"), 4, "dtype"},
        {ONE("null", "[4]", "[0,4]"), 4, "dtype"},
        {ONE("\"FLOAT_OF_A_LONG_NAME\"", "[4]", "[0,4]"), 4, "dtype"},
        {"{\"w\\u0000x\":{}}", 4, "header"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer f = file_of(cases[i].header, cases[i].data);
        assert_refused(f.data, f.size, cases[i].says);
        buffer_free(&f);
    }
}

static void refuses_every_cut(void **state)
{
    (void)state;
    buffer f = file_of("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12);
    for (size_t size = 0; size < f.size; size++) assert_refused(f.data, size, "x.safetensors");
    buffer_free(&f);
}

static void refuses_lying_lengths(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {64, 1000, 99999999, 100000001, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
    buffer f = file_of("{" A "}", 4);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (int k = 0; k < 8; k++) f.data[k] = (char)(uint8_t)(lengths[i] >> (8 * k));
        assert_refused(f.data, f.size, "claims a header of");
    }
    for (int k = 0; k < 8; k++) f.data[k] = k == 0 ? 3 : 0; /* cuts the header short */
    assert_refused(f.data, f.size, "header, byte");
    buffer_free(&f);
    assert_refused("version https://git-lfs.github.com/spec/v1", 42, "Git LFS");
}

static void refuses_deep_nesting(void **state)
{
    (void)state;
    buffer header = {0};
    for (int i = 0; i < 100000; i++) assert_true(buffer_append_text(&header, i == 0 ? "{\"a\":" : "["));
    buffer f = file_of(header.data, 0);
    assert_refused(f.data, f.size, "header");
    buffer_free(&f);
    buffer_free(&header);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_entries),         cmocka_unit_test(reads_no_tensors),
        cmocka_unit_test(refuses_lies),          cmocka_unit_test(refuses_every_cut),
        cmocka_unit_test(refuses_lying_lengths), cmocka_unit_test(refuses_deep_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
