/* Where a model path leads. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/model/checkpoint.h"
#include "scratch.h"

static const char *const variables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};

static void only(const char *variable, const char *value)
{
    for (int i = 0; i < 5; i++) assert_int_equal(unsetenv(variables[i]), 0);
    if (variable) assert_int_equal(setenv(variable, value, 1), 0);
}

/* A cache with openai/gpt-oss-20b in DIR/hub. */
static void make_cache(const char *dir, const char *hub)
{
    static const char *const folders[] = {"", "/models--openai--gpt-oss-20b", "/models--openai--gpt-oss-20b/refs",
                                          "/models--openai--gpt-oss-20b/snapshots",
                                          "/models--openai--gpt-oss-20b/snapshots/0a1b2c"};
    char name[256];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%s%s", hub, folders[i]);
        scratch_folder(dir, name);
    }
    snprintf(name, sizeof name, "%s/models--openai--gpt-oss-20b/refs/main", hub);
    scratch_write(dir, name, "0a1b2c\n", 7);
    snprintf(name, sizeof name, "%s/models--openai--gpt-oss-20b/snapshots/0a1b2c/config.json", hub);
    scratch_write(dir, name, "{}", 2);
}

static void assert_found(const char *path, const char *expected)
{
    char out[PATH_MAX];
    status_detail detail = {""};
    if (checkpoint_locate(path, out, sizeof out, &detail) != STATUS_OK) fail_msg("%s", detail.text);
    assert_string_equal(out, expected);
}

static void assert_not_found(const char *path, const char *says)
{
    char out[PATH_MAX] = "as it was";
    status_detail detail = {""};
    assert_int_equal(checkpoint_locate(path, out, sizeof out, &detail), STATUS_MODEL);
    assert_non_null(strstr(detail.text, path));
    if (!strstr(detail.text, says)) fail_msg("\"%s\" does not say %s", detail.text, says);
    assert_string_equal(out, "as it was");
}

static void directories(void **state)
{
    (void)state;
    char *dir = scratch_make(), small[8];
    only(NULL, NULL);
    assert_not_found(dir, "no config.json");
    scratch_folder(dir, "original");
    scratch_write(dir, "original/config.json", "{}", 2);
    assert_found(dir, dir);
    assert_not_found("/no/such/place", "no such directory");
    assert_int_equal(checkpoint_locate(dir, small, sizeof small, NULL), STATUS_MODEL);
    scratch_remove(dir);
}

static void caches(void **state)
{
    (void)state;
    char *dir = scratch_make(), expected[PATH_MAX];
    static const struct {
        const char *variable, *value, *hub;
    } cases[] = {{"HF_HUB_CACHE", "one", "one"},
                 {"HUGGINGFACE_HUB_CACHE", "two", "two"},
                 {"HF_HOME", "three", "three/hub"},
                 {"XDG_CACHE_HOME", "four", "four/huggingface/hub"},
                 {"HOME", "five", "five/.cache/huggingface/hub"}};
    static const char *const parents[] = {"three", "four",        "four/huggingface",
                                          "five",  "five/.cache", "five/.cache/huggingface"};
    for (int i = 0; i < 6; i++) scratch_folder(dir, parents[i]);
    for (int i = 0; i < 5; i++) {
        make_cache(dir, cases[i].hub);
        only(cases[i].variable, scratch_path(dir, cases[i].value));
        snprintf(expected, sizeof expected, "%s/%s/models--openai--gpt-oss-20b/snapshots/0a1b2c", dir, cases[i].hub);
        assert_found("openai/gpt-oss-20b", expected);
    }
    /* HF_HUB_CACHE wins over HF_HOME; ~ is $HOME */
    only("HF_HOME", scratch_path(dir, "nowhere"));
    setenv("HOME", dir, 1);
    setenv("HF_HUB_CACHE", "~/one", 1);
    snprintf(expected, sizeof expected, "%s/one/models--openai--gpt-oss-20b/snapshots/0a1b2c", dir);
    assert_found("openai/gpt-oss-20b", expected);
    scratch_remove(dir);
}

static void broken_caches(void **state)
{
    (void)state;
    char *dir = scratch_make();
    only(NULL, NULL);
    assert_not_found("openai/gpt-oss-20b", "HF_HOME");
    assert_not_found("openai/gpt-oss-20b", "run: gptoss-tp fetch openai/gpt-oss-20b --to DIR");
    only("HF_HUB_CACHE", dir);
    assert_not_found("openai/gpt-oss-20b", "models--openai--gpt-oss-20b");
    assert_not_found("openai/gpt-oss-20b", "run: gptoss-tp fetch openai/gpt-oss-20b");
    assert_not_found("openai/../x", "no such directory");
    assert_not_found("../x", "no such directory");
    assert_not_found("a/b/c", "no such directory");

    only("HF_HUB_CACHE", scratch_path(dir, "hub"));
    make_cache(dir, "hub");
    assert_int_equal(unlink(scratch_path(dir, "hub/models--openai--gpt-oss-20b/snapshots/0a1b2c/config.json")), 0);
    assert_not_found("openai/gpt-oss-20b", "finish the download");
    scratch_write(dir, "hub/models--openai--gpt-oss-20b/refs/main", "../../../x", 10);
    assert_not_found("openai/gpt-oss-20b", "refs/main");
    assert_int_equal(unlink(scratch_path(dir, "hub/models--openai--gpt-oss-20b/refs/main")), 0);
    assert_not_found("openai/gpt-oss-20b", "refs/main");
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(directories), cmocka_unit_test(caches),
                                       cmocka_unit_test(broken_caches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
