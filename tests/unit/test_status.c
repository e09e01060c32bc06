#include <string.h>

#include "runtime/base/status.h"
#include "tests/unit/cmocka_headers.h"

static void test_fail_writes_the_line(void **state)
{
    (void)state;
    status_detail detail;
    assert_int_equal(status_fail(&detail, STATUS_MODEL, "%s has %d", "x", 3), STATUS_MODEL);
    assert_string_equal(detail.text, "x has 3");
    assert_int_equal(status_fail(NULL, STATUS_PEER, "nobody listens"), STATUS_PEER);
}

static void test_prefix_stands_in_front(void **state)
{
    (void)state;
    status_detail detail;
    status_fail(&detail, STATUS_USAGE, "found %d", 9);
    assert_int_equal(status_prefix(&detail, STATUS_USAGE, "%s:%d", "file", 2), STATUS_USAGE);
    assert_string_equal(detail.text, "file:2: found 9");
    assert_int_equal(status_prefix(NULL, STATUS_USAGE, "x"), STATUS_USAGE);
}

static void test_long_lines_are_cut_and_terminated(void **state)
{
    (void)state;
    status_detail detail;
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    status_fail(&detail, STATUS_USAGE, "%s", text);
    assert_int_equal(strlen(detail.text), sizeof detail.text - 1);
    for (size_t front = 0; front < sizeof text; front += 7) { /* every way in which the two can share the room */
        memset(detail.text, 'b', sizeof detail.text - 1);
        status_prefix(&detail, STATUS_USAGE, "%.*s", (int)front, text);
        assert_int_equal(strlen(detail.text), sizeof detail.text - 1);
        if (front && front + 3 < sizeof detail.text) assert_memory_equal(detail.text + front, ": b", 3);
    }
}

static status twice(status first, int *calls)
{
    STATUS_TRY(((*calls)++, first));
    (*calls)++;
    return STATUS_OK;
}

static void test_try_leaves_early(void **state)
{
    (void)state;
    int calls = 0;
    assert_int_equal(twice(STATUS_BUSY, &calls), STATUS_BUSY);
    assert_int_equal(calls, 1);
    assert_int_equal(twice(STATUS_OK, &calls), STATUS_OK);
    assert_int_equal(calls, 3);
}

static void test_exit_codes(void **state)
{
    (void)state;
    static const int codes[] = {0, 2, 3, 4, 5, 1, 1, 1};
    for (int i = STATUS_OK; i <= STATUS_INTERNAL; i++) assert_int_equal(status_exit_code((status)i), codes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail_writes_the_line),
        cmocka_unit_test(test_prefix_stands_in_front),
        cmocka_unit_test(test_long_lines_are_cut_and_terminated),
        cmocka_unit_test(test_try_leaves_early),
        cmocka_unit_test(test_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
