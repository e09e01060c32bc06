/* The steps that benchmarks launch, seen by a model that is played here: it notes for every place in its KV cache whose key was written there,
 * and checks that each token finds the keys it may look at, its own sequence's and no others. */
#include <stdlib.h>
#include <string.h>

#include "launch/bench_sequences.h"
#include "tests/unit/cmocka_headers.h"

enum { BLOCK = 4, MAX_PLACES = 1 << 16 };

typedef struct key {
    int slot, position, generation; /* of the sequence in that slot */
} key;

struct model {
    model_config config;
    shard_plan plan;
    bool asynchronous, poisoned; /* poisoned: something was wrong */
    int max_tokens;
    int blocks[OPS_KV_KINDS];
    key cache[OPS_KV_KINDS][MAX_PLACES];
    int generation[64];
    bool begun[64], drew[64];
    int forwards, last_tokens, last_most, results, due, most_due;
    int64_t tokens;
    int draw_key;
};

/* ---- the model --------------------------------------------------------------------------------------------------- */

const model_config *model_get_config(const model *m) { return &m->config; }
const shard_plan *model_get_plan(const model *m) { return &m->plan; }
void model_get_caps(const model *m, ops_caps *out) { *out = (ops_caps){.name = "played", .asynchronous = m->asynchronous}; }
int model_block_tokens(const model *m) { return (void)m, BLOCK; }
int64_t model_kv_block_bytes(const model *m, int kind) { return (void)m, kind == OPS_FULL ? 1000 : 1; }

status model_kv_reserve(model *m, const int blocks[OPS_KV_KINDS], status_detail *detail)
{
    (void)detail;
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        m->blocks[kind] = blocks[kind];
        assert_true(blocks[kind] * BLOCK <= MAX_PLACES);
    }
    return STATUS_OK;
}

status model_slot_begin(model *m, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated, status_detail *detail)
{
    (void)ids, (void)n_ids, (void)n_generated, (void)detail;
    assert_true(sampling->top_p == 1 && sampling->repetition_penalty == 1);
    m->begun[slot] = true;
    return STATUS_OK;
}

static key *place(model *m, const ops_batch *b, int sequence, int kind, int position)
{
    int logical = position / BLOCK;
    assert_true(logical < b->table_stride);
    int block = b->block_tables[kind][sequence * b->table_stride + logical];
    assert_true(block >= 0 && block < m->blocks[kind]);
    return &m->cache[kind][block * BLOCK + position % BLOCK];
}

static void check_token(model *m, const ops_batch *b, int sequence, int position)
{
    int slot = b->slots[sequence];
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        int first = kind == OPS_SLIDING ? position - m->config.sliding_window + 1 : 0;
        for (int p = first > 0 ? first : 0; p <= position; p++) {
            const key *k = place(m, b, sequence, kind, p);
            if (k->slot != slot || k->position != p || k->generation != m->generation[slot]) m->poisoned = true;
        }
    }
}

static void write_sequence(model *m, const ops_batch *b, int sequence)
{
    int start = b->sequence_start[sequence], end = b->sequence_start[sequence + 1], slot = b->slots[sequence];
    assert_true(m->begun[slot]);
    if (b->positions[start] == 0) m->generation[slot]++;
    for (int i = start; i < end; i++) {
        assert_int_equal(b->positions[i], b->positions[start] + i - start);
        assert_true(b->token_ids[i] < m->config.vocab);
        if (b->token_ids[i] < 0) assert_true(b->token_ids[i] == -1 && m->drew[slot]);
        for (int kind = 0; kind < OPS_KV_KINDS; kind++)
            *place(m, b, sequence, kind, b->positions[i]) = (key){slot, b->positions[i], m->generation[slot]};
    }
}

status model_forward(model *m, const model_step *step, status_detail *detail)
{
    const ops_batch *b = &step->batch;
    (void)detail;
    assert_true(b->n_tokens <= m->max_tokens && b->n_tokens <= step->max_group_tokens);
    /* As in a layer: all keys are written before any is looked at. */
    for (int i = 0; i < b->n_sequences; i++) write_sequence(m, b, i);
    for (int i = 0; i < b->n_sequences; i++)
        for (int row = b->sequence_start[i]; row < b->sequence_start[i + 1]; row++) check_token(m, b, i, b->positions[row]);
    for (int i = 0; i < step->n_logit_rows; i++) {
        const ops_logit_row *row = &step->logit_rows[i];
        assert_true(row->row < b->n_tokens && row->target == -1 && row->top == -1);
        m->drew[row->slot] = true;
        m->draw_key = row->position;
    }
    m->forwards++;
    m->tokens += b->n_tokens;
    m->last_tokens = b->n_tokens;
    m->last_most = step->max_group_tokens;
    if (++m->due > m->most_due) m->most_due = m->due;
    return STATUS_OK;
}

status model_results(model *m, int ago, int n, ops_token *out, status_detail *detail)
{
    (void)out, (void)n, (void)detail;
    assert_int_equal(ago, m->due - 1);
    m->due--;
    m->results++;
    return STATUS_OK;
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

static status_detail detail;

static model *played(int window, bool asynchronous, int max_tokens)
{
    model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->config = (model_config){.sliding_window = window, .vocab = 50};
    m->asynchronous = asynchronous;
    m->max_tokens = max_tokens;
    return m;
}

static bench_sequences *open_sequences(model *m, bench_shape shape)
{
    bench_sequences *s;
    assert_int_equal(bench_sequences_open(m, &shape, &s, &detail), STATUS_OK);
    return s;
}

static void decode_steps(model *m, bench_sequences *s, int rows, int steps)
{
    bench_sequences_start_decode(s, rows, rows);
    for (int i = 0; i < steps; i++) {
        int before = m->draw_key;
        assert_int_equal(bench_sequences_decode(s, &detail), STATUS_OK);
        assert_int_equal(m->last_tokens, rows);
        if (i > 0) assert_int_not_equal(m->draw_key, before);
    }
    assert_int_equal(bench_sequences_drain(s, &detail), STATUS_OK);
    assert_int_equal(m->due, 0);
}

/* Contexts at, under and over edges of blocks, windows and steps; batches that grow, as a benchmark's do. */
static void every_token_finds_its_keys(void **state)
{
    (void)state;
    static const int contexts[] = {2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 64, 65, 100}, windows[] = {1, 3, 4, 7, 16, 200}, limits[] = {7, 16, 33, 130};
    for (int c = 0; c < 14; c++)
        for (int w = 0; w < 6; w++)
            for (int t = 0; t < 4; t++) {
                model *m = played(windows[w], w % 2, limits[t]);
                bench_sequences *s = open_sequences(m, (bench_shape){.slots = 7, .context = contexts[c], .prompt = 90, .max_tokens = limits[t]});
                for (int rows = 1; rows <= 7; rows += 3) {
                    assert_int_equal(bench_sequences_fill(s, rows, &detail), STATUS_OK);
                    decode_steps(m, s, rows, 3);
                }
                assert_int_equal(m->tokens, 7 * (contexts[c] - 1) + 3 * (1 + 4 + 7));
                for (int n = 1; n <= 90; n += 29) assert_int_equal(bench_sequences_prefill(s, n, &detail), STATUS_OK);
                if (m->poisoned) fail_msg("context %d, window %d, %d tokens a step: foreign keys", contexts[c], windows[w], limits[t]);
                bench_sequences_close(s);
                free(m);
            }
}

static void short_contexts_fill_together(void **state)
{
    (void)state;
    model *m = played(4, false, 100);
    bench_sequences *s = open_sequences(m, (bench_shape){.slots = 12, .context = 20, .max_tokens = 100});
    assert_int_equal(bench_sequences_fill(s, 12, &detail), STATUS_OK);
    assert_int_equal(m->forwards, 3); /* five, five and two */
    assert_int_equal(bench_sequences_fill(s, 12, &detail), STATUS_OK);
    assert_int_equal(m->forwards, 3);
    bench_sequences_close(s);
    free(m);
}

static void steps_run_ahead_where_the_backend_does(void **state)
{
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        model *m = played(4, ahead, 8);
        bench_sequences *s = open_sequences(m, (bench_shape){.slots = 1, .context = 9, .prompt = 64, .max_tokens = 8});
        assert_int_equal(bench_sequences_fill(s, 1, &detail), STATUS_OK);
        decode_steps(m, s, 1, 5);
        assert_int_equal(bench_sequences_prefill(s, 64, &detail), STATUS_OK);
        assert_int_equal(m->most_due, 1 + ahead);
        assert_int_equal(m->results, m->forwards);
        bench_sequences_close(s);
        free(m);
    }
}

static void a_group_without_sequences_still_steps(void **state)
{
    (void)state;
    model *m = played(4, true, 8);
    bench_sequences *s = open_sequences(m, (bench_shape){.slots = 1, .context = 9, .max_tokens = 8});
    assert_int_equal(bench_sequences_fill(s, 1, &detail), STATUS_OK);
    int before = m->forwards;
    bench_sequences_start_decode(s, 0, 1);
    assert_int_equal(bench_sequences_decode(s, &detail), STATUS_OK);
    assert_int_equal(m->forwards, before + 1);
    assert_int_equal(m->last_tokens, 0);
    assert_int_equal(m->last_most, 1);
    assert_int_equal(bench_sequences_drain(s, &detail), STATUS_OK);
    bench_sequences_close(s);
    free(m);
}

/* 32 sequences of 100 tokens, window 7: 25 blocks each in full layers; in sliding ones keys 93..99 lie in blocks 23 and 24; and a ring. */
static void memory_is_what_the_shape_needs(void **state)
{
    (void)state;
    model *m = played(7, false, 16);
    bench_shape shape = {.slots = 32, .context = 100, .prompt = 0, .max_tokens = 16};
    int ring = 7; /* a chunk of 16 and 6 keys before it */
    assert_int_equal(bench_sequences_bytes(m, &shape), 32 * 25 * 1000 + 32 * 2 + ring);
    shape.prompt = 5000; /* longer than all sequences together */
    assert_int_equal(bench_sequences_bytes(m, &shape), 1250 * 1000 + 32 * 2 + ring);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_token_finds_its_keys),
        cmocka_unit_test(short_contexts_fill_together),
        cmocka_unit_test(steps_run_ahead_where_the_backend_does),
        cmocka_unit_test(a_group_without_sequences_still_steps),
        cmocka_unit_test(memory_is_what_the_shape_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
