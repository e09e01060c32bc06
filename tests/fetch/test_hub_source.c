/* Addresses of the hubs. */
#define _GNU_SOURCE /* strsep */
#include <string.h>

#include "runtime/fetch/hub_source.h"
#include "tests/unit/cmocka_headers.h"

static void assert_address(bool good, buffer *out, const char *expected)
{
    assert_true(good);
    assert_string_equal(out->data, expected);
    buffer_free(out);
}

static void huggingface(void **state)
{
    (void)state;
    const hub_source *s = hub_source_find("huggingface");
    const hub_place place = {"https://hf-mirror.com", "openai/gpt-oss-20b", "refs/pr/1"};
    buffer out = {0};
    assert_ptr_equal(s, hub_source_find(NULL));
    assert_address(s->commit_url(s, &place, &out), &out, "https://hf-mirror.com/api/models/openai/gpt-oss-20b/revision/refs%2Fpr%2F1");
    assert_address(s->listing_url(s, &place, &out), &out, "https://hf-mirror.com/api/models/openai/gpt-oss-20b/tree/refs%2Fpr%2F1?recursive=true");
    assert_address(s->file_url(s, &place, "original/a b#c?.json", &out), &out,
                   "https://hf-mirror.com/openai/gpt-oss-20b/resolve/refs%2Fpr%2F1/original/a%20b%23c%3F.json");
}

static void modelscope(void **state)
{
    (void)state;
    const hub_source *s = hub_source_find("modelscope");
    hub_place place = {"https://www.modelscope.cn", "openai/gpt-oss-20b", "master"};
    buffer out = {0};
    assert_address(s->listing_url(s, &place, &out), &out,
                   "https://www.modelscope.cn/api/v1/models/openai-mirror/gpt-oss-20b/repo/files?Revision=master&Recursive=true");
    assert_address(s->file_url(s, &place, "original/config.json", &out), &out,
                   "https://www.modelscope.cn/api/v1/models/openai-mirror/gpt-oss-20b/repo?Revision=master&FilePath=original%2Fconfig.json");
    place.repository = "openai-mirror/gpt-oss-20b";
    assert_address(s->file_url(s, &place, "a", &out), &out,
                   "https://www.modelscope.cn/api/v1/models/openai-mirror/gpt-oss-20b/repo?Revision=master&FilePath=a");
    place.repository = "openainot/x";
    assert_address(s->file_url(s, &place, "a&b", &out), &out, "https://www.modelscope.cn/api/v1/models/openainot/x/repo?Revision=master&FilePath=a%26b");
}

static void names(void **state)
{
    (void)state;
    char all[64];
    assert_null(hub_source_find("elsewhere"));
    strcpy(all, hub_source_names());
    for (char *rest = all, *name; (name = strsep(&rest, "|"));) assert_non_null(hub_source_find(name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(huggingface), cmocka_unit_test(modelscope), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
