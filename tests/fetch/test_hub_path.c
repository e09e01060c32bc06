/* Names from a hub that become paths. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/hub_cache.h"
#include "runtime/fetch/hub_path.h"
#include "tests/unit/cmocka_headers.h"

static void paths(void **state)
{
    (void)state;
    char longest[256 + 1], deepest[HUB_PATH_MOST + 2];
    static const char *const safe[] = {"a", "config.json", "original/model.safetensors", "..a/b..", "...", ".gitattributes", "a b", "\xe4\xb8\xad"};
    static const char *const unsafe[] = {"", ".", "..", "../a", "a/..", "a/../b", "/a", "a/", "a//b", "./a", "a/.", "a\\b", "a\nb", "\x7f", "\x1b[2J"};
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        if (!hub_path_is_safe(safe[i], strlen(safe[i]))) fail_msg("refused: %s", safe[i]);
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++)
        if (hub_path_is_safe(unsafe[i], strlen(unsafe[i]))) fail_msg("not refused: number %zu", i);
    assert_false(hub_path_is_safe("a\0b", 3));
    memset(longest, 'a', sizeof longest);
    assert_true(hub_path_is_safe(longest, 255));
    assert_false(hub_path_is_safe(longest, 256));
    for (size_t i = 0; i < sizeof deepest; i++) deepest[i] = i % 2 ? '/' : 'a';
    assert_true(hub_path_is_safe(deepest, HUB_PATH_MOST - 1));
    assert_false(hub_path_is_safe(deepest, HUB_PATH_MOST + 1));
}

static void revisions(void **state)
{
    (void)state;
    static const char *const good[] = {"main", "v1.0", "refs/pr/3", "6cee5e81ee83917806bbde320786a8fb61efebee", "a_b-c"};
    static const char *const bad[] = {"", "-x", "../main", "a..b/../c", "/main", "a b", "a?b", "a#b", "main\n", "a%2e"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(hub_path_is_revision(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hub_path_is_revision(bad[i])) fail_msg("not refused: %s", bad[i]);
}

static void hexadecimal(void **state)
{
    (void)state;
    assert_true(hub_path_is_hex("0af9", 4, 4));
    assert_false(hub_path_is_hex("0af9", 4, 5));
    assert_false(hub_path_is_hex("0aF9", 4, 4));
    assert_false(hub_path_is_hex("0/f9", 4, 4));
}

static void token_file(void **state)
{
    (void)state;
    char path[64];
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HF_TOKEN_PATH");
    setenv("HOME", "/h", 1);
    unsetenv("HF_HOME");
    assert_true(hub_cache_token_path(path, sizeof path));
    assert_string_equal(path, "/h/.cache/huggingface/token");
    setenv("HF_HOME", "~/f", 1);
    assert_true(hub_cache_token_path(path, sizeof path));
    assert_string_equal(path, "/h/f/token");
    assert_false(hub_cache_token_path(path, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths), cmocka_unit_test(revisions), cmocka_unit_test(hexadecimal),
                                       cmocka_unit_test(token_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
