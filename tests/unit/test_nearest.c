#include "runtime/base/nearest.h"
#include "tests/unit/cmocka_headers.h"

static void test_distances(void **state)
{
    (void)state;
    assert_int_equal(nearest_distance("", ""), 0);
    assert_int_equal(nearest_distance("", "abc"), 3);
    assert_int_equal(nearest_distance("abc", ""), 3);
    assert_int_equal(nearest_distance("port", "port"), 0);
    assert_int_equal(nearest_distance("prot", "port"), 1);
    assert_int_equal(nearest_distance("por", "port"), 1);
    assert_int_equal(nearest_distance("ports", "port"), 1);
    assert_int_equal(nearest_distance("kitten", "sitting"), 3);
    assert_int_equal(nearest_distance("abcd", "wxyz"), 4);
}

static void test_long_words_are_cut_not_overrun(void **state)
{
    (void)state;
    char a[200], b[200];
    for (int i = 0; i < 199; i++) a[i] = 'a', b[i] = i < 63 ? 'a' : 'b';
    a[199] = b[199] = '\0';
    assert_int_equal(nearest_distance(a, b), 0);
    assert_int_equal(nearest_distance(a, ""), 63);
}

static void test_plausible(void **state)
{
    (void)state;
    assert_true(nearest_plausible("prt", 2));
    assert_false(nearest_plausible("prt", 3));
    assert_true(nearest_plausible("max_sequence", 4));
    assert_false(nearest_plausible("max_sequence", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distances),
        cmocka_unit_test(test_long_words_are_cut_not_overrun),
        cmocka_unit_test(test_plausible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
