#include <stdlib.h>
#include <string.h>

#include "runtime/base/buffer.h"
#include "tests/unit/cmocka_headers.h"

static void test_bytes_add_up(void **state)
{
    (void)state;
    buffer b = {0};
    char expected[5000];
    size_t size = 0;
    unsigned seed = 1;
    while (size + 100 < sizeof expected) { /* pieces of changing length, across every growth */
        char piece[100];
        size_t n = (seed = seed * 1103515245 + 12345) / 65536 % 100;
        for (size_t i = 0; i < n; i++) piece[i] = (char)(seed + i);
        assert_true(buffer_append(&b, piece, n));
        memcpy(expected + size, piece, n);
        size += n;
        assert_int_equal(b.size, size);
        assert_int_equal(b.data[b.size], 0);
    }
    assert_memory_equal(b.data, expected, size);
    buffer_free(&b);
    assert_null(b.data);
}

static void test_text_and_printf(void **state)
{
    (void)state;
    buffer b = {0};
    assert_true(buffer_append_text(&b, "a"));
    assert_true(buffer_printf(&b, "%d-%s", 42, "xyz"));
    assert_string_equal(b.data, "a42-xyz");
    char *memory = b.data;
    buffer_clear(&b);
    assert_int_equal(b.size, 0);
    assert_true(buffer_append_text(&b, "again"));
    assert_ptr_equal(b.data, memory); /* cleared, not given back */
    assert_string_equal(b.data, "again");
    assert_true(buffer_printf(&b, "%0*d", 3000, 7)); /* longer than what is there */
    assert_int_equal(b.size, 3005);
    assert_int_equal(b.data[3004], '7');
    buffer_free(&b);
}

static void test_empty_appends(void **state)
{
    (void)state;
    buffer b = {0};
    assert_true(buffer_append(&b, NULL, 0));
    assert_string_equal(b.data, "");
    buffer_free(&b);
    buffer_clear(&b);
    id_list list = {0};
    assert_true(id_list_append(&list, NULL, 0));
    assert_int_equal(list.count, 0);
    id_list_free(&list);
}

static void test_absurd_growth_is_refused(void **state)
{
    (void)state;
    buffer b = {0};
    assert_true(buffer_append_text(&b, "kept"));
    assert_false(buffer_reserve(&b, SIZE_MAX / 2));
    assert_false(buffer_reserve(&b, SIZE_MAX));
    assert_string_equal(b.data, "kept");
    buffer_free(&b);
    id_list list = {0};
    int32_t id = 3;
    assert_false(id_list_append(&list, &id, SIZE_MAX / 4));
    assert_int_equal(list.count, 0);
}

static void test_ids_add_up(void **state)
{
    (void)state;
    id_list list = {0};
    int32_t run[3] = {-1, 201087, 7};
    for (int i = 0; i < 1000; i++) {
        assert_true(id_list_push(&list, i));
        assert_true(id_list_append(&list, run, 3));
    }
    assert_int_equal(list.count, 4000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(list.ids[4 * i], i);
        assert_memory_equal(list.ids + 4 * i + 1, run, sizeof run);
    }
    id_list_clear(&list);
    assert_int_equal(list.count, 0);
    assert_true(list.capacity >= 4000);
    id_list_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_add_up),
        cmocka_unit_test(test_text_and_printf),
        cmocka_unit_test(test_empty_appends),
        cmocka_unit_test(test_absurd_growth_is_refused),
        cmocka_unit_test(test_ids_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
