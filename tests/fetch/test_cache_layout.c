/* Where each thing lies. */
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/cache_layout.h"
#include "tests/unit/cmocka_headers.h"

#define COMMIT "6cee5e81ee83917806bbde320786a8fb61efebee"

static hub_file file_of(const char *path) { return (hub_file){.path = (char *)path, .size = 5, .digest = "abc"}; }

static void cache(void **state)
{
    (void)state;
    cache_layout l;
    char path[PATH_MAX];
    hub_file root = file_of("config.json"), deep = file_of("original/a/model.safetensors");
    assert_int_equal(cache_layout_cache(&l, "/hub", "openai/gpt-oss-20b", COMMIT, NULL), STATUS_OK);
    assert_string_equal(l.files, "/hub/models--openai--gpt-oss-20b/snapshots/" COMMIT);
    assert_string_equal(l.lock, "/hub/.locks/models--openai--gpt-oss-20b/gptoss-tp.lock");
    assert_true(cache_layout_final(&l, &root, path));
    assert_string_equal(path, "/hub/models--openai--gpt-oss-20b/blobs/abc");
    assert_true(cache_layout_data(&l, &root, path));
    assert_string_equal(path, "/hub/models--openai--gpt-oss-20b/blobs/abc.gptoss-part");
    assert_true(cache_layout_record(&l, &root, path));
    assert_string_equal(path, "/hub/models--openai--gpt-oss-20b/blobs/abc.gptoss-record");
    assert_true(cache_layout_link(&l, &deep, path));
    assert_string_equal(path, "/hub/models--openai--gpt-oss-20b/snapshots/" COMMIT "/original/a/model.safetensors");
    assert_true(cache_layout_target(&root, path));
    assert_string_equal(path, "../../blobs/abc");
    assert_true(cache_layout_target(&deep, path));
    assert_string_equal(path, "../../../../blobs/abc");
    assert_true(cache_layout_ref(&l, "refs/pr/1", path));
    assert_string_equal(path, "/hub/models--openai--gpt-oss-20b/refs/refs/pr/1");
}

static void plain(void **state)
{
    (void)state;
    cache_layout l;
    char one[PATH_MAX], other[PATH_MAX];
    hub_file root = file_of("model.safetensors"), deep = file_of("original/model.safetensors");
    assert_int_equal(cache_layout_plain(&l, "models/20b", COMMIT, NULL), STATUS_OK);
    assert_true(cache_layout_final(&l, &deep, one));
    assert_string_equal(one, "models/20b/original/model.safetensors");
    /* two files of the same bytes are fetched apart, and inside the work folder */
    assert_true(cache_layout_data(&l, &root, one) && cache_layout_data(&l, &deep, other));
    assert_string_not_equal(one, other);
    assert_memory_equal(one, "models/20b/.gptoss-fetch/abc-", 29);
}

static void too_long(void **state)
{
    (void)state;
    cache_layout l = {.plain = true, .root = "as it was"};
    static char dir[PATH_MAX];
    memset(dir, 'a', sizeof dir - 1);
    assert_int_equal(cache_layout_plain(&l, dir, COMMIT, NULL), STATUS_USAGE);
    assert_int_equal(cache_layout_cache(&l, dir, "a/b", COMMIT, NULL), STATUS_USAGE);
    assert_string_equal(l.root, "as it was");
    hub_file file = file_of("config.json");
    memset(l.files, 'a', sizeof l.files - 4);
    assert_false(cache_layout_link(&l, &file, dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cache), cmocka_unit_test(plain), cmocka_unit_test(too_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
