/* A hub's answers. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/hub_listing.h"
#include "tests/unit/cmocka_headers.h"

static buffer answer(const char *name)
{
    char path[PATH_MAX], chunk[4096];
    buffer out = {0};
    size_t n;
    snprintf(path, sizeof path, "%s/data/fetch/%s", getenv("GPTOSS_TESTS_DIR"), name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0) assert_true(buffer_append(&out, chunk, n));
    fclose(file);
    return out;
}

static void assert_file(const hub_file *file, const char *path, int64_t size, hub_digest kind, const char *digest)
{
    assert_string_equal(file->path, path);
    assert_true(file->size == size);
    assert_int_equal(file->kind, kind);
    assert_string_equal(file->digest, digest);
}

static void huggingface(void **state)
{
    (void)state;
    status_detail detail;
    hub_listing listing = {0};
    buffer page = answer("huggingface_tree.json");
    assert_int_equal(hub_listing_add_huggingface(&listing, page.data, page.size, &detail), STATUS_OK);
    assert_int_equal(hub_listing_finish(&listing, &detail), STATUS_OK);
    assert_int_equal(listing.count, 4);
    assert_file(&listing.files[0], "config.json", 1806, HUB_GIT_BLOB, "ae9c1e1bc6cd1c4e1a5b0e4c5d2b1f6a7b8c9d0e");
    assert_file(&listing.files[2], "model-00000-of-00002.safetensors", 4792272488, HUB_SHA256,
                "16d0f997dcfc4462089d536bffe51b4bcea2f872f5c430be09ef8ed392312427");
    /* the same page again: every path twice */
    assert_int_equal(hub_listing_add_huggingface(&listing, page.data, page.size, &detail), STATUS_OK);
    assert_int_equal(hub_listing_finish(&listing, &detail), STATUS_MODEL);
    assert_non_null(strstr(detail.text, "config.json twice"));
    hub_listing_free(&listing);
    buffer_free(&page);
}

static void modelscope(void **state)
{
    (void)state;
    status_detail detail;
    hub_listing listing = {0};
    buffer page = answer("modelscope_files.json");
    assert_int_equal(hub_listing_add_modelscope(&listing, page.data, page.size, &detail), STATUS_OK);
    assert_int_equal(listing.count, 2);
    assert_file(&listing.files[1], "original/model.safetensors", 13761300984, HUB_SHA256,
                "b9d8d8a5e9b5a5a4b1a4e2a8b5d1c3f4a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1");
    static const char missing[] = "{\"Code\":10010205001,\"Data\":{\"Files\":null},\"Message\":\"no\\nrevision\"}";
    assert_int_equal(hub_listing_add_modelscope(&listing, missing, sizeof missing - 1, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "no?revision"));
    assert_int_equal(listing.count, 2);
    hub_listing_free(&listing);
    buffer_free(&page);
}

#define OID "0123456789012345678901234567890123456789"

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *page, *says;
    } cases[] = {
        {"", "no JSON"},
        {"{}", "no list"},
        {"[1]", "no object"},
        {"[{\"type\":\"file\",\"size\":1,\"oid\":\"" OID "\"}]", "without a path"},
        {"[{\"type\":\"file\",\"path\":\"../x\",\"size\":1,\"oid\":\"" OID "\"}]", "leads out of the folder or cannot be printed: ../x"},
        {"[{\"type\":\"file\",\"path\":\"a\\u001bb\",\"size\":1,\"oid\":\"" OID "\"}]", "printed: a?b"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":-1,\"oid\":\"" OID "\"}]", "no size for x"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1.5,\"oid\":\"" OID "\"}]", "no size for x"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":99999999999999999999,\"oid\":\"" OID "\"}]", "no JSON"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"oid\":\"../../../../../../../../../../etc/passwd0\"}]", "no checksum of 40"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"oid\":\"" OID "\",\"lfs\":{\"size\":1,\"oid\":\"" OID "\"}}]", "no checksum of 64"},
        {"[{\"type\":\"file\",\"path\":\"x\",\"path\":\"y\",\"size\":1,\"oid\":\"" OID "\"}]", "no JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hub_listing listing = {0};
        status_detail detail = {""};
        assert_int_equal(hub_listing_add_huggingface(&listing, cases[i].page, strlen(cases[i].page), &detail), STATUS_MODEL);
        if (!strstr(detail.text, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", detail.text, cases[i].says);
        assert_int_equal(listing.count, 0);
        hub_listing_free(&listing);
    }
}

static void a_refused_page_takes_nothing_away(void **state)
{
    (void)state;
    static const char good[] = "[{\"type\":\"file\",\"path\":\"a\",\"size\":1,\"oid\":\"" OID "\"}]";
    static const char half[] = "[{\"type\":\"file\",\"path\":\"b\",\"size\":1,\"oid\":\"" OID "\"},{\"type\":\"file\",\"path\":\"/\"}]";
    hub_listing listing = {0};
    assert_int_equal(hub_listing_add_huggingface(&listing, good, sizeof good - 1, NULL), STATUS_OK);
    assert_int_equal(hub_listing_add_huggingface(&listing, half, sizeof half - 1, NULL), STATUS_MODEL);
    assert_int_equal(listing.count, 1);
    assert_string_equal(listing.files[0].path, "a");
    hub_listing_free(&listing);
}

static void commits(void **state)
{
    (void)state;
    char commit[HUB_DIGEST_SIZE] = "as it was";
    buffer text = answer("revision.json");
    assert_int_equal(hub_listing_commit(text.data, text.size, commit, NULL), STATUS_OK);
    assert_string_equal(commit, "6cee5e81ee83917806bbde320786a8fb61efebee");
    buffer_free(&text);
    static const char *const bad[] = {"[]", "{}", "{\"sha\":1}", "{\"sha\":\"../../x\"}", "{\"sha\":\"6CEE5e81ee83917806bbde320786a8fb61efebee\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hub_listing_commit(bad[i], strlen(bad[i]), commit, NULL), STATUS_MODEL);
    assert_string_equal(commit, "6cee5e81ee83917806bbde320786a8fb61efebee");
}

static void assert_next(const char *value, const char *expected)
{
    buffer next = {0};
    bool found = hub_listing_next(value, strlen(value), &next);
    if (found != (expected != NULL)) fail_msg("%s: %s", value, found ? next.data : "none");
    if (expected) assert_string_equal(next.data, expected);
    buffer_free(&next);
}

static void links(void **state)
{
    (void)state;
    buffer text = answer("link.txt");
    assert_next(text.data, "https://huggingface.co/api/models/a/b/tree/main?recursive=true&cursor=ZXlK");
    buffer_free(&text);
    assert_next(" <https://h/a>; title=x; rel=next", "https://h/a");
    assert_next("<https://h/a,b;c>; REL=\"prev Next\"", "https://h/a,b;c");
    assert_next("<https://h/a>; rel=\"prev\", <https://h/b>; rel=\"last\"", NULL);
    assert_next("<https://h/a>; rel=\"nextish\"", NULL);
    assert_next("<https://h/a b>; rel=next", NULL);
    assert_next("<>; rel=next", NULL);
    assert_next("<https://h/a", NULL);
    assert_next("rel=next", NULL);
    assert_next("", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(huggingface), cmocka_unit_test(modelscope),
                                       cmocka_unit_test(refused),     cmocka_unit_test(a_refused_page_takes_nothing_away),
                                       cmocka_unit_test(commits),     cmocka_unit_test(links)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
