/* The whole distribution of every layout against Hugging Face in float32, on the checkpoint whose blocks add little to the residual: there rounding
 * stays rounding, so that backends of any precision must come close. KL per token, and the best id wherever the reference is not undecided.
 * The first argument names the backend (cpu). Runs under mpirun at any number of ranks; they share a GPU. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm.h"
#include "runtime/model/model.h"
#include "tests/model/golden.h"

static const double MAX_KL = 1e-3, GAP = 0.1;

enum { MAX_TOKENS = 4096, MAX_BLOCKS = 1024, MAX_VOCAB = 512 };

typedef struct figures {
    double kl;
    long positions, decided, wrong;
} figures;

static void require(status result, const status_detail *detail)
{
    if (result == STATUS_OK) return;
    fprintf(stderr, "%s\n", detail->text);
    exit(1);
}

/* Log-probabilities of all ids at `count` positions from `first` on: [count, vocab]. */
static void score(model *m, const golden_prompt *p, int first, int count, float *out)
{
    static int32_t positions[MAX_TOKENS], table[MAX_BLOCKS];
    static ops_logit_row rows[MAX_TOKENS];
    static ops_token results[MAX_TOKENS];
    status_detail detail;
    const int32_t slot = 0, start[2] = {0, p->n};
    for (int i = 0; i < p->n; i++) positions[i] = i;
    for (int i = 0; i < MAX_BLOCKS; i++) table[i] = i;
    for (int i = 0; i < count; i++)
        for (int id = 0; id < p->vocab; id++)
            rows[i * p->vocab + id] = (ops_logit_row){.row = p->positions[first + i], .position = p->positions[first + i] + 1, .target = id};
    model_step step = {.batch = {.n_tokens = p->n, .n_sequences = 1, .token_ids = p->ids, .positions = positions, .sequence_start = start, .slots = &slot,
                                 .block_tables = {table, table}, .table_stride = 1024 / model_block_tokens(m)},
                       .logit_rows = rows, .n_logit_rows = count * p->vocab, .max_group_tokens = p->n};
    require(model_forward(m, &step, &detail), &detail);
    require(model_results(m, 0, step.n_logit_rows, results, &detail), &detail);
    for (int i = 0; i < step.n_logit_rows; i++) out[i] = results[i].logprob;
}

static int best_of(const float *logprobs, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (logprobs[i] > logprobs[best]) best = i;
    return best;
}

static void compare(const float *want, const float *got, int vocab, figures *f)
{
    int best = best_of(want, vocab);
    float second = -INFINITY;
    for (int i = 0; i < vocab; i++) {
        f->kl += exp((double)want[i]) * ((double)want[i] - (double)got[i]);
        if (i != best && want[i] > second) second = want[i];
    }
    f->positions++;
    if (!((double)(want[best] - second) > GAP)) return;
    f->decided++;
    f->wrong += best_of(got, vocab) != best;
}

static bool run_layout(world *w, const char *backend, const golden *g, shard_layout layout)
{
    static float logprobs[MAX_TOKENS];
    model_options options = {.dir = g->dir, .layout = layout, .backend = backend, .share_gpu = true, .max_tokens = MAX_TOKENS, .max_sequences = 1};
    model *m;
    status_detail detail;
    bool good = true;
    require(model_open(w, &options, &m, &detail), &detail);
    int blocks = 1024 / model_block_tokens(m);
    require(model_kv_reserve(m, (int[]){blocks, blocks}, &detail), &detail);
    ops_sampling greedy = {.top_p = 1, .repetition_penalty = 1};
    require(model_slot_begin(m, 0, &greedy, NULL, 0, 0, &detail), &detail);
    for (int i = 0; i < g->n_prompts; i++) {
        const golden_prompt *p = &g->prompts[i];
        figures f = {0};
        int at_once = MAX_TOKENS / p->vocab;
        for (int first = 0; first < p->n_positions; first += at_once) {
            int count = p->n_positions - first < at_once ? p->n_positions - first : at_once;
            score(m, p, first, count, logprobs);
            for (int k = 0; k < count; k++) compare(p->whole + (size_t)(first + k) * (size_t)p->vocab, logprobs + k * p->vocab, p->vocab, &f);
        }
        bool fine = f.positions > 0 && f.kl / (double)f.positions < MAX_KL && f.kl > -MAX_KL && f.wrong == 0; /* NaN is not fine */
        if (!fine || world_rank(w) == 0)
            printf("attention %s experts %s, rank %d, prompt of %3d tokens: KL %.1e per token over %ld positions; best id wrong in %ld of %ld%s\n",
                   layout.attention == ATTENTION_TP ? "tp" : "dp", layout.experts == EXPERTS_TP ? "tp" : "ep", world_rank(w), p->n,
                   f.kl / (double)f.positions, f.positions, f.wrong, f.decided, fine ? "" : "  <-- FAILED");
        good = good && fine;
    }
    model_close(m);
    return good;
}

static void lost(void *user, int rank, bool speaks)
{
    (void)user;
    if (speaks) fprintf(stderr, "rank %d was lost\n", rank);
    _Exit(5);
}

int main(int argc, char **argv)
{
    static const shard_layout layouts[] = {{ATTENTION_TP, EXPERTS_TP}, {ATTENTION_TP, EXPERTS_EP}, {ATTENTION_DP, EXPERTS_TP}, {ATTENTION_DP, EXPERTS_EP}};
    world *w;
    golden g;
    status_detail detail;
    model_config config;
    require(world_open(lost, NULL, &w, &detail), &detail);
    if (!golden_open("gentle", &g) || !g.prompts[0].whole || g.prompts[0].vocab > MAX_VOCAB) {
        fprintf(stderr, "golden gentle cannot be read, or lacks whole distributions\n");
        return 1;
    }
    require(model_config_read(g.dir, &config, &detail), &detail);
    bool good = true;
    for (int i = 0; i < (world_size(w) == 1 ? 1 : 4); i++) {
        shard_plan plan;
        if (shard_plan_make(&config, layouts[i], 0, world_size(w), &plan, &detail) == STATUS_OK)
            good = run_layout(w, argc > 1 ? argv[1] : "cpu", &g, layouts[i]) && good;
    }
    golden_close(&g);
    world_close(w);
    return good ? 0 : 1;
}
