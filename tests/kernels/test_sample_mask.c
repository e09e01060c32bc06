/* Masks: the ids that a row may draw, whatever else decides; what is reported of the logits stays that of all ids. */
#include "tests/kernels/suite_sampling.h"

#include <math.h>
#include <string.h>

/* More than two of any backend's pieces of a row, and no multiple of 32. */
enum { VOCAB = 5003, ROWS = 12 };

static uint32_t *new_masks(suite *s, int n)
{
    s->masks = suite_host(s, (size_t)n * ops_mask_words(s->shape.vocab) * sizeof(uint32_t));
    s->n_masks = n;
    return (uint32_t *)s->masks;
}

static uint32_t *mask_of(uint32_t *masks, int number) { return masks + (size_t)(number - 1) * ops_mask_words(VOCAB); }
static void allow(uint32_t *mask, int id) { mask[id / 32] |= 1u << id % 32; }
static bool allowed(const uint32_t *mask, int id) { return mask[id / 32] >> id % 32 & 1; }

/* About one id in `each`, and all bits past the vocabulary, which mean nothing. */
static void fill_random(suite *s, uint32_t *mask, int each)
{
    for (int id = 0; id < VOCAB; id++)
        if (suite_integer(s, each) == 0) allow(mask, id);
    for (int id = VOCAB; id < (int)ops_mask_words(VOCAB) * 32; id++) allow(mask, id);
}

/* What the reference draws when only the mask's ids count. */
static int32_t expected(const ops_sampling *sampling, const reference_history *h, const float *logits, const uint32_t *mask, int position)
{
    static double adjusted[VOCAB];
    reference_adjust(sampling, h, logits, VOCAB, adjusted);
    for (int id = 0; mask && id < VOCAB; id++)
        if (!allowed(mask, id)) adjusted[id] = -(double)INFINITY;
    return reference_draw(sampling, position, adjusted, VOCAB);
}

static ops_sampling setting(int i)
{
    ops_sampling sampling = suite_sampling(i % 4 ? 0.7f + 0.3f * (float)i : 0);
    sampling.seed = (uint64_t)i + 31;
    if (i % 3 == 1) sampling.top_k = 20;
    if (i % 5 >= 3) sampling.top_p = 0.8f;
    if (i % 6 == 5) sampling.min_p = 0.05f;
    if (i % 4 >= 2) sampling.repetition_penalty = 1.3f, sampling.frequency_penalty = 0.2f;
    return sampling;
}

/* Rows with a mask of their own, with one they share, and without, side by side, under every kind of filter. */
static void only_the_masks_ids_are_drawn(void **state)
{
    static const int each[] = {1, 2, 40, 900};
    static const int32_t prompt[] = {3, 4001, 17, 2048, 2047};
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 3, 0);
    const float *logits = suite_logits(&s, ROWS, 4);
    for (int step = 0; step < 24; step++) {
        uint32_t *masks = new_masks(&s, 4);
        ops_logit_row rows[ROWS];
        ops_token tokens[ROWS];
        for (int k = 1; k <= 4; k++) fill_random(&s, mask_of(masks, k), each[k - 1]);
        for (int i = 0; i < ROWS; i++) {
            ops_sampling sampling = setting(i + step);
            suite_slot_history(&s, i, &sampling, &(reference_history){prompt, 5, 2});
            rows[i] = (ops_logit_row){.slot = i, .position = 10 * step + i, .target = -1, .top = i % 2 ? 3 : -1, .generated = 2, .mask = (i + step) % 5};
        }
        suite_sample(&s, logits, rows, ROWS, tokens);
        for (int i = 0; i < ROWS; i++) {
            ops_sampling sampling = setting(i + step);
            const uint32_t *mask = rows[i].mask ? mask_of(masks, rows[i].mask) : NULL;
            int32_t want = expected(&sampling, &(reference_history){prompt, 5, 2}, logits + i * VOCAB, mask, rows[i].position);
            if (tokens[i].id != want) fail_msg("step %d, row %d: %d instead of %d", step, i, tokens[i].id, want);
        }
    }
    suite_close(&s);
}

/* The log-probabilities of a masked row are those of the raw logits, and the best ids may lie outside the mask. */
static void log_probabilities_are_those_of_all_ids(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    const float *logits = suite_logits(&s, 1, 4);
    uint32_t *masks = new_masks(&s, 1);
    ops_sampling sampling = suite_sampling(0);
    ops_token token;
    allow(masks, 4999);
    suite_slot(&s, 0, &sampling);
    suite_sample(&s, logits, &(ops_logit_row){.position = 1, .target = -1, .top = 4, .mask = 1}, 1, &token);
    assert_int_equal(token.id, 4999);
    assert_int_equal(token.rank, reference_rank(logits, VOCAB, 4999));
    assert_true(fabs((double)token.logprob - reference_logprob(logits, VOCAB, 4999)) < 1e-4);
    assert_int_equal(token.n_top, 4);
    for (int i = 0; i < 4; i++) assert_int_equal(reference_rank(logits, VOCAB, token.top_ids[i]), i);
    suite_close(&s);
}

/* A mask of a single id draws it, at every place of a row; ids that bias, chance or a stop list prefer do not come. */
static void a_single_id_is_certain(void **state)
{
    static const int32_t ids[] = {0, 1, 31, 32, 2047, 2048, 4095, 4096, VOCAB - 1};
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 3, 0);
    float *logits = suite_logits(&s, 1, 4);
    ops_sampling sampling = setting(5);
    sampling.n_bias = 1;
    sampling.bias_ids[0] = 77;
    sampling.bias_values[0] = 100;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        ops_token token;
        allow(new_masks(&s, 1), ids[i]);
        logits[ids[i]] = -500;
        suite_slot(&s, 0, &sampling);
        suite_sample(&s, logits, &(ops_logit_row){.position = 1, .target = -1, .top = -1, .mask = 1}, 1, &token);
        assert_int_equal(token.id, ids[i]);
    }
    suite_close(&s);
}

/* As when every logit is -inf: id 0. */
static void an_empty_mask_draws_id_0(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 1, 0);
    const float *logits = suite_logits(&s, 1, 4);
    ops_token token;
    new_masks(&s, 1);
    for (int i = 0; i < 2; i++) {
        ops_sampling sampling = suite_sampling((float)i);
        suite_slot(&s, 0, &sampling);
        suite_sample(&s, logits, &(ops_logit_row){.position = 1, .target = -1, .top = -1, .mask = 1}, 1, &token);
        assert_int_equal(token.id, 0);
    }
    suite_close(&s);
}

/* Scored rows have no use for a mask: the target may lie outside. */
static void targets_are_scored_as_ever(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 2, 0);
    const float *logits = suite_logits(&s, 1, 4);
    ops_token token;
    allow(new_masks(&s, 1), 8);
    suite_sample(&s, logits, &(ops_logit_row){.position = 1, .target = 900, .top = 0, .mask = 1}, 1, &token);
    assert_int_equal(token.id, 900);
    assert_true(fabs((double)token.logprob - reference_logprob(logits, VOCAB, 900)) < 1e-4);
    suite_close(&s);
}

/* One step: the masks' ids, one a row, come from memory that is written over at once. Recorded and replayed where the backend can. */
static void step_of_single_ids(suite *s, const float *device, const int32_t *ids)
{
    enum { N = 4 };
    static const int32_t starts[N + 1] = {0, 1, 2, 3, 4}, slots[N] = {0, 1, 2, 3};
    const int32_t tokens[N] = {1, 2, 3, 4}, positions[N] = {7, 7, 7, 7};
    ops_recording how = OPS_ISSUE;
    status_detail detail = {""};
    uint32_t *masks = new_masks(s, N);
    int32_t *table = suite_host(s, N * (size_t)s->shape.max_blocks_per_sequence * sizeof *table);
    ops_logit_row rows[N];
    for (int i = 0; i < N; i++) {
        allow(mask_of(masks, i + 1), ids[i]);
        rows[i] = (ops_logit_row){.row = i, .slot = i, .position = 8, .target = -1, .top = -1, .mask = i + 1};
    }
    ops_batch batch = {.n_tokens = N, .n_sequences = N, .token_ids = tokens, .positions = positions, .sequence_start = starts, .slots = slots,
                       .block_tables = {table, table}, .table_stride = s->shape.max_blocks_per_sequence, .n_masks = N, .masks = masks};
    assert_int_equal(s->ops->batch_begin(s->c, &batch, &detail), STATUS_OK);
    memset(masks, 0xff, N * ops_mask_words(VOCAB) * sizeof *masks);
    if (s->ops->record_begin) assert_int_equal(s->ops->record_begin(s->c, rows, N, &how, &detail), STATUS_OK);
    if (how != OPS_REPLAYED) s->ops->sample(s->c, device, rows, N, 0);
    if (how == OPS_RECORD) assert_int_equal(s->ops->record_end(s->c, &detail), STATUS_OK);
}

/* Each step has its own masks, also when the next is issued before its results are read. */
static void masks_belong_to_their_step(void **state)
{
    enum { STEPS = 8 };
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 1, 0);
    const float *device = suite_upload(&s, suite_logits(&s, 4, 4), 4 * VOCAB * sizeof(float));
    int32_t ids[STEPS][4];
    ops_token tokens[4];
    status_detail detail;
    for (int i = 0; i < 4; i++) {
        ops_sampling sampling = suite_sampling(i % 2 ? 1 : 0);
        suite_slot(&s, i, &sampling);
    }
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < 4; i++) ids[step][i] = suite_integer(&s, VOCAB);
        step_of_single_ids(&s, device, ids[step]);
        if (step == 0) continue;
        assert_int_equal(s.ops->results(s.c, 1, 0, 4, tokens, &detail), STATUS_OK);
        for (int i = 0; i < 4; i++) assert_int_equal(tokens[i].id, ids[step - 1][i]);
    }
    suite_close(&s);
}

static void too_many_are_refused(void **state)
{
    static const int32_t start[1] = {0};
    suite s;
    status_detail detail;
    suite_open_sampler(&s, *state, VOCAB, 1, 0);
    const uint32_t *masks = new_masks(&s, s.shape.max_sequences + 1);
    ops_batch batch = {.sequence_start = start, .masks = masks, .n_masks = s.shape.max_sequences};
    assert_int_equal(s.ops->batch_begin(s.c, &batch, &detail), STATUS_OK);
    batch.n_masks++;
    assert_int_equal(s.ops->batch_begin(s.c, &batch, &detail), STATUS_INTERNAL);
    batch.n_masks = -1;
    assert_int_equal(s.ops->batch_begin(s.c, &batch, &detail), STATUS_INTERNAL);
    suite_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_masks_ids_are_drawn),
        cmocka_unit_test(log_probabilities_are_those_of_all_ids),
        cmocka_unit_test(a_single_id_is_certain),
        cmocka_unit_test(an_empty_mask_draws_id_0),
        cmocka_unit_test(targets_are_scored_as_ever),
        cmocka_unit_test(masks_belong_to_their_step),
        cmocka_unit_test(too_many_are_refused),
    };
    return suite_main("sample_mask", tests, sizeof tests / sizeof *tests);
}
