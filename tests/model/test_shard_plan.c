/* The shard plan: slices are disjoint and complete for every world size, bytes add up, impossible layouts say why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/model/shard_plan.h"

static model_config published(const char *name)
{
    model_config config;
    assert_true(model_config_published(name, &config));
    return config;
}

static shard_plan make(const model_config *c, settings_attention a, settings_experts e, int rank, int world)
{
    shard_plan p;
    status_detail detail;
    assert_int_equal(shard_plan_make(c, (shard_layout){a, e}, rank, world, &p, &detail), STATUS_OK);
    return p;
}

/* What model.safetensors.index.json of the published models says: metadata.total_size. */
static void one_rank_holds_the_published_bytes(void **state)
{
    (void)state;
    model_config small = published("gpt-oss-20b"), large = published("gpt-oss-120b");
    shard_plan p = make(&small, ATTENTION_AUTO, EXPERTS_AUTO, 0, 1);
    assert_int_equal(shard_plan_bytes(&p), 13761264768);
    p = make(&large, ATTENTION_AUTO, EXPERTS_AUTO, 0, 1);
    assert_int_equal(shard_plan_bytes(&p), 65248815744);
}

static void columns_are_cut_in_balanced_blocks(void **state)
{
    (void)state;
    static const int expected[4][8] = {{45, 45}, {23, 23, 22, 22}, {12, 12, 11, 11, 11, 11, 11, 11}};
    model_config c = published("gpt-oss-120b");
    for (int i = 0; i < 3; i++)
        for (int rank = 0; rank < 2 << i; rank++)
            assert_int_equal(make(&c, ATTENTION_TP, EXPERTS_TP, rank, 2 << i).intermediate_count, 32 * expected[i][rank]);
}

static void every_world_size_covers_everything_once(void **state)
{
    (void)state;
    model_config c = published("gpt-oss-20b");
    for (int world = 1; world <= 64; world++) {
        int columns = 0;
        for (int rank = 0; rank < world; rank++) {
            shard_plan p = make(&c, ATTENTION_AUTO, EXPERTS_TP, rank, world);
            assert_int_equal(p.tp * p.dp, world);
            assert_int_equal(p.tp_rank + p.dp_rank * p.tp, rank);
            assert_int_equal(p.q_head_count * p.tp, c.q_heads);
            assert_int_equal(p.q_head_first / (c.q_heads / c.kv_heads), p.kv_head_first);
            assert_int_equal(p.intermediate_first, columns);
            assert_int_equal(p.intermediate_count % 32, 0);
            columns += p.intermediate_count;
            assert_int_equal(p.vocab_first + p.vocab_count, p.tp_rank + 1 == p.tp ? c.vocab : p.vocab_first + p.vocab_shard);
            assert_int_equal(p.adds_attention_bias, p.tp_rank == 0);
            assert_int_equal(p.adds_down_bias, rank == 0);
        }
        assert_int_equal(columns, c.intermediate);
    }
}

static void whole_experts_follow_each_other(void **state)
{
    (void)state;
    model_config c = published("gpt-oss-120b");
    for (int world = 1; world <= 64; world *= 2) {
        for (int rank = 0; rank < world; rank++) {
            shard_plan p = make(&c, ATTENTION_DP, EXPERTS_EP, rank, world);
            assert_int_equal(p.expert_first, rank * (128 / world));
            assert_int_equal(p.expert_count, 128 / world);
            assert_int_equal(p.intermediate_count, c.intermediate);
            assert_true(p.adds_down_bias);
            assert_int_equal(p.tp, 1);
        }
    }
}

static void sixteen_ranks_are_two_groups_of_eight(void **state)
{
    (void)state;
    model_config c = published("gpt-oss-120b");
    shard_plan p = make(&c, ATTENTION_TP, EXPERTS_AUTO, 11, 16);
    assert_int_equal(p.tp, 8);
    assert_int_equal(p.dp, 2);
    assert_int_equal(p.dp_rank, 1);
    assert_int_equal(p.kv_head_first, 3);
    assert_int_equal(p.layout.experts, EXPERTS_EP);
}

static void impossible_layouts_say_why(void **state)
{
    (void)state;
    model_config c = published("gpt-oss-20b");
    shard_plan p;
    status_detail detail;
    assert_int_equal(shard_plan_make(&c, (shard_layout){ATTENTION_TP, EXPERTS_TP}, 0, 3, &p, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "8 key/value heads over 3 ranks"));
    assert_int_equal(shard_plan_make(&c, (shard_layout){ATTENTION_DP, EXPERTS_EP}, 0, 5, &p, &detail), STATUS_USAGE);
    assert_non_null(strstr(detail.text, "32 experts"));
    assert_int_equal(shard_plan_make(&c, (shard_layout){ATTENTION_AUTO, EXPERTS_AUTO}, 4, 4, &p, &detail), STATUS_USAGE);
}

/* 2 KB of keys and values a token and layer in BF16; 18 layers of each kind in the 120b. */
static void kv_bytes_match_the_model(void **state)
{
    (void)state;
    model_config c = published("gpt-oss-120b");
    shard_plan one = make(&c, ATTENTION_TP, EXPERTS_TP, 0, 1), four = make(&c, ATTENTION_TP, EXPERTS_TP, 2, 4);
    assert_int_equal(shard_plan_kv_bytes(&one, &c, false, 2), 18 * 2048);
    assert_int_equal(shard_plan_kv_bytes(&four, &c, true, 2), 18 * 512);
}

static void the_table_has_a_row_per_rank(void **state)
{
    (void)state;
    model_config c = published("gpt-oss-120b");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    status_detail detail;
    assert_int_equal(shard_plan_print(out, &c, (shard_layout){ATTENTION_AUTO, EXPERTS_AUTO}, 64, 80000000000, &detail), STATUS_OK);
    assert_int_equal(shard_plan_print(out, &c, (shard_layout){ATTENTION_TP, EXPERTS_EP}, 3, 0, &detail), STATUS_USAGE);
    fclose(out);
    int lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++) lines++;
    assert_true(lines > 64);
    assert_non_null(strstr(text, "fits: "));
    assert_non_null(strstr(text, "impossible: "));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_holds_the_published_bytes), cmocka_unit_test(columns_are_cut_in_balanced_blocks),
        cmocka_unit_test(every_world_size_covers_everything_once), cmocka_unit_test(whole_experts_follow_each_other),
        cmocka_unit_test(sixteen_ranks_are_two_groups_of_eight), cmocka_unit_test(impossible_layouts_say_why),
        cmocka_unit_test(kv_bytes_match_the_model), cmocka_unit_test(the_table_has_a_row_per_rank)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
