#include "launch/bench_sequences.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_IN_FLIGHT = 2 };

/* Counts of blocks that follow from a shape. */
typedef struct bench_blocks {
    int context;    /* of a decoding sequence, per kind of full layers */
    int kept_first; /* first logical block of it that its last position can see in sliding layers */
    int prompt;     /* of the longest prompt */
    int together;   /* sequences filled in one step */
    int fill_ring, prompt_ring; /* scratch blocks of one sequence: a chunk and the window before it */
    int total[OPS_KV_KINDS];
} bench_blocks;

struct bench_sequences {
    model *model;
    bench_shape shape;
    bench_blocks blocks;
    int block_tokens, window, vocab, depth;
    int filled;        /* slots */
    uint64_t random;
    uint64_t draws;    /* decode steps so far */
    int32_t *token_ids, *positions, *sequence_start, *slots, *tables[OPS_KV_KINDS];
    ops_logit_row *rows;
    ops_token *results;
    model_step step;           /* over the arrays above; what decode launches again and again */
    int flights[MAX_IN_FLIGHT]; /* results due, oldest first */
    int in_flight;
};

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static int least_of(int a, int b) { return a < b ? a : b; }
static int most_of(int a, int b) { return a > b ? a : b; }
static int blocks_for(int tokens, int block_tokens) { return (tokens + block_tokens - 1) / block_tokens; }

/* Blocks that a chunk of tokens and the window before its first one touch: n tokens in a row lie in at most ceil((n - 1) / block) + 1. */
static int ring_blocks(int chunk, int block_tokens, int window) { return blocks_for(chunk + window - 2, block_tokens) + 1; }

static bench_blocks count_blocks(const bench_shape *z, int block_tokens, int window)
{
    bench_blocks b = {.context = blocks_for(z->context, block_tokens), .prompt = blocks_for(z->prompt, block_tokens)};
    b.kept_first = most_of(0, z->context - window) / block_tokens;
    b.together = most_of(1, least_of(z->max_tokens / z->context, z->slots));
    b.fill_ring = ring_blocks(least_of(z->context, z->max_tokens), block_tokens, window);
    b.prompt_ring = ring_blocks(least_of(z->prompt, z->max_tokens), block_tokens, window);
    int scratch = most_of(z->slots ? b.together * b.fill_ring : 0, z->prompt ? b.prompt_ring : 0);
    b.total[OPS_FULL] = most_of(z->slots * b.context, b.prompt);
    b.total[OPS_SLIDING] = z->slots * (b.context - b.kept_first) + scratch;
    return b;
}

int64_t bench_sequences_bytes(const model *m, const bench_shape *shape)
{
    bench_blocks b = count_blocks(shape, model_block_tokens(m), model_get_config(m)->sliding_window);
    return b.total[OPS_FULL] * model_kv_block_bytes(m, OPS_FULL) + b.total[OPS_SLIDING] * model_kv_block_bytes(m, OPS_SLIDING);
}

int64_t bench_sequences_kv_bytes(const bench_sequences *s) { return bench_sequences_bytes(s->model, &s->shape); }

/* Where a sequence's blocks lie. */
typedef struct placement {
    int full_first;             /* physical block of logical 0 */
    int kept_first, kept_count; /* logical blocks that have sliding blocks of their own ... */
    int kept_at;                /* ... from this physical one; the others go round a ring */
    int ring_at, ring;
} placement;

static placement place_slot(const bench_sequences *s, int slot, int lane)
{
    const bench_blocks *b = &s->blocks;
    int kept = b->context - b->kept_first;
    return (placement){.full_first = slot * b->context, .kept_first = b->kept_first, .kept_count = kept, .kept_at = slot * kept,
                       .ring_at = s->shape.slots * kept + lane * b->fill_ring, .ring = b->fill_ring};
}

static placement place_prompt(const bench_sequences *s)
{
    const bench_blocks *b = &s->blocks;
    return (placement){.kept_first = b->prompt, .ring_at = s->shape.slots * (b->context - b->kept_first), .ring = b->prompt_ring};
}

static int sliding_block(const placement *p, int logical)
{
    if (logical >= p->kept_first && logical < p->kept_first + p->kept_count) return p->kept_at + logical - p->kept_first;
    return p->ring_at + logical % p->ring;
}

/* ---- building a step --------------------------------------------------------------------------------------------- */

static void step_clear(bench_sequences *s, int stride)
{
    s->step = (model_step){
        .batch = {.token_ids = s->token_ids, .positions = s->positions, .sequence_start = s->sequence_start, .slots = s->slots,
                  .block_tables = {s->tables[OPS_FULL], s->tables[OPS_SLIDING]}, .table_stride = stride},
        .logit_rows = s->rows,
    };
    s->sequence_start[0] = 0;
}

static void step_add_table(bench_sequences *s, const placement *p, int start, int end)
{
    int stride = s->step.batch.table_stride, used = blocks_for(end, s->block_tokens);
    int visible = most_of(0, start + 1 - s->window) / s->block_tokens;
    int32_t *full = s->tables[OPS_FULL] + (size_t)s->step.batch.n_sequences * (size_t)stride;
    int32_t *sliding = s->tables[OPS_SLIDING] + (size_t)s->step.batch.n_sequences * (size_t)stride;
    for (int i = 0; i < stride; i++) {
        full[i] = i < used ? p->full_first + i : -1;
        sliding[i] = i >= visible && i < used ? sliding_block(p, i) : -1;
    }
}

/* SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
static int32_t random_id(bench_sequences *s)
{
    uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (int32_t)((z ^ (z >> 31)) % (uint64_t)s->vocab);
}

/* Adds tokens start..end-1 of a sequence: random ones, or the one drawn last. */
static void step_add_run(bench_sequences *s, int slot, const placement *p, int start, int end, bool feeds_last, bool draws)
{
    ops_batch *batch = &s->step.batch;
    step_add_table(s, p, start, end);
    for (int i = start; i < end; i++) {
        s->token_ids[batch->n_tokens] = feeds_last ? -1 : random_id(s);
        s->positions[batch->n_tokens++] = i;
    }
    if (draws)
        s->rows[s->step.n_logit_rows++] = (ops_logit_row){.row = batch->n_tokens - 1, .slot = slot, .position = end, .target = -1, .top = -1};
    s->slots[batch->n_sequences] = slot;
    s->sequence_start[++batch->n_sequences] = batch->n_tokens;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static status retire(bench_sequences *s, status_detail *detail)
{
    int rows = s->flights[0];
    s->in_flight--;
    memmove(&s->flights[0], &s->flights[1], (size_t)s->in_flight * sizeof s->flights[0]);
    return model_results(s->model, s->in_flight, rows, s->results, detail);
}

static status launch(bench_sequences *s, status_detail *detail)
{
    STATUS_TRY(model_forward(s->model, &s->step, detail));
    s->flights[s->in_flight++] = s->step.n_logit_rows;
    while (s->in_flight > s->depth) STATUS_TRY(retire(s, detail));
    return STATUS_OK;
}

status bench_sequences_drain(bench_sequences *s, status_detail *detail)
{
    while (s->in_flight > 0) STATUS_TRY(retire(s, detail));
    return STATUS_OK;
}

/* One step with tokens start..end-1 of `count` slots. */
static status fill_chunk(bench_sequences *s, int first, int count, int start, int end, status_detail *detail)
{
    step_clear(s, s->blocks.context);
    for (int i = 0; i < count; i++) {
        placement p = place_slot(s, first + i, i);
        step_add_run(s, first + i, &p, start, end, false, end == s->shape.context - 1);
    }
    s->step.max_group_tokens = s->step.batch.n_tokens;
    return launch(s, detail);
}

status bench_sequences_fill(bench_sequences *s, int count, status_detail *detail)
{
    int tokens = s->shape.context - 1; /* the last one is fed by the decode steps */
    while (s->filled < count) {
        int together = least_of(s->blocks.together, count - s->filled);
        for (int start = 0; start < tokens;) {
            int end = least_of(tokens, start + s->shape.max_tokens);
            STATUS_TRY(fill_chunk(s, s->filled, together, start, end, detail));
            start = end;
        }
        s->filled += together;
    }
    return bench_sequences_drain(s, detail);
}

void bench_sequences_start_decode(bench_sequences *s, int rows, int most)
{
    step_clear(s, s->blocks.context);
    for (int i = 0; i < rows; i++) {
        placement p = place_slot(s, i, 0);
        step_add_run(s, i, &p, s->shape.context - 1, s->shape.context, true, true);
    }
    s->step.max_group_tokens = most;
}

status bench_sequences_decode(bench_sequences *s, status_detail *detail)
{
    s->draws++;
    for (int i = 0; i < s->step.n_logit_rows; i++) s->rows[i].position = s->shape.context + (int)(s->draws % INT16_MAX);
    return launch(s, detail);
}

status bench_sequences_prefill(bench_sequences *s, int n, status_detail *detail)
{
    placement p = place_prompt(s);
    for (int start = 0; start < n;) {
        int end = least_of(n, start + s->shape.max_tokens);
        step_clear(s, blocks_for(n, s->block_tokens));
        step_add_run(s, 0, &p, start, end, false, end == n);
        s->step.max_group_tokens = end - start;
        STATUS_TRY(launch(s, detail));
        start = end;
    }
    return bench_sequences_drain(s, detail);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static status take_arrays(bench_sequences *s, status_detail *detail)
{
    const bench_shape *z = &s->shape;
    size_t tokens = (size_t)z->max_tokens, slots = (size_t)most_of(z->slots, 1);
    size_t cells = (size_t)most_of(z->slots * s->blocks.context, s->blocks.prompt);
    s->token_ids = malloc(tokens * sizeof *s->token_ids);
    s->positions = malloc(tokens * sizeof *s->positions);
    s->sequence_start = malloc((slots + 1) * sizeof *s->sequence_start);
    s->slots = malloc(slots * sizeof *s->slots);
    s->rows = malloc(slots * sizeof *s->rows);
    s->results = malloc(slots * sizeof *s->results);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) s->tables[kind] = malloc(cells * sizeof *s->tables[kind]);
    if (!s->token_ids || !s->positions || !s->sequence_start || !s->slots || !s->rows || !s->results || !s->tables[OPS_FULL] ||
        !s->tables[OPS_SLIDING])
        return status_fail(detail, STATUS_MACHINE, "no memory for steps of %d sequences", z->slots);
    return STATUS_OK;
}

/* As a request without sampling parameters would have it. */
static status begin_slots(bench_sequences *s, status_detail *detail)
{
    ops_sampling *sampling = calloc(1, sizeof *sampling); /* 9 KB */
    if (!sampling) return status_fail(detail, STATUS_MACHINE, "out of memory");
    *sampling = (ops_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    status result = STATUS_OK;
    for (int slot = 0; slot < most_of(s->shape.slots, 1) && result == STATUS_OK; slot++) {
        sampling->seed = (uint64_t)slot;
        result = model_slot_begin(s->model, slot, sampling, NULL, 0, 0, detail);
    }
    free(sampling);
    return result;
}

status bench_sequences_open(model *m, const bench_shape *shape, bench_sequences **out, status_detail *detail)
{
    bench_sequences *s = calloc(1, sizeof *s);
    if (!s) return status_fail(detail, STATUS_MACHINE, "out of memory");
    const model_config *config = model_get_config(m);
    ops_caps caps;
    model_get_caps(m, &caps);
    *s = (bench_sequences){.model = m, .shape = *shape, .block_tokens = model_block_tokens(m), .window = config->sliding_window,
                           .vocab = config->vocab, .depth = caps.asynchronous ? 1 : 0,
                           .random = (uint64_t)model_get_plan(m)->dp_rank << 32};
    s->blocks = count_blocks(shape, s->block_tokens, s->window);
    status result = take_arrays(s, detail);
    if (result == STATUS_OK) result = model_kv_reserve(m, s->blocks.total, detail);
    if (result == STATUS_OK) result = begin_slots(s, detail);
    if (result != STATUS_OK) {
        bench_sequences_close(s);
        return result;
    }
    *out = s;
    return STATUS_OK;
}

void bench_sequences_close(bench_sequences *s)
{
    if (!s) return;
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) free(s->tables[kind]);
    free(s->results);
    free(s->rows);
    free(s->slots);
    free(s->sequence_start);
    free(s->positions);
    free(s->token_ids);
    free(s);
}
