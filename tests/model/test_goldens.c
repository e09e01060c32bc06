/* The model of every layout against Hugging Face in float32: log-probabilities and greedy continuations of tests/data/goldens
 * (made by tests/data/make_goldens.py). Runs under mpirun at any number of ranks; layouts that a checkpoint cannot have are told.
 *
 * The first argument names the backend (cpu). One that computes in BF16 is held against Hugging Face's own BF16 run instead: it may be no further
 * from the float32 run than that. Random checkpoints are chaotic: rounding flips the routing of a row now and then, in either run, and one such row
 * outweighs the rest of its checkpoint. So the mean is taken over all of them; a single one may be worse by ONE_FACTOR. Ranks share a GPU. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm.h"
#include "runtime/model/model.h"
#include "tests/model/golden.h"

/* Float32 rounding alone gives up to 1e-4 in a log-probability; a wrong epsilon already shows above this. */
static const double MAX_ERROR = 2e-4, MEAN_ERROR = 2e-5;
/* BF16: both runs round, differently; routing near a tie goes either way in both. */
static const double BF16_FACTOR = 1.1, ONE_FACTOR = 2, BF16_GREEDY_GAP = 1.0;

enum { MAX_TOKENS = 4096, MAX_PROMPTS = 8, KV_TOKENS = 4096 };

typedef enum feeding { WHOLE, CHUNKED, BATCHED, FEEDINGS } feeding;
static const char *const feeding_names[] = {"whole", "chunked", "batched"};
enum { CHUNK = 48, LAYOUTS = 4 };

typedef struct errors {
    double worst, sum;
    double yardstick; /* sum of the errors that Hugging Face's BF16 run has at the same places */
    long count, greedy, greedy_wrong;
} errors;

typedef struct run {
    world *world;
    bool exact; /* the backend computes in float32 */
    model *model;
    const golden *golden;
    int table_stride;
    int32_t *tables; /* [MAX_PROMPTS, table_stride]: every prompt has blocks of its own */
    errors errors;
    status_detail detail;
} run;

static void fail(run *r, const char *what)
{
    fprintf(stderr, "rank %d: %s: %s: %s\n", world_rank(r->world), r->golden->name, what, r->detail.text);
    exit(1);
}

/* A part of a prompt (or one decoded token, start == n) for one sequence of a step. */
typedef struct segment {
    int prompt, start, count;
} segment;

static int32_t token_at(const golden_prompt *p, int position) { return position < p->n ? p->ids[position] : -1; }

/* Appends the golden rows whose positions lie in the part; a part that ends the prompt or decodes also draws one token. */
static int add_logit_rows(const golden_prompt *p, const segment *part, int first_row, ops_logit_row *rows, int n)
{
    for (int i = 0; i < p->n_positions; i++) {
        int at = p->positions[i] - part->start;
        if (at < 0 || at >= part->count) continue;
        for (int t = 0; t < GOLDEN_TARGETS; t++)
            rows[n++] = (ops_logit_row){.row = first_row + at, .slot = part->prompt, .position = p->positions[i] + 1,
                                        .target = p->targets[i * GOLDEN_TARGETS + t]};
    }
    int end = part->start + part->count;
    if (end >= p->n) rows[n++] = (ops_logit_row){.row = first_row + part->count - 1, .slot = part->prompt, .position = end, .target = -1};
    return n;
}

static void check_results(run *r, const golden_prompt *p, const segment *part, const ops_token **token)
{
    for (int i = 0; i < p->n_positions; i++) {
        int at = p->positions[i] - part->start;
        if (at < 0 || at >= part->count) continue;
        for (int t = 0; t < GOLDEN_TARGETS; t++, (*token)++) {
            double error = fabs((double)(*token)->logprob - (double)p->logprobs[i * GOLDEN_TARGETS + t]);
            if (!(error <= r->errors.worst)) r->errors.worst = error; /* NaN counts as worst */
            r->errors.sum += error;
            r->errors.yardstick += p->bf16_error;
            r->errors.count++;
        }
    }
    int end = part->start + part->count;
    if (end < p->n) return;
    int step = end - p->n;
    bool decided = step < p->n_greedy;
    for (int i = 0; i <= step && decided; i++) decided = (double)p->gaps[i] > (r->exact ? MAX_ERROR : BF16_GREEDY_GAP); /* after a near tie nothing is promised */
    if (decided) {
        r->errors.greedy++;
        r->errors.greedy_wrong += (*token)->id != p->greedy[step];
    }
    (*token)++;
}

/* Runs the parts of this rank's group as one step; `longest` is the largest group's tokens. */
static void run_step(run *r, const segment *parts, int n_parts, int longest)
{
    static int32_t ids[MAX_TOKENS], positions[MAX_TOKENS], starts[MAX_PROMPTS + 1], slots[MAX_PROMPTS];
    static int32_t tables[MAX_PROMPTS * KV_TOKENS];
    static ops_logit_row rows[MAX_TOKENS];
    static ops_token results[MAX_TOKENS];
    int n = 0, n_rows = 0;
    for (int i = 0; i < n_parts; i++) {
        const golden_prompt *p = &r->golden->prompts[parts[i].prompt];
        starts[i] = n;
        slots[i] = parts[i].prompt;
        memcpy(tables + i * r->table_stride, r->tables + parts[i].prompt * r->table_stride, (size_t)r->table_stride * sizeof *tables);
        n_rows = add_logit_rows(p, &parts[i], n, rows, n_rows);
        for (int j = 0; j < parts[i].count; j++, n++) {
            ids[n] = token_at(p, parts[i].start + j);
            positions[n] = parts[i].start + j;
        }
    }
    starts[n_parts] = n;
    model_step step = {.batch = {.n_tokens = n, .n_sequences = n_parts, .token_ids = ids, .positions = positions, .sequence_start = starts,
                                 .slots = slots, .block_tables = {tables, tables}, .table_stride = r->table_stride},
                       .logit_rows = rows, .n_logit_rows = n_rows, .max_group_tokens = longest};
    if (model_forward(r->model, &step, &r->detail) != STATUS_OK) fail(r, "forward");
    if (n_rows && model_results(r->model, 0, n_rows, results, &r->detail) != STATUS_OK) fail(r, "results");
    const ops_token *token = results;
    for (int i = 0; i < n_parts; i++) check_results(r, &r->golden->prompts[parts[i].prompt], &parts[i], &token);
}

static int min_int(int a, int b) { return a < b ? a : b; }

/* Groups work on different prompts at the same time, so that a group without tokens meets groups that have some. */
static void run_alone(run *r, int chunk)
{
    const shard_plan *plan = model_get_plan(r->model);
    int prompts = r->golden->n_prompts;
    for (int round = 0; round < prompts; round++) {
        bool work = true;
        int my_prompt = (round + plan->dp_rank) % prompts;
        for (int at = 0; work; at += chunk) {
            int longest = 0, mine = 0;
            for (int g = 0; g < plan->dp; g++) {
                int rest = r->golden->prompts[(round + g) % prompts].n - at;
                int take = min_int(chunk, rest > 0 ? rest : 0);
                longest = take > longest ? take : longest;
                if (g == plan->dp_rank) mine = take;
            }
            work = longest > 0;
            segment p = {my_prompt, at, mine};
            if (work) run_step(r, &p, mine > 0, longest);
        }
        for (int i = 0; i + 1 < GOLDEN_GREEDY; i++) {
            segment p = {my_prompt, r->golden->prompts[my_prompt].n + i, 1};
            run_step(r, &p, 1, 1);
        }
    }
}

/* All prompts as sequences of one step, on every group. */
static void run_batched(run *r)
{
    segment parts[MAX_PROMPTS];
    int total = 0, prompts = r->golden->n_prompts;
    for (int i = 0; i < prompts; i++) {
        parts[i] = (segment){i, 0, r->golden->prompts[i].n};
        total += parts[i].count;
    }
    run_step(r, parts, prompts, total);
    for (int g = 0; g + 1 < GOLDEN_GREEDY; g++) {
        for (int i = 0; i < prompts; i++) parts[i] = (segment){i, r->golden->prompts[i].n + g, 1};
        run_step(r, parts, prompts, prompts);
    }
}

static void prepare_model(run *r)
{
    int block = model_block_tokens(r->model), per_prompt = (1024 + block - 1) / block;
    int blocks[OPS_KV_KINDS] = {per_prompt * r->golden->n_prompts, per_prompt * r->golden->n_prompts};
    if (model_kv_reserve(r->model, blocks, &r->detail) != STATUS_OK) fail(r, "KV cache");
    r->table_stride = per_prompt;
    /* neighbours in a sequence are not neighbours in the pool */
    for (int i = 0; i < r->golden->n_prompts; i++)
        for (int j = 0; j < per_prompt; j++) r->tables[i * per_prompt + j] = j * r->golden->n_prompts + i;
    static ops_sampling greedy;
    greedy = (ops_sampling){.top_p = 1, .repetition_penalty = 1};
    for (int i = 0; i < r->golden->n_prompts; i++)
        if (model_slot_begin(r->model, i, &greedy, NULL, 0, 0, &r->detail) != STATUS_OK) fail(r, "slot");
}

/* Returns whether the layout's figures hold; collective. */
static bool within(const run *r)
{
    const errors *e = &r->errors;
    if (e->count == 0 || e->greedy_wrong > 0) return false;
    if (!r->exact) return e->sum <= ONE_FACTOR * e->yardstick;
    return e->greedy > 0 && e->worst <= MAX_ERROR && e->sum / (double)e->count <= MEAN_ERROR;
}

/* Over all checkpoints, of a backend that is not exact. */
typedef struct totals {
    double sum, yardstick;
} totals;

static bool run_layout(world *w, const char *backend, const golden *g, shard_layout layout, const char *name, totals all[FEEDINGS])
{
    static int32_t tables[MAX_PROMPTS * KV_TOKENS];
    run r = {.world = w, .golden = g, .tables = tables};
    model_options options = {.dir = g->dir, .layout = layout, .backend = backend, .share_gpu = true, .max_tokens = MAX_TOKENS, .max_sequences = MAX_PROMPTS};
    bool good = true;
    for (feeding f = WHOLE; f < FEEDINGS; f++) {
        if (f == CHUNKED && world_size(w) > 1) continue; /* where a prompt is cut is the same matter on one rank; time is short on two cores */
        if (model_open(w, &options, &r.model, &r.detail) != STATUS_OK) fail(&r, "open");
        ops_caps caps;
        model_get_caps(r.model, &caps);
        r.exact = caps.activation == DTYPE_F32;
        prepare_model(&r);
        r.errors = (errors){0};
        if (f == BATCHED)
            run_batched(&r);
        else
            run_alone(&r, f == WHOLE ? MAX_TOKENS : CHUNK);
        model_close(r.model);
        const errors *e = &r.errors;
        bool fine = within(&r);
        if (!fine || world_rank(w) == 0)
            printf("%-12s %-22s %-8s rank %d: %6ld values, worst %.1e, mean %.1e (BF16 of the reference: %.1e); %ld greedy tokens, %ld wrong%s\n", g->name, name,
                   feeding_names[f], world_rank(w), e->count, e->worst, e->sum / (double)(e->count ? e->count : 1),
                   e->yardstick / (double)(e->count ? e->count : 1), e->greedy,
                   e->greedy_wrong, fine ? "" : "  <-- FAILED");
        good = good && fine;
        all[f].sum += r.exact ? 0 : e->sum;
        all[f].yardstick += r.exact ? 0 : e->yardstick;
    }
    return good;
}

static const struct {
    shard_layout layout;
    const char *name;
} layouts[LAYOUTS] = {{{ATTENTION_TP, EXPERTS_TP}, "attention tp experts tp"}, {{ATTENTION_TP, EXPERTS_EP}, "attention tp experts ep"},
                      {{ATTENTION_DP, EXPERTS_TP}, "attention dp experts tp"}, {{ATTENTION_DP, EXPERTS_EP}, "attention dp experts ep"}};

static bool check_totals(const world *w, totals all[LAYOUTS][FEEDINGS])
{
    bool good = true;
    for (int i = 0; i < LAYOUTS; i++)
        for (feeding f = WHOLE; f < FEEDINGS; f++) {
            if (all[i][f].yardstick <= 0) continue;
            double times = all[i][f].sum / all[i][f].yardstick;
            bool fine = times <= BF16_FACTOR;
            if (!fine || world_rank(w) == 0)
                printf("all checkpoints %-22s %-8s rank %d: %.2f times the reference's BF16 error%s\n", layouts[i].name, feeding_names[f], world_rank(w),
                       times, fine ? "" : "  <-- FAILED");
            good = good && fine;
        }
    return good;
}

static bool run_golden(world *w, const char *backend, const golden *g, totals all[LAYOUTS][FEEDINGS])
{
    model_config config;
    status_detail detail;
    bool good = model_config_read(g->dir, &config, &detail) == STATUS_OK;
    int n_layouts = world_size(w) == 1 ? 1 : LAYOUTS; /* alone, all layouts are the same */
    for (int i = 0; i < n_layouts && good; i++) {
        shard_plan plan;
        if (shard_plan_make(&config, layouts[i].layout, 0, world_size(w), &plan, &detail) != STATUS_OK) {
            if (world_rank(w) == 0) printf("%-12s %-22s impossible: %s\n", g->name, layouts[i].name, detail.text);
            continue;
        }
        good = run_layout(w, backend, g, layouts[i].layout, layouts[i].name, all[i]);
    }
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
    world *w;
    status_detail detail;
    if (world_open(lost, NULL, &w, &detail) != STATUS_OK) {
        fprintf(stderr, "%s\n", detail.text);
        return 1;
    }
    bool good = true;
    int found = 0;
    totals all[LAYOUTS][FEEDINGS] = {0};
    static const char *const names[] = {"plain", "long", "odd_hidden", "wide_experts", "one_kv_head", "plain_rope", "gentle"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        golden g;
        if (!golden_open(names[i], &g)) {
            fprintf(stderr, "golden %s cannot be read\n", names[i]);
            return 1;
        }
        good = run_golden(w, argc > 1 ? argv[1] : "cpu", &g, all) && good;
        golden_close(&g);
        found++;
    }
    good = check_totals(w, all) && good;
    if (world_rank(w) == 0) printf("%d checkpoints over %d ranks: %s\n", found, world_size(w), good ? "all within tolerance" : "FAILED");
    world_close(w);
    return good ? 0 : 1;
}
