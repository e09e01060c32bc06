/* The draw: greedy, its distribution, its rule, and what it must not depend on. */
#include "tests/kernels/suite_sampling.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/philox.h"

/* The vectors that come with the authors' Random123 library (kat_vectors). */
static void philox_gives_known_answers(void **state)
{
    (void)state;
    static const uint32_t cases[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        const uint32_t *c = cases[i];
        philox_block got = philox((philox_block){{c[0], c[1], c[2], c[3]}}, (uint64_t)c[5] << 32 | c[4]);
        assert_memory_equal(got.word, c + 6, sizeof got.word);
    }
}

/* ---- special values ------------------------------------------------------------------------------------------------ */

static void greedy_takes_the_lowest_of_the_best_ids(void **state)
{
    suite s;
    suite_open_sampler(&s, *state, 11, 3, 0);
    suite_slot(&s, 0, &(ops_sampling){.temperature = 0, .top_p = 0.5f, .top_k = 3, .min_p = 0.5f, .repetition_penalty = 1});
    assert_int_equal(suite_draw(&s, (float[11]){1, 2, 3, 4, 7, 6, 7, 1, 7, 0, 2}, 0, 3, 0), 4);
    assert_int_equal(suite_draw(&s, (float[11]){-9, -2, -3, -1, -7, -6, -7, -1, -7, -8, -0.5f}, 0, 3, 0), 10);
    assert_int_equal(suite_draw(&s, (float[11]){0}, 0, 3, 0), 0);
    suite_close(&s);
}

static void odd_values_are_harmless(void **state)
{
    const float nan = NAN, inf = INFINITY;
    const float temperatures[] = {0, 1e-45f, 1, 100};
    suite s;
    suite_open_sampler(&s, *state, 6, 2, 0);
    for (int i = 0; i < 4; i++) {
        ops_sampling sampling = suite_sampling(temperatures[i]), filtered = sampling;
        filtered.top_k = 4, filtered.top_p = 0.9f, filtered.min_p = 0.01f;
        suite_slot(&s, 0, &sampling);
        suite_slot(&s, 1, &filtered);
        for (int slot = 0; slot < 2; slot++) {
            assert_int_equal(suite_draw(&s, (float[6]){nan, -inf, nan, 2, nan, -inf}, slot, 1, 0), 3);
            assert_int_equal(suite_draw(&s, (float[6]){nan, -inf, 1, inf, FLT_MAX / 2, -inf}, slot, 2, 0), 3);
            assert_int_equal(suite_draw(&s, (float[6]){-inf, -inf, -inf, -inf, -inf, -inf}, slot, 3, 0), 0);
            assert_int_equal(suite_draw(&s, (float[6]){nan, nan, nan, nan, nan, nan}, slot, 4, 0), 0);
            assert_int_equal(suite_draw(&s, (float[6]){-FLT_MAX, -FLT_MAX, FLT_MAX, -inf, -FLT_MAX, -FLT_MAX}, slot, 5, 0), 2);
        }
    }
    suite_close(&s);
}

static void tiny_temperatures_are_greedy_but_among_equals(void **state)
{
    const float temperatures[] = {1e-45f, 1e-38f, 1e-20f, 1e-6f};
    static const float logits[5] = {1, 3, 2.99f, 3, -4};
    suite s;
    suite_open_sampler(&s, *state, 5, 1, 0);
    for (int i = 0; i < 4; i++) {
        ops_sampling sampling = suite_sampling(temperatures[i]);
        suite_slot(&s, 0, &sampling);
        int drawn[5] = {0};
        for (int position = 0; position < 64; position++) drawn[suite_draw(&s, logits, 0, position, 0)]++;
        assert_int_equal(drawn[1] + drawn[3], 64);
        assert_in_range(drawn[1], 16, 48);
    }
    suite_close(&s);
}

/* ---- distribution -------------------------------------------------------------------------------------------------- */

/* Fails when counts of n draws are further from chances than once in ten thousand (fixed seeds: always the same outcome). Ids that are
 * expected fewer than 5 times share a cell. Limit: Wilson and Hilferty 1931, cube of a normal, 3.72 deviations. */
static void check_chi_square(const char *what, const int *counts, const double *chances, int cells, int n)
{
    double sum = 0, rest_chance = 0, rest_count = 0;
    int freedom = -1;
    for (int i = 0; i < cells; i++) {
        if (chances[i] == 0 && counts[i]) fail_msg("%s: %d was drawn %d times and never should be", what, i, counts[i]);
        if (chances[i] * n < 5) {
            rest_chance += chances[i];
            rest_count += counts[i];
            continue;
        }
        sum += (counts[i] - chances[i] * n) * (counts[i] - chances[i] * n) / (chances[i] * n);
        freedom++;
    }
    if (rest_chance * n >= 1) {
        sum += (rest_count - rest_chance * n) * (rest_count - rest_chance * n) / (rest_chance * n);
        freedom++;
    }
    double unit = 2.0 / (9 * freedom), limit = freedom * pow(1 - unit + 3.72 * sqrt(unit), 3);
    if (!(sum < limit)) fail_msg("%s: chi square is %.1f with %d degrees of freedom, limit %.1f", what, sum, freedom, limit);
}

/* Draws n tokens from the same logits: SUITE_SLOTS at a time, each in a slot of its own. Positions count up; slots keep their seeds. */
static void draw_many(suite *s, const float *logits, int n, int32_t *out)
{
    size_t vocab = (size_t)s->shape.vocab;
    float *copies = suite_host(s, SUITE_SLOTS * vocab * sizeof *copies);
    for (size_t i = 0; i < SUITE_SLOTS; i++) memcpy(copies + i * vocab, logits, vocab * sizeof *logits);
    for (int done = 0; done < n; done += SUITE_SLOTS) {
        ops_logit_row rows[SUITE_SLOTS];
        ops_token tokens[SUITE_SLOTS];
        for (int i = 0; i < SUITE_SLOTS; i++) rows[i] = (ops_logit_row){.slot = i, .position = done + i, .target = -1, .top = -1};
        suite_sample(s, copies, rows, SUITE_SLOTS, tokens);
        for (int i = 0; i < SUITE_SLOTS; i++) out[done + i] = tokens[i].id;
    }
}

static void frequencies_match_the_chances(void **state)
{
    enum { VOCAB = 53, DRAWS = 128 * SUITE_SLOTS };
    static const ops_sampling settings[] = {
        {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 1},
        {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 0x123456789abcdefu},
        {.temperature = 0.6f, .top_p = 1, .repetition_penalty = 1, .seed = 2},
        {.temperature = 5, .top_p = 1, .repetition_penalty = 1, .seed = 3},
        {.temperature = 1, .top_p = 0.8f, .repetition_penalty = 1, .seed = 4},
        {.temperature = 1.5f, .top_p = 1, .top_k = 7, .repetition_penalty = 1, .seed = 5},
        {.temperature = 0.8f, .top_p = 1, .min_p = 0.1f, .repetition_penalty = 1, .seed = 6},
        {.temperature = 1.2f, .top_p = 0.9f, .top_k = 20, .min_p = 0.02f, .repetition_penalty = 1, .seed = 7},
    };
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 3, 0);
    const float *logits = suite_logits(&s, 1, 3);
    int32_t *drawn = suite_host(&s, DRAWS * sizeof *drawn);
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        double adjusted[VOCAB], chances[VOCAB];
        int counts[VOCAB] = {0};
        for (int slot = 0; slot < SUITE_SLOTS; slot++) suite_slot(&s, slot, &settings[k]);
        draw_many(&s, logits, DRAWS, drawn);
        for (int i = 0; i < DRAWS; i++) counts[drawn[i]]++;
        reference_adjust(&settings[k], &(reference_history){0}, logits, VOCAB, adjusted);
        reference_chances(&settings[k], adjusted, VOCAB, chances);
        check_chi_square("frequencies", counts, chances, VOCAB, DRAWS);
    }
    suite_close(&s);
}

/* Pairs of draws are independent: at neighbouring positions, and at one position with neighbouring seeds. */
static void draws_are_independent(void **state)
{
    enum { VOCAB = 6, DRAWS = 128 * SUITE_SLOTS };
    suite s;
    suite_open_sampler(&s, *state, VOCAB, 1, 0);
    const float *logits = suite_logits(&s, 1, 1);
    double adjusted[VOCAB], chances[VOCAB], pairs[VOCAB * VOCAB];
    int32_t *first = suite_host(&s, DRAWS * sizeof *first), *second = suite_host(&s, DRAWS * sizeof *second);
    ops_sampling sampling = suite_sampling(1);
    reference_adjust(&sampling, &(reference_history){0}, logits, VOCAB, adjusted);
    reference_chances(&sampling, adjusted, VOCAB, chances);
    for (int i = 0; i < VOCAB * VOCAB; i++) pairs[i] = chances[i / VOCAB] * chances[i % VOCAB];
    int by_position[VOCAB * VOCAB] = {0}, by_seed[VOCAB * VOCAB] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (int slot = 0; slot < SUITE_SLOTS; slot++) suite_slot(&s, slot, &sampling);
        draw_many(&s, logits, DRAWS, pass ? second : first);
        sampling.seed++;
    }
    for (int i = 0; i < DRAWS; i++) by_seed[first[i] * VOCAB + second[i]]++;
    for (int i = 0; i + 1 < DRAWS; i += 2) by_position[first[i] * VOCAB + first[i + 1]]++;
    check_chi_square("pairs of seeds", by_seed, pairs, VOCAB * VOCAB, DRAWS);
    check_chi_square("pairs of positions", by_position, pairs, VOCAB * VOCAB, DRAWS / 2);
    suite_close(&s);
}

/* ---- the rule ------------------------------------------------------------------------------------------------------ */

static ops_sampling random_sampling(suite *s)
{
    static const float temperatures[] = {0, 0.3f, 0.7f, 1, 1.7f};
    ops_sampling sampling = suite_sampling(temperatures[suite_integer(s, 5)]);
    sampling.seed = (uint64_t)suite_integer(s, 1 << 30) << 30;
    if (suite_integer(s, 2)) sampling.top_p = (float)suite_uniform(s, 0.3, 0.999);
    if (suite_integer(s, 2)) sampling.top_k = 1 + suite_integer(s, 60);
    if (suite_integer(s, 2)) sampling.min_p = (float)suite_uniform(s, 0.0001, 0.2);
    return sampling;
}

static void check_rule(void *backend, int vocab, int shards, int rounds)
{
    suite s;
    suite_open_sampler(&s, backend, vocab, shards, 0);
    s.random = (uint64_t)(vocab + shards);
    double *adjusted = suite_host(&s, (size_t)vocab * sizeof *adjusted);
    for (int round = 0; round < rounds; round++) {
        const float *logits = suite_logits(&s, 1, round % 2 ? 2 : 12); /* nearly all ids matter, or few do */
        ops_sampling sampling = random_sampling(&s);
        int position = suite_integer(&s, 131072);
        suite_slot(&s, 7, &sampling);
        reference_adjust(&sampling, &(reference_history){0}, logits, vocab, adjusted);
        int32_t want = reference_draw(&sampling, position, adjusted, vocab), got = suite_draw(&s, logits, 7, position, 0);
        if (got != want)
            fail_msg("vocabulary %d, round %d, temperature %g, top_p %g, top_k %d, min_p %g: %d instead of %d", vocab, round, (double)sampling.temperature,
                     (double)sampling.top_p, sampling.top_k, (double)sampling.min_p, got, want);
    }
    suite_close(&s);
}

static void draws_follow_the_rule(void **state)
{
    check_rule(*state, 1, 1, 10);
    check_rule(*state, 2, 1, 50);
    check_rule(*state, 5, 2, 100);
    check_rule(*state, 160, 3, 300);
    check_rule(*state, 4099, 4, 100);
}

static void draws_follow_the_rule_over_the_whole_vocabulary(void **state) { check_rule(*state, 201088, 7, 16); }

/* ---- what does not matter ------------------------------------------------------------------------------------------ */

enum { ARRANGED = 33 };

/* Row i has slot i, seed 100 + i, position 50 + i; the rows go into steps of `chunk`, backwards if asked, in slots moved by `shift`. */
static void draw_arranged(void *backend, int shards, int threads, int chunk, bool backwards, int shift, int32_t *out)
{
    enum { VOCAB = 157 };
    suite s;
    suite_open_sampler(&s, backend, VOCAB, shards, threads);
    const float *logits = suite_logits(&s, ARRANGED, 3);
    float *arranged = suite_host(&s, ARRANGED * VOCAB * sizeof *arranged);
    for (int first = 0; first < ARRANGED; first += chunk) {
        ops_logit_row rows[ARRANGED];
        ops_token tokens[ARRANGED];
        int n = ARRANGED - first < chunk ? ARRANGED - first : chunk;
        for (int k = 0; k < n; k++) {
            int i = first + (backwards ? n - 1 - k : k), slot = (i + shift) % SUITE_SLOTS;
            ops_sampling sampling = suite_sampling(0.9f);
            sampling.seed = 100 + (uint64_t)i;
            sampling.top_p = i % 3 ? 1 : 0.8f;
            suite_slot(&s, slot, &sampling);
            rows[k] = (ops_logit_row){.slot = slot, .position = 50 + i, .target = -1, .top = i % 4 - 1};
            memcpy(arranged + k * VOCAB, logits + i * VOCAB, VOCAB * sizeof *logits);
        }
        suite_sample(&s, arranged, rows, n, tokens);
        for (int k = 0; k < n; k++) out[first + (backwards ? n - 1 - k : k)] = tokens[k].id;
    }
    suite_close(&s);
}

static void draws_depend_on_seed_position_and_logits_alone(void **state)
{
    int32_t want[ARRANGED], got[ARRANGED];
    draw_arranged(*state, 1, 1, 1, false, 0, want);
    const struct {
        int shards, threads, chunk;
        bool backwards;
        int shift;
    } ways[] = {{1, 1, ARRANGED, false, 0}, {1, 2, ARRANGED, true, 9}, {2, 2, 5, false, 60}, {3, 1, ARRANGED, true, 0}, {7, 2, 16, false, 1}, {64, 2, 3, true, 30}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        draw_arranged(*state, ways[i].shards, ways[i].threads, ways[i].chunk, ways[i].backwards, ways[i].shift, got);
        assert_memory_equal(got, want, sizeof got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_known_answers),
        cmocka_unit_test(greedy_takes_the_lowest_of_the_best_ids),
        cmocka_unit_test(odd_values_are_harmless),
        cmocka_unit_test(tiny_temperatures_are_greedy_but_among_equals),
        cmocka_unit_test(frequencies_match_the_chances),
        cmocka_unit_test(draws_are_independent),
        cmocka_unit_test(draws_follow_the_rule),
        cmocka_unit_test(draws_follow_the_rule_over_the_whole_vocabulary),
        cmocka_unit_test(draws_depend_on_seed_position_and_logits_alone),
    };
    return suite_main("sample", tests, sizeof tests / sizeof *tests);
}
