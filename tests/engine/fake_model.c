#include "tests/engine/fake_model.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/engine/fake_draw.h"

/* What lies in the cache for one position. */
typedef struct cell {
    uint64_t value;
    int position;
    int step; /* that wrote it */
} cell;

typedef struct slot {
    bool begun;
    ops_sampling sampling;
    fake_history history;
    int next;     /* position that must come next; -1: any */
    int32_t last; /* id drawn last; -1: none */
} slot;

struct model {
    fake_model_options o;
    model_config config;
    shard_plan plan;
    cell *cells[OPS_KV_KINDS]; /* [blocks, block_tokens] */
    slot *slots;
    uint64_t *row_values;      /* [max_tokens] */
    ops_token *results[2];     /* [max_tokens] of the current and the previous step, by parity */
    fake_model_counts counts;
    atomic_int looks;          /* at its memory */
};

#define BREAKS(...) status_fail(detail, STATUS_INTERNAL, "fake model: " __VA_ARGS__)

model *fake_model_open(const fake_model_options *options)
{
    model *m = calloc(1, sizeof *m);
    int ranks = world_size(options->world), rank = world_rank(options->world), tp = ranks / options->groups;
    m->o = *options;
    m->config = (model_config){.vocab = options->vocab, .sliding_window = options->window, .max_positions = options->max_positions};
    m->plan = (shard_plan){.rank = rank, .world = ranks, .tp = tp, .tp_rank = rank % tp, .dp = options->groups, .dp_rank = rank / tp};
    m->slots = calloc((size_t)options->max_sequences, sizeof *m->slots);
    m->row_values = calloc((size_t)options->max_tokens, sizeof *m->row_values);
    for (int i = 0; i < 2; i++) m->results[i] = calloc((size_t)options->max_tokens, sizeof **m->results);
    return m;
}

void fake_model_close(model *m)
{
    for (int i = 0; i < 2; i++) free(m->results[i]);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) free(m->cells[kind]);
    free(m->row_values);
    free(m->slots);
    free(m);
}

fake_model_counts fake_model_get_counts(const model *m) { return m->counts; }

/* ---- model.h ---------------------------------------------------------------------------------------------------- */

const model_config *model_get_config(const model *m) { return &m->config; }
const shard_plan *model_get_plan(const model *m) { return &m->plan; }
int model_block_tokens(const model *m) { return m->o.block_tokens; }
int64_t model_kv_block_bytes(const model *m, int kind) { return m->o.block_bytes[kind]; }

void model_get_caps(const model *m, ops_caps *out)
{
    *out = (ops_caps){.name = "fake", .host_memory = true, .asynchronous = m->o.asynchronous, .block_tokens = m->o.block_tokens,
                      .memory_free = (int64_t)1 << 30};
}

/* Used: how often it was asked; total: by rank. */
bool model_get_memory(const model *m, ops_memory *out)
{
    if (m->o.silent_rank == m->plan.rank + 1) return false;
    model *counting = (model *)m;
    *out = (ops_memory){.device = m->plan.rank, .used = atomic_fetch_add(&counting->looks, 1) + 1, .total = (m->plan.rank + 1) * 1000};
    return true;
}

status model_kv_reserve(model *m, const int blocks[OPS_KV_KINDS], status_detail *detail)
{
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        if (m->cells[kind]) return BREAKS("the cache was taken twice");
        m->counts.blocks[kind] = blocks[kind];
        m->cells[kind] = calloc((size_t)blocks[kind] * (size_t)m->o.block_tokens, sizeof(cell));
    }
    return STATUS_OK;
}

status model_slot_begin(model *m, int number, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated,
                        status_detail *detail)
{
    if (number < 0 || number >= m->o.max_sequences) return BREAKS("slot %d", number);
    if (fake_draw_penalised(sampling) && !ids) return BREAKS("slot %d begins with penalties but no ids", number);
    slot *s = &m->slots[number];
    *s = (slot){.begun = true, .sampling = *sampling, .next = -1, .last = -1};
    for (int i = 0; i < n_ids; i++) fake_draw_remember(&s->history, ids[i], i >= n_ids - n_generated);
    return STATUS_OK;
}

/* ---- one step --------------------------------------------------------------------------------------------------- */

static int first_visible(const model *m, int position) { return position - m->o.window + 1 > 0 ? position - m->o.window + 1 : 0; }

static cell *cell_of(model *m, const ops_batch *b, int sequence, int kind, int position)
{
    int32_t block = b->block_tables[kind][(size_t)sequence * (size_t)b->table_stride + (size_t)(position / m->o.block_tokens)];
    return &m->cells[kind][(size_t)block * (size_t)m->o.block_tokens + (size_t)(position % m->o.block_tokens)];
}

static status check_tables(const model *m, const ops_batch *b, int sequence, int first, int end, status_detail *detail)
{
    int used = (end + m->o.block_tokens - 1) / m->o.block_tokens, behind = first_visible(m, first) / m->o.block_tokens;
    if (used > b->table_stride) return BREAKS("a table of %d columns for %d blocks", b->table_stride, used);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++)
        for (int i = 0; i < used; i++) {
            int32_t block = b->block_tables[kind][(size_t)sequence * (size_t)b->table_stride + (size_t)i];
            bool gone = kind == OPS_SLIDING && i < behind;
            if (gone ? block != -1 : block < 0 || block >= m->counts.blocks[kind])
                return BREAKS("sequence %d at %d: logical block %d of kind %d is %d", sequence, first, i, kind, block);
        }
    return STATUS_OK;
}

/* Writes the row's cells after reading all that its query sees. */
static status compute_row(model *m, const ops_batch *b, int sequence, int row, int32_t token, status_detail *detail)
{
    int position = b->positions[row];
    uint64_t seen[OPS_KV_KINDS] = {0, 0};
    for (int kind = 0; kind < OPS_KV_KINDS; kind++)
        for (int p = kind == OPS_SLIDING ? first_visible(m, position) : 0; p < position; p++) {
            const cell *c = cell_of(m, b, sequence, kind, p);
            if (c->step == 0 || c->position != p)
                return BREAKS("position %d of kind %d reads %d, which holds position %d", position, kind, p, c->position);
            seen[kind] = fake_draw_see(seen[kind], c->value);
        }
    m->row_values[row] = fake_draw_value(token, position, seen[OPS_FULL], seen[OPS_SLIDING]);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        cell *c = cell_of(m, b, sequence, kind, position);
        if (c->step == m->counts.forwards) return BREAKS("a block of kind %d is written twice in a step", kind);
        *c = (cell){.value = m->row_values[row], .position = position, .step = m->counts.forwards};
    }
    return STATUS_OK;
}

static status compute_sequence(model *m, const ops_batch *b, int sequence, status_detail *detail)
{
    int first = b->sequence_start[sequence], end = b->sequence_start[sequence + 1];
    if (first >= end || b->slots[sequence] < 0 || b->slots[sequence] >= m->o.max_sequences) return BREAKS("sequence %d is malformed", sequence);
    slot *s = &m->slots[b->slots[sequence]];
    if (!s->begun) return BREAKS("slot %d was not begun", b->slots[sequence]);
    for (int other = 0; other < sequence; other++)
        if (b->slots[other] == b->slots[sequence]) return BREAKS("slot %d twice in a step", b->slots[sequence]);
    if (s->next >= 0 && b->positions[first] != s->next) return BREAKS("position %d where %d is next", b->positions[first], s->next);
    STATUS_TRY(check_tables(m, b, sequence, b->positions[first], b->positions[end - 1] + 1, detail));
    for (int row = first; row < end; row++) {
        int32_t token = b->token_ids[row] == -1 ? s->last : b->token_ids[row];
        if (token < 0 || token >= m->o.vocab) return BREAKS("row %d has id %d", row, b->token_ids[row]);
        if (b->positions[row] != b->positions[first] + row - first) return BREAKS("positions are not consecutive");
        STATUS_TRY(compute_row(m, b, sequence, row, token, detail));
    }
    s->next = b->positions[end - 1] + 1;
    return STATUS_OK;
}

static status draw_row(model *m, const model_step *step, int i, status_detail *detail)
{
    const ops_logit_row *r = &step->logit_rows[i];
    if (r->mask < 0 || r->mask > step->batch.n_masks) return BREAKS("logit row %d names mask %d of %d", i, r->mask, step->batch.n_masks);
    const uint32_t *mask = r->mask ? step->batch.masks + (size_t)(r->mask - 1) * ops_mask_words(m->o.vocab) : NULL;
    if (r->row < 0 || r->row >= step->batch.n_tokens || r->position != step->batch.positions[r->row] + 1 ||
        (i > 0 && r->row <= r[-1].row) || r->top > OPS_MAX_TOP_LOGPROBS)
        return BREAKS("logit row %d is malformed", i);
    slot *s = &m->slots[r->slot];
    ops_token *out = &m->results[m->counts.forwards % 2][i];
    *out = fake_draw_token(m->row_values[r->row], &s->sampling, &s->history, m->o.vocab, r->position, r->target, r->top, r->generated, mask);
    if (r->target >= 0) return STATUS_OK;
    s->last = out->id;
    fake_draw_remember(&s->history, out->id, true);
    return STATUS_OK;
}

/* All ranks name the same largest group; nobody is alone in a step. */
static status check_world(model *m, const model_step *step, status_detail *detail)
{
    int64_t least = step->max_group_tokens, most = -least, tokens = -step->batch.n_tokens;
    STATUS_TRY(world_min_i64(m->o.world, &least, detail));
    STATUS_TRY(world_min_i64(m->o.world, &most, detail));
    STATUS_TRY(world_min_i64(m->o.world, &tokens, detail));
    if (least != -most || least != -tokens || least < 1 || least > m->o.max_tokens)
        return BREAKS("max_group_tokens is %d here, %d to %d elsewhere", step->max_group_tokens, (int)least, (int)-most);
    return STATUS_OK;
}

status model_forward(model *m, const model_step *step, status_detail *detail)
{
    const ops_batch *b = &step->batch;
    m->counts.forwards++;
    STATUS_TRY(check_world(m, step, detail));
    if (m->o.fail_forward_at == m->counts.forwards && m->o.fail_rank == m->plan.rank)
        return status_fail(detail, STATUS_MACHINE, "the fake device fell off the bus");
    if (b->n_tokens > m->o.max_tokens || b->n_sequences > m->o.max_sequences || step->n_logit_rows > b->n_tokens)
        return BREAKS("a step of %d tokens in %d sequences", b->n_tokens, b->n_sequences);
    for (int i = 0; i < b->n_sequences; i++) STATUS_TRY(compute_sequence(m, b, i, detail));
    for (int i = 0; i < step->n_logit_rows; i++) STATUS_TRY(draw_row(m, step, i, detail));
    if (b->n_sequences > m->counts.most_sequences) m->counts.most_sequences = b->n_sequences;
    if (b->n_tokens > m->counts.most_tokens) m->counts.most_tokens = b->n_tokens;
    int us = m->o.step_us + b->n_tokens * m->o.token_us;
    if (us) usleep((useconds_t)us);
    return STATUS_OK;
}

status model_results(model *m, int ago, int n, ops_token *out, status_detail *detail)
{
    if (ago < 0 || ago > (m->o.asynchronous ? 1 : 0) || ago >= m->counts.forwards) return BREAKS("results of %d steps ago", ago);
    if (m->o.fail_results_at == m->counts.forwards - ago && m->o.fail_rank == m->plan.rank)
        return status_fail(detail, STATUS_MACHINE, "the fake device lost its results");
    m->counts.late_reads += ago == 1;
    memcpy(out, m->results[(m->counts.forwards - ago) % 2], (size_t)n * sizeof *out);
    return STATUS_OK;
}
