/* Every row has the same bits whatever else is in the batch: a small transformer generates from several prompts, each alone and whole, then
 * together, in chunks, in other slots, on one thread and on two; logits and ids must be equal to the last bit. */
#include "tests/kernels/suite_sampling.h"

#include <stdio.h>
#include <string.h>

enum { LAYERS = 2, PROMPTS = 5, DRAWN = 6, VOCAB = 157, HIDDEN = 96, EXPERTS = 6, TOP_K = 2, LONGEST = 300 };

static const int prompt_lengths[PROMPTS] = {1, 17, 40, 129, LONGEST};

typedef struct network {
    ops_weight embedding, norm, head;
    ops_layer layers[LAYERS];
    void *x, *normed, *delta, *q, *attn; /* device, SUITE_ROWS rows */
    int32_t *expert_ids;
    float *expert_weights, *logits;
} network;

/* What came out: the logits that each drawn id was drawn from, and the ids. */
typedef struct outcome {
    float logits[PROMPTS][DRAWN][VOCAB];
    int32_t ids[PROMPTS][DRAWN];
    int replayed; /* steps */
} outcome;

typedef struct arrangement {
    int threads, chunk; /* prompt tokens in a step, at most */
    bool together;      /* all prompts in the same steps */
    int shift;          /* of slots */
    bool recorded;      /* steps by record_begin, where the backend has it */
} arrangement;

static ops_weight placed(suite *s, suite_tensor t)
{
    SUITE_PLACE(s, &t);
    return t.placed;
}

static void make_layer(suite *s, int kind, ops_layer *l)
{
    const ops_shape *p = &s->shape;
    int q_size = p->q_heads * p->head_dim, kv_size = p->kv_heads * p->head_dim;
    suite_tensor q = suite_bf16(s, 1, q_size, HIDDEN, 0, 0.3), k = suite_bf16(s, 1, kv_size, HIDDEN, 0, 0.3), v = suite_bf16(s, 1, kv_size, HIDDEN, 0, 0.3);
    SUITE_PLACE(s, &q, &k, &v);
    suite_tensor q_bias = suite_bf16(s, 1, 1, q_size, 0, 1), k_bias = suite_bf16(s, 1, 1, kv_size, 0, 1), v_bias = suite_bf16(s, 1, 1, kv_size, 0, 1);
    SUITE_PLACE(s, &q_bias, &k_bias, &v_bias);
    size_t cache = (size_t)(suite_pool_blocks(s) * p->block_tokens * kv_size) * suite_activation_size(s);
    *l = (ops_layer){
        .kind = kind,
        .attn_norm = placed(s, suite_bf16(s, 1, 1, HIDDEN, 1, 0.3)),
        .q = q.placed, .k = k.placed, .v = v.placed,
        .q_bias = q_bias.placed, .k_bias = k_bias.placed, .v_bias = v_bias.placed,
        .sinks = placed(s, suite_bf16(s, 1, 1, p->q_heads, 0, 2)),
        .o = placed(s, suite_bf16(s, 1, HIDDEN, q_size, 0, 0.1)),
        .o_bias = placed(s, suite_bf16(s, 1, 1, HIDDEN, 0, 0.1)),
        .mlp_norm = placed(s, suite_bf16(s, 1, 1, HIDDEN, 1, 0.3)),
        .router = placed(s, suite_bf16(s, 1, EXPERTS, HIDDEN, 0, 0.3)),
        .router_bias = placed(s, suite_bf16(s, 1, 1, EXPERTS, 0, 1)),
        .gate_up = placed(s, suite_mxfp4(s, EXPERTS, 2 * p->intermediate, HIDDEN, 0.3)),
        .gate_up_bias = placed(s, suite_bf16(s, EXPERTS, 1, 2 * p->intermediate, 0, 1)),
        .down = placed(s, suite_mxfp4(s, EXPERTS, HIDDEN, p->intermediate, 0.3)),
        .down_bias = placed(s, suite_bf16(s, EXPERTS, 1, HIDDEN, 0, 0.5)),
        .k_cache = suite_device(s, cache), .v_cache = suite_device(s, cache),
    };
}

static void open_network(suite *s, network *n, void *backend, int threads)
{
    ops_shape shape = suite_shape();
    shape.vocab = shape.logit_shard_cols = shape.logit_count = VOCAB;
    shape.n_experts = shape.expert_count = EXPERTS;
    shape.top_k = TOP_K;
    shape.max_tokens = shape.max_expert_rows = SUITE_ROWS;
    suite_open(s, backend, &shape, threads);
    size_t rows = SUITE_ROWS * suite_activation_size(s), heads = (size_t)(shape.q_heads * shape.head_dim);
    n->embedding = placed(s, suite_bf16(s, 1, VOCAB, HIDDEN, 0, 1));
    n->norm = placed(s, suite_bf16(s, 1, 1, HIDDEN, 1, 0.3));
    n->head = placed(s, suite_bf16(s, 1, VOCAB, HIDDEN, 0, 0.3));
    for (int i = 0; i < LAYERS; i++) make_layer(s, i % 2 ? OPS_FULL : OPS_SLIDING, &n->layers[i]);
    n->x = suite_device(s, rows * HIDDEN);
    n->normed = suite_device(s, rows * HIDDEN);
    n->delta = suite_device(s, rows * HIDDEN);
    n->q = suite_device(s, rows * heads);
    n->attn = suite_device(s, rows * heads);
    n->expert_ids = suite_device(s, SUITE_ROWS * TOP_K * sizeof(int32_t));
    n->expert_weights = suite_device(s, SUITE_ROWS * TOP_K * sizeof(float));
    n->logits = suite_device(s, PROMPTS * VOCAB * sizeof(float));
}

static void forward(suite *s, network *n)
{
    const ops *o = s->ops;
    o->embed(s->c, &n->embedding, n->x);
    o->add_norm(s->c, s->n_rows, n->x, NULL, &n->layers[0].attn_norm, n->normed);
    for (int i = 0; i < LAYERS; i++) {
        const ops_layer *l = &n->layers[i];
        o->qkv(s->c, l, n->normed, n->q);
        o->attention(s->c, l, n->q, n->attn);
        o->attention_out(s->c, l, n->attn, n->delta);
        o->add_norm(s->c, s->n_rows, n->x, n->delta, &l->mlp_norm, n->normed);
        o->route(s->c, l, s->n_rows, n->normed, n->expert_ids, n->expert_weights);
        o->experts(s->c, l, s->n_rows, n->normed, n->expert_ids, n->expert_weights, n->delta);
        o->add_norm(s->c, s->n_rows, n->x, n->delta, i + 1 < LAYERS ? &n->layers[i + 1].attn_norm : &n->norm, n->normed);
    }
}

static void run_stages(suite *s, network *n, const arrangement *a, const ops_logit_row *rows, int wanted, outcome *out)
{
    ops_recording how = OPS_ISSUE;
    status_detail detail;
    if (a->recorded && s->ops->record_begin) assert_int_equal(s->ops->record_begin(s->c, rows, wanted, &how, &detail), STATUS_OK);
    out->replayed += how == OPS_REPLAYED;
    if (how == OPS_REPLAYED) return;
    forward(s, n);
    if (wanted) {
        s->ops->logits(s->c, &n->head, n->normed, rows, wanted, n->logits);
        s->ops->sample(s->c, n->logits, rows, wanted, 0);
    }
    if (how == OPS_RECORD) assert_int_equal(s->ops->record_end(s->c, &detail), STATUS_OK);
}

static int32_t prompt_token(int prompt, int position) { return (position * 31 + prompt * 57 + position * position % 13) % VOCAB; }

/* One step: the next chunk of each prompt in [first, last), or its next token. done counts the tokens computed so far. */
static void step(suite *s, network *n, const arrangement *a, int first, int last, int *done, outcome *out)
{
    suite_run runs[PROMPTS];
    int32_t ids[SUITE_ROWS];
    ops_logit_row rows[PROMPTS];
    int owners[PROMPTS], n_runs = 0, n_rows = 0, wanted = 0;
    for (int p = first; p < last; p++) {
        int rest = prompt_lengths[p] - done[p], drawn = done[p] - prompt_lengths[p] + 1;
        if (drawn >= DRAWN) continue;
        int count = rest <= 0 ? 1 : rest < a->chunk ? rest : a->chunk;
        runs[n_runs++] = (suite_run){(p + a->shift) % 6, done[p], count};
        for (int i = 0; i < count; i++) ids[n_rows++] = rest > 0 ? prompt_token(p, done[p] + i) : -1;
        done[p] += count;
        if (done[p] < prompt_lengths[p]) continue;
        owners[wanted] = p;
        rows[wanted++] = (ops_logit_row){.row = n_rows - 1, .slot = (p + a->shift) % 6, .position = done[p], .target = -1, .top = -1};
    }
    suite_begin(s, runs, n_runs, ids);
    run_stages(s, n, a, rows, wanted, out);
    if (wanted == 0) return;
    float logits[PROMPTS * VOCAB];
    ops_token tokens[PROMPTS];
    status_detail detail;
    suite_download(s, logits, n->logits, (size_t)wanted * VOCAB * sizeof(float));
    assert_int_equal(s->ops->results(s->c, 0, 0, wanted, tokens, &detail), STATUS_OK);
    for (int i = 0; i < wanted; i++) {
        int p = owners[i], at = done[p] - prompt_lengths[p];
        memcpy(out->logits[p][at], logits + i * VOCAB, sizeof out->logits[p][at]);
        out->ids[p][at] = tokens[i].id;
    }
}

static bool finished(const int *done, int first, int last)
{
    for (int p = first; p < last; p++)
        if (done[p] - prompt_lengths[p] + 1 < DRAWN) return false;
    return true;
}

static outcome *generate(suite *keep, void *backend, const arrangement *a)
{
    suite s;
    network n;
    outcome *out = suite_host(keep, sizeof *out);
    int done[PROMPTS] = {0};
    open_network(&s, &n, backend, a->threads);
    for (int p = 0; p < PROMPTS; p++) {
        ops_sampling sampling = suite_sampling(p % 2 ? 1 : 0);
        suite_slot(&s, (p + a->shift) % 6, &sampling);
    }
    for (int p = 0; p < PROMPTS; p += a->together ? PROMPTS : 1) {
        int last = a->together ? PROMPTS : p + 1;
        while (!finished(done, p, last)) step(&s, &n, a, p, last, done, out);
    }
    suite_close(&s);
    return out;
}

static void compare(const outcome *got, const outcome *want, const arrangement *a, const char *what)
{
    for (int p = 0; p < PROMPTS; p++)
        for (int k = 0; k < DRAWN; k++)
            if (memcmp(got->logits[p][k], want->logits[p][k], sizeof want->logits[p][k]) || got->ids[p][k] != want->ids[p][k])
                fail_msg("%s (%d threads, chunks of %d, %s): logits %d of the prompt of %d tokens differ", what, a->threads, a->chunk,
                         a->together ? "together" : "alone", k, prompt_lengths[p]);
}

/* Again and again the same, on every backend: a difference between runs is a race. */
static void runs_are_repeatable(void **state)
{
    static const arrangement ways[] = {{2, LONGEST, true, 0, false}, {2, 7, true, 5, false}, {2, LONGEST, false, 1, false}};
    suite keep;
    ops_shape shape = suite_shape();
    suite_open(&keep, *state, &shape, 1);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const outcome *want = generate(&keep, *state, &ways[i]);
        for (int again = 0; again < 3; again++) compare(generate(&keep, *state, &ways[i]), want, &ways[i], "run again");
    }
    suite_close(&keep);
}

/* A step that is recorded or replayed gives the bits of one that is issued. */
static void recordings_change_nothing(void **state)
{
    static const arrangement ways[] = {{2, LONGEST, true, 0, false}, {2, LONGEST, false, 1, false}};
    suite keep;
    ops_shape shape = suite_shape();
    suite_open(&keep, *state, &shape, 1);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        arrangement recorded = ways[i];
        recorded.recorded = true;
        const outcome *want = generate(&keep, *state, &ways[i]), *got = generate(&keep, *state, &recorded);
        compare(got, want, &recorded, "recorded steps");
        if (keep.ops->record_begin) assert_true(got->replayed >= DRAWN - 3); /* the prompt, seen once, recorded once; then replayed */
    }
    suite_close(&keep);
}

static void rows_do_not_depend_on_the_batch(void **state)
{
    static const arrangement ways[] = {
        {2, LONGEST, true, 0, false}, {1, LONGEST, true, 3, false}, {2, LONGEST, false, 1, false}, {1, 1, true, 0, false}, {2, 7, true, 5, false}, {2, 16, false, 0, false}, {1, 17, true, 2, false}, {2, 64, true, 4, false},
    };
    suite keep;
    ops_shape shape = suite_shape();
    suite_open(&keep, *state, &shape, 1);
    const outcome *want = generate(&keep, *state, &(arrangement){1, LONGEST, false, 0, false});
    for (size_t i = 0; i < sizeof ways / sizeof *ways && keep.caps.batch_invariant; i++)
        compare(generate(&keep, *state, &ways[i]), want, &ways[i], "another arrangement");
    int different = 0; /* the network does something: prompts and steps lead to different logits */
    for (int p = 0; p < PROMPTS; p++)
        for (int k = 1; k < DRAWN; k++) different += memcmp(want->logits[p][k], want->logits[p][k - 1], sizeof want->logits[p][k]) != 0;
    assert_int_equal(different, PROMPTS * (DRAWN - 1));
    suite_close(&keep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(runs_are_repeatable), cmocka_unit_test(recordings_change_nothing),
                                       cmocka_unit_test(rows_do_not_depend_on_the_batch)};
    return suite_main("batch_invariance", tests, sizeof tests / sizeof *tests);
}
