/* The broadcast message: what is written is read back; whatever bytes come in, reading ends in a plan within the limits or an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/engine/step_plan.h"
#include "tests/engine/test_random.h"

static const step_plan_limits LIMITS = {
    .groups = 3, .slots = 5, .max_tokens = 40, .vocab = 1000, .max_model_len = 200, .block_tokens = 8, .blocks = {60, 30}};

enum { MAX_PARTS = 5 };

/* What was written for one group. */
typedef struct written {
    step_plan_begin begins[MAX_PARTS];
    step_plan_run runs[MAX_PARTS];
    int n_begins, n_runs, n_tokens, n_rows;
    int32_t numbers[4000];
    int used;
} written;

static int32_t *numbers(written *w, test_random *r, int n, int low, int high)
{
    int32_t *out = w->numbers + w->used;
    w->used += n;
    for (int i = 0; i < n; i++) out[i] = test_random_range(r, low, high);
    return out;
}

static void make_begin(written *w, test_random *r)
{
    step_plan_begin *b = &w->begins[w->n_begins];
    memset(b, 0, sizeof *b);
    b->slot = w->n_begins++;
    ops_sampling *s = &b->sampling;
    *s = (ops_sampling){.temperature = 0.7f, .top_p = 0.25f, .top_k = 9, .min_p = 0.125f, .presence_penalty = -1.5f,
                        .frequency_penalty = 2, .repetition_penalty = 1.25f, .seed = test_random_next(r), .min_tokens = 3};
    s->n_suppressed = test_random_range(r, 0, 4);
    for (int i = 0; i < s->n_suppressed; i++) s->suppressed[i] = test_random_range(r, 0, 999);
    s->n_bias = test_random_range(r, 0, 6);
    for (int i = 0; i < s->n_bias; i++) {
        s->bias_ids[i] = test_random_range(r, 0, 999);
        s->bias_values[i] = (float)test_random_range(r, -400, 400) * 0.25f;
    }
    b->n_ids = test_random_range(r, 0, 100);
    b->ids = numbers(w, r, b->n_ids, 0, 999);
    b->n_generated = test_random_range(r, 0, b->n_ids);
}

static void make_run(written *w, test_random *r)
{
    step_plan_run *run = &w->runs[w->n_runs];
    *run = (step_plan_run){.slot = w->n_runs++, .n_tokens = test_random_range(r, 1, 8), .position = test_random_range(r, 0, 150)};
    int end = (run->position + run->n_tokens + 7) / 8;
    run->first_block = test_random_range(r, 0, end);
    run->n_blocks = end - run->first_block;
    run->sliding_first = test_random_range(r, 0, run->position / 8);
    run->tokens = numbers(w, r, run->n_tokens, -1, 999);
    run->blocks[OPS_FULL] = numbers(w, r, run->n_blocks, 0, 59);
    int32_t *sliding = numbers(w, r, run->n_blocks, 0, 29);
    for (int i = 0; i < run->n_blocks && run->first_block + i < run->sliding_first; i++) sliding[i] = -1;
    run->blocks[OPS_SLIDING] = sliding;
    run->draws = test_random_chance(r, 50);
    run->n_scores = test_random_range(r, 0, run->n_tokens - (run->draws ? 1 : 0));
    run->targets = numbers(w, r, run->n_scores, 0, 999);
    run->score_top = test_random_range(r, -1, 20);
    run->draw_top = test_random_range(r, -1, 20);
    run->generated = test_random_range(r, 0, 50);
    if (run->draws) run->mask.kind = (step_plan_mask_kind)test_random_range(r, STEP_PLAN_MASK_NONE, STEP_PLAN_MASK_BITS);
    if (run->mask.kind == STEP_PLAN_MASK_BITS) run->mask.n = (int)ops_mask_words(LIMITS.vocab);
    else if (run->mask.kind != STEP_PLAN_MASK_NONE) run->mask.n = test_random_range(r, 0, (int)ops_mask_words(LIMITS.vocab));
    run->mask.words = numbers(w, r, run->mask.n, 0, 999);
    w->n_tokens += run->n_tokens;
    w->n_rows += run->n_scores + run->draws;
}

static void write_step(step_plan_message *m, written groups[3], test_random *r)
{
    step_plan_start(m, STEP_PLAN_STEP, 0x123456789abcu, 3);
    for (int g = 0; g < 3; g++) {
        written *w = &groups[g];
        memset(w, 0, sizeof *w);
        int begins = test_random_range(r, 0, MAX_PARTS), runs = test_random_range(r, 0, MAX_PARTS);
        step_plan_add_group(m);
        for (int i = 0; i < begins; i++) {
            make_begin(w, r);
            step_plan_add_begin(m, &w->begins[i]);
        }
        for (int i = 0; i < runs; i++) {
            make_run(w, r);
            step_plan_add_run(m, &w->runs[i]);
        }
    }
    assert_int_equal(step_plan_finish(m, NULL), STATUS_OK);
}

static void assert_same_ids(const int32_t *a, const int32_t *b, int n)
{
    for (int i = 0; i < n; i++) assert_int_equal(a[i], b[i]);
}

static void assert_same_begin(const step_plan_begin *a, const step_plan_begin *b)
{
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->n_ids, b->n_ids);
    assert_int_equal(a->n_generated, b->n_generated);
    assert_same_ids(a->ids, b->ids, a->n_ids);
    const ops_sampling *s = &a->sampling, *t = &b->sampling;
    assert_true(s->temperature == t->temperature && s->top_p == t->top_p && s->top_k == t->top_k && s->min_p == t->min_p);
    assert_true(s->presence_penalty == t->presence_penalty && s->frequency_penalty == t->frequency_penalty);
    assert_true(s->repetition_penalty == t->repetition_penalty && s->seed == t->seed && s->min_tokens == t->min_tokens);
    assert_int_equal(s->n_suppressed, t->n_suppressed);
    assert_int_equal(s->n_bias, t->n_bias);
    assert_same_ids(s->suppressed, t->suppressed, s->n_suppressed);
    assert_same_ids(s->bias_ids, t->bias_ids, s->n_bias);
    for (int i = 0; i < s->n_bias; i++) assert_true(s->bias_values[i] == t->bias_values[i]);
}

static void assert_same_run(const step_plan_run *a, const step_plan_run *b)
{
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_same_ids(a->tokens, b->tokens, a->n_tokens);
    assert_int_equal(a->first_block, b->first_block);
    assert_int_equal(a->n_blocks, b->n_blocks);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) assert_same_ids(a->blocks[kind], b->blocks[kind], a->n_blocks);
    assert_int_equal(a->sliding_first, b->sliding_first);
    assert_int_equal(a->score_first, b->score_first);
    assert_int_equal(a->n_scores, b->n_scores);
    assert_same_ids(a->targets, b->targets, a->n_scores);
    assert_int_equal(a->score_top, b->score_top);
    assert_int_equal(a->draws, b->draws);
    assert_int_equal(a->draw_top, b->draw_top);
    assert_int_equal(a->generated, b->generated);
    assert_int_equal(a->mask.kind, b->mask.kind);
    assert_int_equal(a->mask.n, b->mask.n);
    assert_same_ids(a->mask.words, b->mask.words, a->mask.n);
}

static void assert_same_part(const step_plan *plan, const written *w)
{
    step_plan_part part = plan->mine;
    step_plan_begin begin;
    step_plan_run run;
    assert_int_equal(part.n_tokens, w->n_tokens);
    assert_int_equal(part.n_logit_rows, w->n_rows);
    assert_int_equal(part.n_runs, w->n_runs);
    for (int i = 0; i < w->n_begins; i++) {
        assert_true(step_plan_next_begin(&part, &LIMITS, &begin));
        assert_same_begin(&begin, &w->begins[i]);
    }
    assert_false(step_plan_next_begin(&part, &LIMITS, &begin));
    for (int i = 0; i < w->n_runs; i++) {
        assert_true(step_plan_next_run(&part, &LIMITS, &run));
        assert_same_run(&run, &w->runs[i]);
    }
    assert_false(step_plan_next_run(&part, &LIMITS, &run));
}

static void steps_are_read_as_written(void **state)
{
    (void)state;
    test_random random = {1};
    step_plan_message m = {0};
    written *groups = malloc(3 * sizeof *groups);
    for (int round = 0; round < 300; round++) {
        write_step(&m, groups, &random);
        size_t bytes;
        assert_int_equal(step_plan_size(m.words, STEP_PLAN_HEAD_BYTES, &bytes, NULL), STATUS_OK);
        assert_int_equal(bytes, m.count * sizeof *m.words);
        int most_tokens = 0, most_rows = 0;
        for (int g = 0; g < 3; g++) {
            if (groups[g].n_tokens > most_tokens) most_tokens = groups[g].n_tokens;
            if (groups[g].n_rows > most_rows) most_rows = groups[g].n_rows;
        }
        for (int g = 0; g < 3; g++) {
            step_plan plan;
            assert_int_equal(step_plan_read(m.words, bytes, &LIMITS, g, &plan, NULL), STATUS_OK);
            assert_int_equal(plan.kind, STEP_PLAN_STEP);
            assert_true(plan.step == 0x123456789abcu);
            assert_int_equal(plan.max_group_tokens, most_tokens);
            assert_int_equal(plan.max_group_logit_rows, most_rows);
            assert_same_part(&plan, &groups[g]);
        }
    }
    free(groups);
    step_plan_message_free(&m);
}

/* Sets of every size, in vocabularies with and without a last word that is full: the same ids come back, in at most as many words as bits take. */
static void masks_are_packed_and_back(void **state)
{
    (void)state;
    test_random random = {8};
    for (int round = 0; round < 400; round++) {
        int vocab = round % 3 ? test_random_range(&random, 1, 900) : 32 * test_random_range(&random, 1, 20);
        int percent = round % 5 == 0 ? 0 : round % 5 == 1 ? 100 : test_random_range(&random, 0, 100);
        size_t words = ops_mask_words(vocab);
        uint32_t bits[32] = {0}, back[32];
        int32_t packed[32];
        for (int id = 0; id < (int)words * 32; id++)
            if (test_random_chance(&random, percent)) bits[id / 32] |= 1u << id % 32; /* past the vocabulary as well */
        step_plan_mask mask = step_plan_mask_pack(bits, vocab, packed);
        assert_true(mask.kind != STEP_PLAN_MASK_NONE && mask.n >= 0 && mask.n <= (int)words);
        for (int i = 0; i < mask.n && mask.kind != STEP_PLAN_MASK_BITS; i++) assert_in_range(packed[i], 0, vocab - 1);
        step_plan_mask_unpack(&mask, vocab, back);
        for (int id = 0; id < vocab; id++) assert_int_equal(back[id / 32] >> id % 32 & 1, bits[id / 32] >> id % 32 & 1);
    }
}

static void other_kinds_are_read_as_written(void **state)
{
    (void)state;
    step_plan_message m = {0};
    step_plan plan;
    const step_plan_kind kinds[] = {STEP_PLAN_PARK, STEP_PLAN_SHUTDOWN};
    for (int i = 0; i < 2; i++) {
        step_plan_start(&m, kinds[i], 7, 0);
        assert_int_equal(step_plan_finish(&m, NULL), STATUS_OK);
        assert_int_equal(step_plan_read(m.words, STEP_PLAN_HEAD_BYTES, &LIMITS, 2, &plan, NULL), STATUS_OK);
        assert_int_equal(plan.kind, kinds[i]);
    }
    step_plan_start(&m, STEP_PLAN_ERROR, 7, 0);
    step_plan_add_error(&m, STATUS_MACHINE, "device 3 is on fire");
    assert_int_equal(step_plan_finish(&m, NULL), STATUS_OK);
    assert_int_equal(step_plan_read(m.words, STEP_PLAN_HEAD_BYTES, &LIMITS, 0, &plan, NULL), STATUS_OK);
    assert_int_equal(plan.error, STATUS_MACHINE);
    assert_string_equal(plan.text, "device 3 is on fire");
    step_plan_message_free(&m);
}

static void a_step_of_decodes_fits_in_one_broadcast(void **state)
{
    (void)state;
    step_plan_message m = {0};
    const int32_t token = -1;
    step_plan_start(&m, STEP_PLAN_STEP, 1, 1);
    step_plan_add_group(&m);
    for (int i = 0; i < 32; i++) {
        step_plan_run run = {.slot = i, .position = 100 + i, .n_tokens = 1, .tokens = &token, .first_block = 20, .draws = true, .draw_top = -1};
        step_plan_add_run(&m, &run);
    }
    assert_int_equal(step_plan_finish(&m, NULL), STATUS_OK);
    assert_true(m.count * sizeof *m.words <= STEP_PLAN_HEAD_BYTES);
    step_plan_message_free(&m);
}

/* Everything a rank would use must lie within what it has. */
static void assert_within_limits(const step_plan *plan)
{
    step_plan_part part = plan->mine;
    step_plan_begin begin;
    step_plan_run run;
    int tokens = 0, rows = 0, runs = 0;
    while (step_plan_next_begin(&part, &LIMITS, &begin)) assert_in_range(begin.slot, 0, LIMITS.slots - 1);
    while (step_plan_next_run(&part, &LIMITS, &run)) {
        assert_in_range(run.slot, 0, LIMITS.slots - 1);
        assert_true(run.position >= 0 && run.position + run.n_tokens <= LIMITS.max_model_len);
        assert_true((run.first_block + run.n_blocks) * LIMITS.block_tokens >= run.position + run.n_tokens);
        assert_true(run.first_block + run.n_blocks <= 25);
        for (int i = 0; i < run.n_blocks; i++) assert_in_range(run.blocks[OPS_FULL][i], 0, 59);
        for (int i = 0; i < run.mask.n && run.mask.kind != STEP_PLAN_MASK_BITS; i++) assert_in_range(run.mask.words[i], 0, LIMITS.vocab - 1);
        if (run.mask.kind == STEP_PLAN_MASK_BITS) assert_int_equal(run.mask.n, ops_mask_words(LIMITS.vocab));
        assert_true(run.mask.kind == STEP_PLAN_MASK_NONE ? run.mask.n == 0 : run.draws && run.mask.kind <= STEP_PLAN_MASK_BITS);
        for (int i = 0; i < run.n_blocks; i++) assert_true(run.blocks[OPS_SLIDING][i] >= -1 && run.blocks[OPS_SLIDING][i] < 30);
        tokens += run.n_tokens;
        rows += run.n_scores + run.draws;
        runs++;
    }
    assert_true(tokens == part.n_tokens && tokens <= plan->max_group_tokens && plan->max_group_tokens <= LIMITS.max_tokens);
    assert_true(rows == part.n_logit_rows && rows <= plan->max_group_logit_rows && rows <= tokens && runs <= LIMITS.slots);
}

static void damaged_bytes_never_leave_the_limits(void **state)
{
    (void)state;
    test_random random = {2};
    step_plan_message m = {0};
    written *groups = malloc(3 * sizeof *groups);
    int refused = 0, read = 0;
    for (int round = 0; round < 4000; round++) {
        write_step(&m, groups, &random);
        size_t bytes = m.count * sizeof *m.words;
        /* An exact copy on the heap, so that the sanitizer sees any read past the end. */
        size_t kept = test_random_chance(&random, 30) ? (size_t)test_random_range(&random, 0, (int)bytes) : bytes;
        int32_t *copy = malloc(kept ? kept : 1);
        memcpy(copy, m.words, kept);
        static const int32_t nasty[] = {0, 1, -1, INT32_MAX, INT32_MIN, 1000, 0x10000, 39, 41};
        for (int hits = test_random_range(&random, 0, 3); hits > 0 && kept >= 4; hits--) {
            int at = test_random_range(&random, 0, test_random_chance(&random, 50) && kept > 120 ? 29 : (int)(kept / 4) - 1);
            copy[at] = test_random_chance(&random, 50) ? nasty[test_random_range(&random, 0, 8)] : (int32_t)test_random_next(&random);
        }
        for (int g = 0; g < 3; g++) {
            step_plan plan;
            status_detail detail = {""};
            if (step_plan_read(copy, kept, &LIMITS, g, &plan, &detail) != STATUS_OK) {
                assert_true(detail.text[0] != '\0');
                refused++;
            } else if (plan.kind == STEP_PLAN_STEP) {
                assert_within_limits(&plan);
                read++;
            }
        }
        free(copy);
    }
    assert_true(refused > 1000 && read > 1000);
    free(groups);
    step_plan_message_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_read_as_written),
        cmocka_unit_test(masks_are_packed_and_back),
        cmocka_unit_test(other_kinds_are_read_as_written),
        cmocka_unit_test(a_step_of_decodes_fits_in_one_broadcast),
        cmocka_unit_test(damaged_bytes_never_leave_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
