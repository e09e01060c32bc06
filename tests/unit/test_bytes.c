#include "runtime/base/bytes.h"
#include "tests/unit/cmocka_headers.h"

static void test_amounts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {{"0", 0}, {"4096", 4096}, {"20GiB", INT64_C(20) << 30}, {"512MB", 512000000}, {"1.5 GiB", INT64_C(3) << 29}, {"2kib", 2048},
                 {"7B", 7}, {"0.5kB", 500}, {"1TB", INT64_C(1000000000000)}, {"9223372036854775807", INT64_MAX}, {"9007199254740993", 9007199254740993}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t out = -1;
        assert_true(bytes_parse(cases[i].text, &out));
        assert_int_equal(out, cases[i].bytes);
    }
}

static void test_what_is_no_amount(void **state)
{
    (void)state;
    static const char *const cases[] = {"", " ", "GiB", "-1", "+1", "1.", ".5GiB", "1.5", "1.5B", "20G", "1 G", "1GiB ", "1e9", "0x10", "1,5GiB",
                                        "9223372036854775808", "9000000TiB", "99999999999999999999", "1..5GB", "nan", "inf"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t out = 42;
        if (bytes_parse(cases[i], &out)) fail_msg("accepted: %s", cases[i]);
        assert_int_equal(out, 42);
    }
}

static void test_format(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(bytes_format(0, text), "0 B");
    assert_string_equal(bytes_format(1023, text), "1023 B");
    assert_string_equal(bytes_format(1024, text), "1 KiB");
    assert_string_equal(bytes_format(1536, text), "1.5 KiB");
    assert_string_equal(bytes_format(INT64_C(65238) << 20, text), "63.71 GiB");
    assert_string_equal(bytes_format(INT64_C(100) << 30, text), "100 GiB");
    assert_string_equal(bytes_format(INT64_C(1) << 50, text), "1024 TiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_what_is_no_amount),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
