/* Which files a checkpoint needs. */
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/hub_select.h"
#include "tests/unit/cmocka_headers.h"

/* What openai/gpt-oss-20b holds: wanted by nobody (-), the root's layout (r), the original one (o), both (b). */
static const struct {
    char by;
    const char *path;
} files[] = {
    {'-', ".gitattributes"},
    {'-', "LICENSE"},
    {'-', "README.md"},
    {'-', "USAGE_POLICY"},
    {'b', "chat_template.jinja"},
    {'r', "config.json"},
    {'b', "generation_config.json"},
    {'-', "metal/model.bin"},
    {'-', "metal/config.json"},
    {'-', "metal/x.safetensors"},
    {'r', "model-00000-of-00002.safetensors"},
    {'r', "model.safetensors.index.json"},
    {'o', "original/config.json"},
    {'o', "original/dtypes.json"},
    {'o', "original/model.safetensors"},
    {'-', "original/deeper/x.safetensors"},
    {'b', "special_tokens_map.json"},
    {'b', "tokenizer.json"},
    {'b', "tokenizer_config.json"},
};
enum { N_FILES = sizeof files / sizeof *files };

static void wants(void **state)
{
    (void)state;
    for (int i = 0; i < N_FILES; i++) {
        if (hub_select_wants(files[i].path, false) != (files[i].by == 'r' || files[i].by == 'b')) fail_msg("%s, root", files[i].path);
        if (hub_select_wants(files[i].path, true) != (files[i].by == 'o' || files[i].by == 'b')) fail_msg("%s, original", files[i].path);
    }
}

static status select_without(const char *without, bool original, status_detail *detail)
{
    hub_listing listing = {.files = calloc(N_FILES, sizeof *listing.files), .capacity = N_FILES};
    assert_non_null(listing.files);
    for (int i = 0; i < N_FILES; i++)
        if (strcmp(files[i].path, without) != 0) listing.files[listing.count++].path = strdup(files[i].path);
    status result = hub_select(&listing, original, detail);
    for (size_t i = 0; i < listing.count; i++) assert_true(hub_select_wants(listing.files[i].path, original));
    hub_listing_free(&listing);
    return result;
}

static void whole_models_only(void **state)
{
    (void)state;
    status_detail detail;
    assert_int_equal(select_without("", false, &detail), STATUS_OK);
    assert_int_equal(select_without("", true, &detail), STATUS_OK);
    assert_int_equal(select_without("config.json", true, &detail), STATUS_OK);
    assert_int_equal(select_without("config.json", false, &detail), STATUS_MODEL);
    assert_non_null(strstr(detail.text, "holds no config.json"));
    assert_int_equal(select_without("original/model.safetensors", true, &detail), STATUS_MODEL);
    assert_non_null(strstr(detail.text, "holds no original/*.safetensors"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wants), cmocka_unit_test(whole_models_only)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
