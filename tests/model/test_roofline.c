/* What a step must read and compute, against figures worked out by hand from the published shapes:
 *
 *   a layer's attention   (5120 + 4096) * 2880 weights, 5120 + 2880 biases, 64 sinks, in BF16     53,100,288 bytes
 *   its router and norms  (E * 2881 + 2 * 2880) * 2                                                  749,056 bytes for E = 128
 *   one expert            24,883,200 weights of 4.25 bits, 8640 biases in BF16                     13,236,480 bytes
 *   the head              201088 * 2880 * 2                                                    1,158,266,880 bytes
 *   a key and its value   2 * 8 * 64 * 2                                                               2,048 bytes a token and layer
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runtime/model/roofline.h"

static const double attention = 53100288, expert = 13236480, head = 1158266880, token = 2048, norm = 5760;
static const double router_128 = 749056, router_32 = 195904;
static const roofline_limits unknown = {0, 0}, h200 = {4.55e12, 790e12};
static status_detail detail;

static model_config published(const char *name)
{
    model_config config;
    assert_true(model_config_published(name, &config));
    return config;
}

static roofline_work slowest(const char *name, shard_layout layout, int world, roofline_step step, roofline_limits limits)
{
    model_config c = published(name);
    roofline_work work;
    assert_int_equal(roofline_slowest(&c, layout, world, &step, 2, &limits, &work, &detail), STATUS_OK);
    return work;
}

static roofline_work alone(const char *name, roofline_step step)
{
    return slowest(name, (shard_layout){ATTENTION_AUTO, EXPERTS_AUTO}, 1, step, unknown);
}

static void assert_near(double found, double expected, double share)
{
    if (fabs(found - expected) > share * expected) fail_msg("found %.6g, expected %.6g", found, expected);
}

static roofline_step decode(int batch, int context) { return (roofline_step){.sequences = batch, .run = 1, .context = context, .logits = 1}; }

static void one_sequence_reads_its_experts(void **state)
{
    (void)state;
    roofline_work w = alone("gpt-oss-120b", decode(1, 1));
    assert_near(w.experts_touched, 4, 1e-12);
    assert_near(w.bytes_dense, 36 * (attention + router_128) + norm, 1e-12);
    assert_near(w.bytes_experts, 36 * 4 * expert, 1e-12);
    assert_near(w.bytes_head, head, 1e-12);
    assert_near(w.bytes_full, 18 * token, 1e-12);
    assert_near(w.bytes_sliding, 18 * token, 1e-12);
    assert_near(roofline_bytes(&w), 5.00e9, 0.001);
    w = alone("gpt-oss-20b", decode(1, 1));
    assert_near(w.bytes_dense, 24 * (attention + router_32) + norm, 1e-12);
    assert_near(roofline_bytes(&w), 3.708e9, 0.0005);
}

/* 128 (1 - (124/128)^batch) experts; contexts in full layers, windows of 128 in the others. */
static void batches_touch_more_experts(void **state)
{
    (void)state;
    static const struct {
        int batch;
        double experts, without_windows;
    } cases[] = {{64, 111.2212, 59.63e9}, {256, 127.9622, 78.23e9}, {1024, 128, 120.71e9}};
    for (int i = 0; i < 3; i++) {
        roofline_work w = alone("gpt-oss-120b", decode(cases[i].batch, 1500));
        assert_near(w.experts_touched, cases[i].experts, 1e-6);
        assert_near(w.bytes_experts, 36 * cases[i].experts * expert, 1e-6);
        assert_near(w.bytes_full, cases[i].batch * 1500.0 * 18 * token, 1e-12);
        assert_near(w.bytes_sliding, cases[i].batch * 128.0 * 18 * token, 1e-12);
        assert_near(roofline_bytes(&w) - w.bytes_sliding, cases[i].without_windows, 1e-4);
    }
}

/* A chunk of n tokens up to context c: full layers see c keys each time less, sliding ones 128 at most. */
static void prefill_counts_operations(void **state)
{
    (void)state;
    double n = 8192, weights = 36 * (26542080 + 128.0 * 2880 + 4 * 24883200.0);
    double keys = 18 * (n * (n + 1) / 2) + 18 * (128 * 129 / 2 + (n - 128) * 128);
    double expected = 2 * n * weights + 4 * 4096 * keys + 2.0 * 2880 * 201088;
    roofline_work whole = alone("gpt-oss-120b", (roofline_step){.sequences = 1, .run = 8192, .context = 8192, .logits = 1});
    assert_near(whole.flops, expected, 1e-12);
    assert_near(whole.flops, 84.78e12, 0.0005);
    assert_near(whole.bytes_sliding, 8192 * 18 * token, 1e-12);
}

static void chunks_compute_what_the_whole_does(void **state)
{
    (void)state;
    roofline_work sum = {0}, whole = alone("gpt-oss-20b", (roofline_step){.sequences = 3, .run = 1000, .context = 1000, .logits = 1});
    for (int end = 100; end <= 1000; end += 100) {
        roofline_work chunk = alone("gpt-oss-20b", (roofline_step){.sequences = 3, .run = 100, .context = end, .logits = end == 1000});
        roofline_add(&sum, &chunk);
    }
    assert_near(sum.flops, whole.flops, 1e-12);
    assert_near(sum.bytes_head, whole.bytes_head, 1e-12);
    assert_near(sum.bytes_dense, 10 * whole.bytes_dense, 1e-12);
    /* chunks of 100 at ends 100, 200, ... look back over a window of 128: 100, 200, then 227 keys each time */
    assert_near(sum.bytes_sliding, 3 * (100 + 200 + 8 * 227) * 12 * token, 1e-12);
    assert_near(sum.bytes_full, 3 * 5500.0 * 12 * token, 1e-12);
}

/* `columns` of every expert's 2880, and the bias of its second product, which one rank adds. */
static double expert_part(double columns) { return 3 * columns * 2880 * 17 / 32 + 2 * columns * 2 + 2880 * 2; }

static void tensor_parallel_ranks_share_everything(void **state)
{
    (void)state;
    roofline_work one = alone("gpt-oss-120b", decode(8, 1000));
    roofline_work two = slowest("gpt-oss-120b", (shard_layout){ATTENTION_TP, EXPERTS_TP}, 2, decode(8, 1000), unknown);
    assert_near(two.bytes_full, one.bytes_full / 2, 1e-12);
    assert_near(two.bytes_head, one.bytes_head / 2, 1e-12);
    assert_near(expert_part(2880), expert, 1e-12);
    assert_near(two.bytes_experts, one.bytes_experts * expert_part(1440) / expert, 1e-12);
    /* both route all tokens */
    assert_near(two.flops - 2 * 8 * 36 * 128 * 2880.0, (one.flops - 2 * 8 * 36 * 128 * 2880.0) / 2, 1e-12);
    /* 23 of 90 blocks of 32 on the rank that has most */
    roofline_work four = slowest("gpt-oss-120b", (shard_layout){ATTENTION_TP, EXPERTS_TP}, 4, decode(8, 1000), unknown);
    assert_near(four.bytes_experts, one.bytes_experts * expert_part(23 * 32) / expert, 1e-12);
}

/* Batch 5 over 4 groups: the first one has 2 sequences; experts see all 5 tokens. */
static void groups_share_sequences_and_experts(void **state)
{
    (void)state;
    for (int g = 0; g < 4; g++) assert_int_equal(roofline_group_sequences(5, 4, g), g == 0 ? 2 : 1);
    roofline_work w = slowest("gpt-oss-120b", (shard_layout){ATTENTION_DP, EXPERTS_EP}, 4, decode(5, 1000), unknown);
    double touched = 1 - pow(124.0 / 128, 5);
    assert_near(w.experts_touched, 32 * touched, 1e-12);
    assert_near(w.bytes_experts, 36 * 32 * touched * expert, 1e-12);
    assert_near(w.bytes_full, 2 * 1000.0 * 18 * token, 1e-12);
    assert_near(w.bytes_dense, 36 * (attention + router_128) + norm, 1e-12);
}

static void an_idle_group_reads_experts_alone(void **state)
{
    (void)state;
    model_config c = published("gpt-oss-120b");
    shard_plan plan;
    assert_int_equal(shard_plan_make(&c, (shard_layout){ATTENTION_DP, EXPERTS_EP}, 3, 4, &plan, &detail), STATUS_OK);
    roofline_step none = {.sequences = 0, .run = 1, .context = 1000, .logits = 1};
    roofline_work w = roofline_count(&plan, &c, &none, 1, 2);
    assert_near(w.bytes_experts, 36 * expert, 1e-9); /* 4 of 128 anywhere: 1 of these 32 */
    assert_near(roofline_bytes(&w), w.bytes_experts, 1e-12);
    assert_near(w.flops, 2 * 36 * 24883200.0, 1e-9);
}

static void the_longer_time_counts(void **state)
{
    (void)state;
    roofline_work w = alone("gpt-oss-120b", decode(1, 1));
    assert_near(roofline_seconds(&w, &h200), 1.10e-3, 0.001);
    w = alone("gpt-oss-120b", (roofline_step){.sequences = 1, .run = 8192, .context = 8192, .logits = 1});
    assert_near(roofline_seconds(&w, &h200), 107e-3, 0.005);
    roofline_limits slow = {.bandwidth = 1e9};
    assert_near(roofline_seconds(&w, &slow), roofline_bytes(&w) / 1e9, 1e-12);
    assert_true(roofline_seconds(&w, &unknown) == 0);
}

static void impossible_layouts_say_so(void **state)
{
    (void)state;
    model_config c = published("gpt-oss-20b");
    roofline_work work = {.flops = 7};
    roofline_step step = decode(1, 1);
    assert_int_equal(roofline_slowest(&c, (shard_layout){ATTENTION_TP, EXPERTS_TP}, 3, &step, 2, &unknown, &work, &detail), STATUS_USAGE);
    assert_true(work.flops == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sequence_reads_its_experts),
        cmocka_unit_test(batches_touch_more_experts),
        cmocka_unit_test(prefill_counts_operations),
        cmocka_unit_test(chunks_compute_what_the_whole_does),
        cmocka_unit_test(tensor_parallel_ranks_share_everything),
        cmocka_unit_test(groups_share_sequences_and_experts),
        cmocka_unit_test(an_idle_group_reads_experts_alone),
        cmocka_unit_test(the_longer_time_counts),
        cmocka_unit_test(impossible_layouts_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
