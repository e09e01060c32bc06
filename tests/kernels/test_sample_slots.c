/* What a slot remembers: the last id, counts for penalties, results of two steps. */
#include "tests/kernels/suite_sampling.h"

#include <stdio.h>
#include <string.h>

enum { VOCAB = 40, PROMPT = 12, STEPS = 60 };

static const int32_t prompt[PROMPT] = {3, 3, 9, 39, 0, 17, 17, 17, 4, 8, 22, 3};

static ops_sampling penalties(float temperature, float repetition, float frequency, float presence)
{
    ops_sampling sampling = suite_sampling(temperature);
    sampling.repetition_penalty = repetition;
    sampling.frequency_penalty = frequency;
    sampling.presence_penalty = presence;
    sampling.seed = 77;
    return sampling;
}

/* The sequence that the reference generates from `logits`, the same at every step; ids [PROMPT + STEPS]. */
static void reference_sequence(const ops_sampling *sampling, const float *logits, int32_t *ids)
{
    double adjusted[VOCAB];
    memcpy(ids, prompt, sizeof prompt);
    for (int i = 0; i < STEPS; i++) {
        reference_adjust(sampling, &(reference_history){ids, PROMPT + i, i}, logits, VOCAB, adjusted);
        ids[PROMPT + i] = reference_draw(sampling, PROMPT + i, adjusted, VOCAB);
    }
}

static void check_steps(suite *s, int slot, const float *logits, const int32_t *want, int first)
{
    for (int i = first; i < STEPS; i++) {
        int32_t got = suite_draw(s, logits, slot, PROMPT + i, i);
        if (got != want[PROMPT + i]) fail_msg("step %d: %d instead of %d", i, got, want[PROMPT + i]);
    }
}

static const struct {
    float temperature, repetition, frequency, presence;
} settings[] = {
    {0, 1.3f, 0, 0},      {0, 1, 0.5f, 0},       {0, 1, 0, 1.5f},  {0, 1.1f, 0.3f, 0.4f}, {0, 0.8f, -0.2f, 0},
    {1, 1.5f, 0.5f, 0.5f}, {0.7f, 1, 2, -1}, {1, 1, 0, 0},
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

static void penalties_follow_the_counts(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 3, 0);
    for (int k = 0; k < N_SETTINGS; k++) {
        const float *logits = suite_logits(&s, 1, 3); /* both signs: repetition divides or multiplies */
        ops_sampling sampling = penalties(settings[k].temperature, settings[k].repetition, settings[k].frequency, settings[k].presence);
        int32_t want[PROMPT + STEPS];
        reference_sequence(&sampling, logits, want);
        suite_slot_history(&s, 5, &sampling, &(reference_history){prompt, PROMPT, 0}); /* again and again: old counts must be gone */
        check_steps(&s, 5, logits, want, 0);
    }
    suite_close(&s);
}

/* After a preemption the sequence begins anew with all its ids, some of them generated. */
static void a_sequence_continues_after_preemption(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 1, 0);
    for (int k = 0; k < N_SETTINGS; k++) {
        const float *logits = suite_logits(&s, 1, 3);
        ops_sampling sampling = penalties(settings[k].temperature, settings[k].repetition, settings[k].frequency, settings[k].presence);
        int32_t want[PROMPT + STEPS];
        reference_sequence(&sampling, logits, want);
        suite_slot_history(&s, k, &sampling, &(reference_history){want, PROMPT + 23, 23});
        check_steps(&s, k, logits, want, 23);
    }
    suite_close(&s);
}

/* Slots with and without penalties take turns in one step; none sees another's counts. */
static void slots_do_not_disturb_each_other(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    const float *logits = suite_logits(&s, 1, 3);
    int32_t want[N_SETTINGS][PROMPT + STEPS];
    float *copies = suite_host(&s, N_SETTINGS * VOCAB * sizeof *copies);
    for (int k = 0; k < N_SETTINGS; k++) {
        ops_sampling sampling = penalties(settings[k].temperature, settings[k].repetition, settings[k].frequency, settings[k].presence);
        reference_sequence(&sampling, logits, want[k]);
        suite_slot_history(&s, k, &sampling, &(reference_history){prompt, PROMPT, 0});
        memcpy(copies + k * VOCAB, logits, VOCAB * sizeof *logits);
    }
    for (int i = 0; i < STEPS; i++) {
        ops_logit_row rows[N_SETTINGS];
        ops_token tokens[N_SETTINGS];
        for (int k = 0; k < N_SETTINGS; k++) rows[k] = (ops_logit_row){.slot = k, .position = PROMPT + i, .target = -1, .top = -1, .generated = i};
        suite_sample(&s, copies, rows, N_SETTINGS, tokens);
        for (int k = 0; k < N_SETTINGS; k++) assert_int_equal(tokens[k].id, want[k][PROMPT + i]);
    }
    suite_close(&s);
}

/* Rows with a target neither count nor become the slot's last id. */
static void scored_ids_are_not_remembered(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    const float *logits = suite_logits(&s, 1, 3);
    ops_sampling sampling = penalties(1, 1.2f, 0.5f, 0.5f);
    int32_t want[PROMPT + STEPS];
    reference_sequence(&sampling, logits, want);
    suite_slot_history(&s, 1, &sampling, &(reference_history){prompt, PROMPT, 0});
    float *copies = suite_host(&s, 3 * VOCAB * sizeof *copies);
    for (int k = 0; k < 3; k++) memcpy(copies + k * VOCAB, logits, VOCAB * sizeof *logits);
    for (int i = 0; i < STEPS; i++) {
        ops_logit_row rows[3] = {{.slot = 1, .position = PROMPT + i, .target = 7, .top = 2, .generated = i},
                                 {.slot = 1, .position = PROMPT + i, .target = -1, .top = 2, .generated = i},
                                 {.slot = 1, .position = PROMPT + i, .target = 30, .top = -1, .generated = i}};
        ops_token tokens[3];
        suite_sample(&s, copies, rows, 3, tokens);
        assert_int_equal(tokens[0].id, 7);
        assert_int_equal(tokens[1].id, want[PROMPT + i]);
        assert_int_equal(tokens[2].id, 30);
        assert_true(tokens[2].logprob == 0 && tokens[2].rank == 0 && tokens[2].n_top == 0);
        assert_int_equal(tokens[0].n_top, 2);
    }
    suite_close(&s);
}

/* Token -1 in a batch is what its slot drew in the step before, whatever was scored meanwhile. */
static void the_next_batch_reads_the_drawn_id(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 1, 0);
    suite_tensor embedding = suite_bf16(&s, 1, VOCAB, s.shape.hidden, 0, 3);
    SUITE_PLACE(&s, &embedding);
    size_t hidden = (size_t)s.shape.hidden;
    const float *logits = suite_logits(&s, 3, 3);
    ops_sampling sampling = suite_sampling(1);
    suite_slot(&s, 2, &sampling);
    suite_slot(&s, 9, &sampling);
    ops_logit_row rows[3] = {{.slot = 9, .position = 4, .target = -1, .top = -1}, {.slot = 2, .position = 8, .target = -1, .top = -1},
                             {.slot = 2, .position = 8, .target = 1, .top = 0}};
    ops_token tokens[3];
    suite_sample(&s, logits, rows, 3, tokens);
    const int32_t ids[4] = {-1, 11, 12, -1};
    suite_begin(&s, (suite_run[]){{2, 8, 1}, {4, 0, 2}, {9, 4, 1}}, 3, ids);
    void *x = suite_device(&s, 4 * hidden * suite_activation_size(&s));
    s.ops->embed(s.c, &embedding.placed, x);
    const double *got = suite_read(&s, x, 4 * hidden);
    const int32_t want[4] = {tokens[1].id, 11, 12, tokens[0].id};
    for (size_t i = 0; i < 4; i++) assert_memory_equal(got + i * hidden, embedding.values + (size_t)want[i] * hidden, hidden * sizeof *got);
    suite_close(&s);
}

/* Results of the step before stay readable beside the current ones; calls of one step fill ranges side by side. */
static void results_of_two_steps(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 1, 0);
    const float *logits = suite_logits(&s, 4, 3);
    const float *device = suite_upload(&s, logits, 4 * VOCAB * sizeof *logits);
    ops_token now[8], before[8];
    status_detail detail;
    for (int step = 0; step < 4; step++) {
        ops_logit_row rows[4];
        for (int i = 0; i < 4; i++) rows[i] = (ops_logit_row){.target = 10 * step + i, .top = 1};
        suite_begin(&s, (suite_run[]){{0, 0, 1}}, 1, NULL);
        s.ops->sample(s.c, device, rows, 4, 4);
        s.ops->sample(s.c, device, rows, 4, 0);
        assert_int_equal(s.ops->results(s.c, 0, 0, 8, now, &detail), STATUS_OK);
        for (int i = 0; i < 8; i++) assert_int_equal(now[i].id, 10 * step + i % 4);
        if (step == 0) continue;
        assert_int_equal(s.ops->results(s.c, 1, 2, 5, before, &detail), STATUS_OK);
        for (int i = 0; i < 5; i++) assert_int_equal(before[i].id, 10 * (step - 1) + (i + 2) % 4);
    }
    suite_close(&s);
}

static void wrong_use_is_refused(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 1, 0);
    ops_sampling good = penalties(1, 1.2f, 0, 0), many = good;
    many.n_bias = OPS_MAX_LOGIT_BIAS + 1;
    ops_token token;
    status_detail detail;
    assert_int_equal(s.ops->slot_begin(s.c, SUITE_SLOTS, &good, prompt, PROMPT, 0, &detail), STATUS_INTERNAL);
    assert_int_equal(s.ops->slot_begin(s.c, -1, &good, prompt, PROMPT, 0, &detail), STATUS_INTERNAL);
    assert_int_equal(s.ops->slot_begin(s.c, 0, &many, prompt, PROMPT, 0, &detail), STATUS_INTERNAL);
    assert_int_equal(s.ops->slot_begin(s.c, 0, &good, (int32_t[]){1, VOCAB}, 2, 0, &detail), STATUS_INTERNAL);
    assert_int_equal(s.ops->slot_begin(s.c, 0, &good, prompt, PROMPT, PROMPT + 1, &detail), STATUS_INTERNAL);
    assert_int_equal(s.ops->results(s.c, 2, 0, 1, &token, &detail), STATUS_INTERNAL);
    assert_int_equal(s.ops->results(s.c, 0, s.shape.max_tokens, 1, &token, &detail), STATUS_INTERNAL);
    suite_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(penalties_follow_the_counts),
        cmocka_unit_test(a_sequence_continues_after_preemption),
        cmocka_unit_test(slots_do_not_disturb_each_other),
        cmocka_unit_test(scored_ids_are_not_remembered),
        cmocka_unit_test(the_next_batch_reads_the_drawn_id),
        cmocka_unit_test(results_of_two_steps),
        cmocka_unit_test(wrong_use_is_refused),
    };
    return suite_main("sample_slots", tests, sizeof tests / sizeof *tests);
}
