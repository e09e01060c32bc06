/* How memory is split between the two pools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/engine/kv_sizing.h"

/* gpt-oss-120b on one rank, BF16: 18 layers of each kind, 2 KiB a token and layer. */
static kv_sizing of_120b(int64_t bytes)
{
    return (kv_sizing){.bytes = bytes, .block_bytes = {18 * 2048 * 16, 18 * 2048 * 16}, .block_tokens = 16, .window = 128,
                       .max_sequences = 256, .max_tokens = 8192, .max_model_len = 131072};
}

static int64_t taken(const kv_sizing *z, const int blocks[OPS_KV_KINDS])
{
    return blocks[OPS_FULL] * z->block_bytes[OPS_FULL] + blocks[OPS_SLIDING] * z->block_bytes[OPS_SLIDING];
}

static void plenty_gives_every_sequence_its_window(void **state)
{
    (void)state;
    kv_sizing z = of_120b((int64_t)60 << 30);
    int blocks[OPS_KV_KINDS];
    kv_sizing_blocks(&z, blocks);
    assert_int_equal(kv_sizing_check(&z, blocks, NULL), STATUS_OK);
    assert_true(taken(&z, blocks) <= z.bytes && taken(&z, blocks) > z.bytes - 2 * z.block_bytes[0]);
    assert_true(blocks[OPS_SLIDING] >= 256 * 9 + 512);
    assert_true(blocks[OPS_FULL] * 16 > 1500000);
}

static void little_is_shared_fairly(void **state)
{
    (void)state;
    kv_sizing z = of_120b((int64_t)512 << 20);
    int blocks[OPS_KV_KINDS];
    kv_sizing_blocks(&z, blocks);
    assert_int_equal(kv_sizing_check(&z, blocks, NULL), STATUS_OK);
    assert_true(taken(&z, blocks) <= z.bytes);
    assert_true(blocks[OPS_FULL] * 16 >= 6144);
}

static void too_little_is_refused_by_name(void **state)
{
    (void)state;
    kv_sizing z = of_120b((int64_t)8 << 20);
    int blocks[OPS_KV_KINDS];
    status_detail detail = {""};
    kv_sizing_blocks(&z, blocks);
    assert_int_equal(kv_sizing_check(&z, blocks, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "engine.kv_cache"));
    z.bytes = -5;
    kv_sizing_blocks(&z, blocks);
    assert_int_equal(kv_sizing_check(&z, blocks, &detail), STATUS_USAGE);
}

static void what_the_error_asks_for_is_enough(void **state)
{
    (void)state;
    for (int64_t bytes = 0; bytes < (int64_t)64 << 20; bytes += 100000) {
        kv_sizing z = of_120b(bytes);
        int blocks[OPS_KV_KINDS];
        kv_sizing_blocks(&z, blocks);
        assert_true(blocks[OPS_FULL] >= 0 && blocks[OPS_SLIDING] >= 0 && taken(&z, blocks) <= bytes);
        if (bytes >= 16 * z.block_bytes[0] + 20 * z.block_bytes[1]) assert_int_equal(kv_sizing_check(&z, blocks, NULL), STATUS_OK);
    }
}

static void no_more_is_taken_than_is_of_use(void **state)
{
    (void)state;
    kv_sizing z = of_120b((int64_t)60 << 30);
    z.max_sequences = 4;
    z.max_model_len = 1000;
    z.max_tokens = 64;
    z.only_useful = true;
    int blocks[OPS_KV_KINDS];
    kv_sizing_blocks(&z, blocks);
    assert_int_equal(blocks[OPS_FULL], 4 * 63);
    assert_in_range(blocks[OPS_SLIDING], 4 * 9 + 4, 80);
}

static void a_model_of_one_kind_of_layer_works(void **state)
{
    (void)state;
    int blocks[OPS_KV_KINDS];
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        kv_sizing z = of_120b((int64_t)1 << 30);
        z.block_bytes[kind] = 0;
        kv_sizing_blocks(&z, blocks);
        assert_int_equal(kv_sizing_check(&z, blocks, NULL), STATUS_OK);
        assert_true(taken(&z, blocks) <= z.bytes);
    }
}

static void the_budget_leaves_room_for_others(void **state)
{
    (void)state;
    assert_true(kv_sizing_budget((int64_t)64 << 30, true, 4) == (int64_t)4 << 30);
    assert_true(kv_sizing_budget((int64_t)64 << 30, false, 4) == (int64_t)60 << 30);
    assert_true(kv_sizing_budget((int64_t)1 << 20, false, 1) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plenty_gives_every_sequence_its_window),
        cmocka_unit_test(little_is_shared_fairly),
        cmocka_unit_test(too_little_is_refused_by_name),
        cmocka_unit_test(what_the_error_asks_for_is_enough),
        cmocka_unit_test(no_more_is_taken_than_is_of_use),
        cmocka_unit_test(a_model_of_one_kind_of_layer_works),
        cmocka_unit_test(the_budget_leaves_room_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
