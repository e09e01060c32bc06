/* A decode step in one go against the stages that it stands for, of one sequence and of several: the same weights, caches and tokens, logits compared. Backends without such a
 * stage, and models that it does not serve, have nothing to test. */
#include "tests/kernels/suite.h"

#include <math.h>

enum { LAYERS = 4, STEPS = 6, COMPARED = 24, GREEDY_STEPS = 60, MAX_ROWS = 4 }; /* COMPARED: rows, in all steps of so many sequences */

typedef struct model {
    ops_layer layers[LAYERS];
    ops_weight embedding, final_norm, head;
    void *x, *normed, *delta, *q, *attn, *ids, *weights;
    float *logits;
} model;

/* Random values that the backend makes itself: full-size experts would take the host long. */
static ops_weight random_weight(ops_format format, int64_t batches, int64_t rows, int64_t cols, float mean, float deviation)
{
    return (ops_weight){.format = format, .batches = batches, .rows = rows, .cols = cols, .mean = mean, .deviation = deviation};
}

static void place(suite *s, ops_weight *w, int n, uint64_t seed)
{
    status_detail detail = {""};
    ops_weight host[3];
    for (int i = 0; i < n; i++) host[i] = w[i];
    if (s->ops->place(s->c, host, n, seed, w, &detail) != STATUS_OK) fail_msg("place: %s", detail.text);
}

/* A number for each place of a cache, the same on every backend, and exact in BF16. */
static double cache_value(uint64_t at)
{
    uint64_t z = (at + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 29)) * 0xbf58476d1ce4e5b9u;
    return (double)((int)(z >> 57) - 64) / 64;
}

static void *random_cache(suite *s, int kind, uint64_t seed)
{
    size_t row = (size_t)(s->shape.kv_heads * s->shape.head_dim), n = (size_t)(suite_pool_blocks(s) * s->shape.block_tokens) * row;
    double *values = suite_host(s, n * sizeof *values);
    for (int token = 0; token < s->shape.max_sequences * s->shape.max_positions; token++) {
        double *at = values + suite_pool_token(s, kind, token / s->shape.max_positions, token % s->shape.max_positions) * row;
        for (size_t i = 0; i < row; i++) at[i] = cache_value((seed << 40) + (uint64_t)token * row + i);
    }
    return suite_rows(s, values, n);
}

/* strength: of what the layer adds to the residual stream, about. */
static void make_layer(suite *s, ops_layer *l, int index, float strength)
{
    const ops_shape *p = &s->shape;
    int heads = p->q_heads * p->head_dim, kv = p->kv_heads * p->head_dim, h = p->hidden;
    uint64_t seed = (uint64_t)index * 16;
    float spread = 1 / sqrtf((float)h);
    ops_weight qkv[3] = {random_weight(OPS_BF16, 1, heads, h, 0, spread), random_weight(OPS_BF16, 1, kv, h, 0, spread), random_weight(OPS_BF16, 1, kv, h, 0, spread)};
    ops_weight bias[3] = {random_weight(OPS_BF16, 1, 1, heads, 0, 0.2f), random_weight(OPS_BF16, 1, 1, kv, 0, 0.2f), random_weight(OPS_BF16, 1, 1, kv, 0, 0.2f)};
    *l = (ops_layer){.kind = index % 2 ? OPS_FULL : OPS_SLIDING};
    place(s, qkv, 3, seed + 1);
    place(s, bias, 3, seed + 2);
    l->q = qkv[0], l->k = qkv[1], l->v = qkv[2];
    l->q_bias = bias[0], l->k_bias = bias[1], l->v_bias = bias[2];
    l->attn_norm = random_weight(OPS_BF16, 1, 1, h, 1, 0.2f);
    l->sinks = random_weight(OPS_BF16, 1, 1, p->q_heads, 0, 1);
    l->o = random_weight(OPS_BF16, 1, h, heads, 0, strength / sqrtf((float)heads));
    l->o_bias = random_weight(OPS_BF16, 1, 1, h, 0, 0.2f * strength);
    l->mlp_norm = random_weight(OPS_BF16, 1, 1, h, strength, 0.2f * strength);
    l->router = random_weight(OPS_BF16, 1, p->n_experts, h, 0, 4 * spread); /* clear choices: roundings must not turn them */
    l->router_bias = random_weight(OPS_BF16, 1, 1, p->n_experts, 0, 1);
    l->gate_up = random_weight(OPS_MXFP4, p->n_experts, 2 * p->intermediate, h, 0, 0);
    l->gate_up_bias = random_weight(OPS_BF16, p->n_experts, 1, 2 * p->intermediate, 0, 0.2f * strength);
    l->down = random_weight(OPS_MXFP4, p->n_experts, h, p->intermediate, 0, 0);
    l->down_bias = random_weight(OPS_BF16, p->n_experts, 1, h, 0, 0.2f * strength);
    ops_weight *const each[] = {&l->attn_norm, &l->sinks, &l->o, &l->o_bias, &l->mlp_norm, &l->router, &l->router_bias, &l->gate_up, &l->gate_up_bias, &l->down, &l->down_bias};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) place(s, each[i], 1, seed + 3 + i);
    l->k_cache = random_cache(s, l->kind, 2 * (uint64_t)index);
    l->v_cache = random_cache(s, l->kind, 2 * (uint64_t)index + 1);
}

static void make_model(suite *s, model *m, float strength)
{
    const ops_shape *p = &s->shape;
    status_detail detail = {""};
    size_t element = suite_activation_size(s), heads = (size_t)(p->q_heads * p->head_dim), hidden = (size_t)p->hidden;
    for (int i = 0; i < LAYERS; i++) make_layer(s, &m->layers[i], i, strength);
    m->embedding = random_weight(OPS_BF16, 1, p->vocab, p->hidden, 0, 1);
    m->final_norm = random_weight(OPS_BF16, 1, 1, p->hidden, 1, 0.2f);
    m->head = random_weight(OPS_BF16, 1, p->vocab, p->hidden, 0, 2 / sqrtf((float)p->hidden));
    place(s, &m->embedding, 1, 1001);
    place(s, &m->final_norm, 1, 1002);
    place(s, &m->head, 1, 1003);
    if (s->ops->place_end(s->c, &detail) != STATUS_OK) fail_msg("place_end: %s", detail.text);
    m->x = suite_device(s, MAX_ROWS * hidden * element);
    m->normed = suite_device(s, MAX_ROWS * hidden * element);
    m->delta = suite_device(s, MAX_ROWS * hidden * element);
    m->q = suite_device(s, MAX_ROWS * heads * element);
    m->attn = suite_device(s, MAX_ROWS * heads * element);
    m->ids = suite_device(s, MAX_ROWS * (size_t)p->top_k * sizeof(int32_t));
    m->weights = suite_device(s, MAX_ROWS * (size_t)p->top_k * sizeof(float));
    m->logits = suite_device(s, MAX_ROWS * (size_t)p->vocab * sizeof(float));
}

static void by_stages(suite *s, model *m)
{
    const ops *o = s->ops;
    int n = s->n_rows;
    ops_logit_row rows[MAX_ROWS];
    for (int i = 0; i < n; i++) rows[i] = (ops_logit_row){.row = i, .target = -1, .top = -1};
    o->embed(s->c, &m->embedding, m->x);
    o->add_norm(s->c, n, m->x, NULL, &m->layers[0].attn_norm, m->normed);
    for (int i = 0; i < LAYERS; i++) {
        const ops_layer *l = &m->layers[i];
        o->qkv(s->c, l, m->normed, m->q);
        o->attention(s->c, l, m->q, m->attn);
        o->attention_out(s->c, l, m->attn, m->delta);
        o->add_norm(s->c, n, m->x, m->delta, &l->mlp_norm, m->normed);
        o->route(s->c, l, n, m->normed, m->ids, m->weights);
        o->experts(s->c, l, n, m->normed, m->ids, m->weights, m->delta);
        o->add_norm(s->c, n, m->x, m->delta, i + 1 < LAYERS ? &m->layers[i + 1].attn_norm : &m->final_norm, m->normed);
    }
    o->logits(s->c, &m->head, m->normed, rows, n, m->logits);
}

/* [rows, vocab] */
static double *read_logits(suite *s, model *m)
{
    size_t n = (size_t)(s->n_rows * s->shape.vocab);
    float *values = suite_host(s, n * sizeof *values);
    double *out = suite_host(s, n * sizeof *out);
    suite_download(s, values, m->logits, n * sizeof *values);
    for (size_t i = 0; i < n; i++) out[i] = (double)values[i];
    return out;
}

/* How far `got` is from `want`, relative, as vectors. */
static double distance(const double *got, const double *want, int n)
{
    double difference = 0, size = 0;
    for (int i = 0; i < n; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    return sqrt(difference / size);
}

/* Begins step `step` of n sequences, each at another position, with other tokens. */
static void begin(suite *s, int step, int n, const int *at)
{
    suite_run runs[MAX_ROWS];
    int32_t ids[MAX_ROWS];
    for (int i = 0; i < n; i++) {
        runs[i] = (suite_run){i, at[(step + i) % STEPS] / (1 + step / STEPS), 1};
        ids[i] = 31 * step + 211 * i + 3;
    }
    suite_begin(s, runs, n, ids);
}

/* How far rows were from the truth: of the step in one go, by the stages. */
typedef struct tally {
    int rows, far, stages_far; /* far: further than roundings take it that turn no expert's choice */
    double log_ratio;          /* sum over the rows */
} tally;

/* Through several layers roundings grow, and differ from one order of sums to another. So the truth is the CPU's F32, and the step in one go may be no further from it than
 * the stages are (check_tally). A rounding may turn the choice of an expert whose logit is next to another's, in the stages as well: that row is then far from the truth. */
static void compare(suite *s, model *m, int sequences, const int *positions, tally *t)
{
    suite cpu;
    model truth;
    int vocab = s->shape.vocab;
    double bound = LAYERS * s->tolerance;
    suite_open(&cpu, (void *)ops_find("cpu"), &s->shape, 0);
    make_model(&cpu, &truth, 1);
    for (int step = 0; step < COMPARED / sequences; step++) {
        begin(&cpu, step, sequences, positions);
        by_stages(&cpu, &truth);
        double *want = read_logits(&cpu, &truth);
        begin(s, step, sequences, positions);
        by_stages(s, m);
        double *by_stage = read_logits(s, m);
        s->ops->decode(s->c, m->logits);
        double *at_once = read_logits(s, m);
        for (int i = 0; i < sequences * vocab; i += vocab) {
            double far = distance(at_once + i, want + i, vocab), stage_far = distance(by_stage + i, want + i, vocab);
            t->far += !(far <= bound);
            t->stages_far += !(stage_far <= bound);
            t->log_ratio += log(far / stage_far);
            t->rows++;
        }
    }
    suite_close(&cpu);
}

static void check_tally(const tally *t)
{
    double ratio = exp(t->log_ratio / t->rows);
    print_message("%.3f times as far from F32 as the stages; far are %d and %d of %d rows\n", ratio, t->far, t->stages_far, t->rows);
    assert_true(ratio <= 1.2);
    assert_true(t->far <= t->stages_far + t->rows / 24);
}

static int best_of(const double *logits, int n, double *gap)
{
    int best = 0;
    double second = -INFINITY;
    for (int i = 1; i < n; i++) {
        if (logits[i] > logits[best]) {
            second = logits[best];
            best = i;
        } else if (logits[i] > second) {
            second = logits[i];
        }
    }
    *gap = logits[best] - second;
    return best;
}

/* Of softmax(got) from softmax(want). */
static double divergence(const double *got, const double *want, int n)
{
    double got_sum = 0, want_sum = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        got_sum += exp(got[i]);
        want_sum += exp(want[i]);
    }
    for (int i = 0; i < n; i++) sum += exp(want[i]) / want_sum * (want[i] - got[i]);
    return sum - log(want_sum) + log(got_sum);
}

/* Where layers add little to the residual stream, so that a rounding that turns an expert's choice does not decide the token: the greedy token of the step in one go
 * is that of the stages wherever the best two are further apart than BF16 can tell. */
static void compare_greedy(suite *s, model *m, int sequences, const int *positions, tally *unused_tally)
{
    (void)unused_tally;
    const double TIE = 0.1, MAX_DIVERGENCE = 1e-3;
    int decided = 0, vocab = s->shape.vocab;
    double worst = 0;
    for (int step = 0; step < GREEDY_STEPS; step++) {
        double gap, unused;
        begin(s, step, sequences, positions);
        by_stages(s, m);
        double *want = read_logits(s, m);
        s->ops->decode(s->c, m->logits);
        double *got = read_logits(s, m);
        for (int i = 0; i < sequences * vocab; i += vocab) {
            int token = best_of(want + i, vocab, &gap), other = best_of(got + i, vocab, &unused);
            worst = fmax(worst, divergence(got + i, want + i, vocab));
            decided += gap > TIE;
            if (gap > TIE && token != other) fail_msg("step %d, sequence %d: token %d, not %d, which is %.3f ahead", step, i / vocab, other, token, gap);
        }
    }
    print_message("%d of %d greedy tokens decided, all the same; largest KL divergence %.1e\n", decided, sequences * GREEDY_STEPS, worst);
    assert_true(decided >= sequences * GREEDY_STEPS / 3);
    assert_true(worst <= MAX_DIVERGENCE);
}

typedef void comparison(suite *s, model *m, int sequences, const int *positions, tally *t);

/* Steps of n sequences; false if the backend does not take so many in one go. */
static bool check_sequences(void *backend, const ops_shape *shape, int n, const int *positions, float strength, comparison *compare_with, tally *t)
{
    suite s;
    model m;
    int max_rows = 0;
    status_detail detail = {""};
    suite_open(&s, backend, shape, 0);
    if (s.ops->decode_open) {
        make_model(&s, &m, strength);
        ops_stack stack = {LAYERS, m.layers, m.embedding, m.final_norm, m.head};
        if (s.ops->decode_open(s.c, &stack, &max_rows, &detail) != STATUS_OK) fail_msg("decode_open: %s", detail.text);
    }
    assert_in_range(max_rows, 0, MAX_ROWS); /* else some are not tested */
    if (n <= max_rows) compare_with(&s, &m, n, positions, t);
    suite_close(&s);
    return n <= max_rows;
}

static void check(void *backend, ops_shape shape, const int *positions, float strength, comparison *compare_with)
{
    int n = 0;
    tally t = {0};
    shape.expert_count = shape.n_experts;
    shape.logit_shard_cols = shape.logit_count = shape.vocab;
    shape.head_dim = 64;
    shape.max_positions = 4096;
    shape.max_sequences = MAX_ROWS;
    shape.max_tokens = shape.max_expert_rows = 8;
    while (n < MAX_ROWS && check_sequences(backend, &shape, n + 1, positions, strength, compare_with, &t)) n++;
    if (t.rows) check_tally(&t);
    if (n == 0) skip(); /* counted and shown: where a backend should have the stage, this is a failure to look at */
}

static const int positions[STEPS] = {0, 1, 40, 300, 1023, 4095};

static void odd_sizes(void **state)
{
    ops_shape shape = suite_shape();
    shape.hidden = 448;
    shape.q_heads = 6;
    shape.kv_heads = 3;
    shape.n_experts = 12;
    shape.top_k = 3;
    shape.intermediate = 352;
    shape.vocab = 1031;
    shape.sliding_window = 37;
    check(*state, shape, positions, 1, compare);
}

static ops_shape real_shape(void)
{
    ops_shape shape = suite_shape();
    shape.hidden = shape.intermediate = 2880;
    shape.q_heads = 64;
    shape.kv_heads = 8;
    shape.n_experts = 8;
    shape.top_k = 4;
    shape.vocab = 20011;
    shape.sliding_window = 128;
    return shape;
}

static void the_real_widths(void **state) { check(*state, real_shape(), positions, 1, compare); }
static void greedy_tokens(void **state) { check(*state, real_shape(), positions, 0.05f, compare_greedy); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_sizes),
        cmocka_unit_test(the_real_widths),
        cmocka_unit_test(greedy_tokens),
    };
    return suite_main("decode", tests, sizeof tests / sizeof *tests);
}
