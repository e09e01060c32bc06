/* Addresses: where a token may go, and where one may be sent. */
#include <string.h>

#include "runtime/fetch/url.h"
#include "tests/unit/cmocka_headers.h"

static void origins(void **state)
{
    (void)state;
    static const char hub[] = "https://huggingface.co";
    assert_true(url_same_origin("https://huggingface.co/a?b#c", hub));
    assert_true(url_same_origin("https://HuggingFace.co:443/a", hub));
    static const char *const others[] = {"http://huggingface.co/a",        "https://huggingface.co:8443/a", "https://cdn.huggingface.co/a",
                                         "https://huggingface.co.evil.com", "https://evil.com/huggingface.co", "https://huggingface.co@evil.com/",
                                         "huggingface.co",                  "",                               "file:///huggingface.co"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (url_same_origin(others[i], hub)) fail_msg("%s", others[i]);
    assert_false(url_same_origin("nonsense", "nonsense"));
}

static void redirects(void **state)
{
    (void)state;
    assert_true(url_may_follow("https://a/", "https://b/"));
    assert_true(url_may_follow("http://a/", "https://b/"));
    assert_true(url_may_follow("http://a/", "http://b/"));
    assert_false(url_may_follow("https://a/", "http://a/"));
    static const char *const never[] = {"file:///etc/passwd", "ftp://a/", "gopher://a/", "/relative", ""};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) assert_false(url_may_follow("http://a/", never[i]));
}

static void shown_without_secrets(void **state)
{
    (void)state;
    char shown[URL_SHOWN], path[400] = "https://a/";
    assert_string_equal(url_show("https://user:pass@cdn.example/x/y?Signature=secret#z", shown), "https://cdn.example/x/y");
    assert_string_equal(url_show("::", shown), "an unreadable address");
    memset(path + 10, 'b', 389);
    assert_int_equal(strlen(url_show(path, shown)), URL_SHOWN - 1);
}

static void escaped(void **state)
{
    (void)state;
    buffer out = {0};
    assert_true(url_append_escaped(&out, "a/b c+\xe4%~", "/"));
    assert_string_equal(out.data, "a/b%20c%2B%E4%25~");
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(origins), cmocka_unit_test(redirects), cmocka_unit_test(shown_without_secrets),
                                       cmocka_unit_test(escaped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
