#include "runtime/engine/slot_tables.h"

#include <stdlib.h>
#include <string.h>

/* Columns of the rows are rounded up to a power of two, so that they seldom change; no fewer than this. */
enum { LEAST_STRIDE = 8 };

typedef struct slot_state {
    int count;         /* logical blocks */
    int sliding_first; /* those before are -1 in the sliding table */
    int64_t version;   /* one more with every change */
} slot_state;

typedef struct row_state {
    int slot;        /* whose table the row holds */
    int64_t version; /* at what version; -1: nothing */
} row_state;

struct slot_tables {
    int slots, max_blocks;
    slot_state *states;           /* [slots] */
    int32_t *tables[OPS_KV_KINDS]; /* [slots, max_blocks] */
    row_state *row_states;        /* [slots] */
    int32_t *rows[OPS_KV_KINDS];  /* [slots, stride], memory for [slots, max_blocks] */
    int stride, n_rows;
};

status slot_tables_open(const step_plan_limits *limits, slot_tables **out, status_detail *detail)
{
    slot_tables *t = calloc(1, sizeof *t);
    if (!t) return status_fail(detail, STATUS_MACHINE, "no memory for block tables");
    t->slots = limits->slots;
    t->max_blocks = (limits->max_model_len + limits->block_tokens - 1) / limits->block_tokens;
    size_t slots = (size_t)t->slots, cells = slots * (size_t)t->max_blocks;
    t->states = calloc(slots, sizeof *t->states);
    t->row_states = calloc(slots, sizeof *t->row_states);
    bool all = t->states && t->row_states;
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        t->tables[kind] = malloc(cells * sizeof(int32_t)); /* touched only as far as sequences reach */
        t->rows[kind] = malloc(cells * sizeof(int32_t));
        all = all && t->tables[kind] && t->rows[kind];
    }
    if (!all) {
        slot_tables_close(t);
        return status_fail(detail, STATUS_MACHINE, "no memory for %zu block table entries: lower engine.max_sequences", cells);
    }
    *out = t;
    return STATUS_OK;
}

void slot_tables_close(slot_tables *t)
{
    if (!t) return;
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        free(t->rows[kind]);
        free(t->tables[kind]);
    }
    free(t->row_states);
    free(t->states);
    free(t);
}

void slot_tables_begin(slot_tables *t, int slot)
{
    slot_state *state = &t->states[slot];
    *state = (slot_state){.version = state->version + 1};
}

void slot_tables_start(slot_tables *t, int most)
{
    int stride = LEAST_STRIDE;
    while (stride < most) stride *= 2;
    if (stride > t->max_blocks) stride = t->max_blocks;
    /* One long sequence that comes and goes should not make every row be copied: shrink late. */
    if (stride > t->stride || stride * 4 <= t->stride) {
        t->stride = stride;
        for (int i = 0; i < t->slots; i++) t->row_states[i].version = -1;
    }
    t->n_rows = 0;
}

static void fill_gone(int32_t *table, int first, int end)
{
    for (int i = first; i < end; i++) table[i] = -1;
}

/* Writes what the run changes into one slot's table or row. `gone` entries were -1 in the sliding table before. */
static void apply(int32_t *const cells[OPS_KV_KINDS], const step_plan_run *run, int gone)
{
    for (int kind = 0; kind < OPS_KV_KINDS && run->n_blocks; kind++)
        memcpy(cells[kind] + run->first_block, run->blocks[kind], (size_t)run->n_blocks * sizeof(int32_t));
    fill_gone(cells[OPS_SLIDING], gone, run->sliding_first);
}

status slot_tables_add(slot_tables *t, const step_plan_run *run, status_detail *detail)
{
    slot_state *state = &t->states[run->slot];
    if (run->first_block != state->count || run->sliding_first < state->sliding_first || t->n_rows >= t->slots)
        return status_fail(detail, STATUS_INTERNAL, "step plan: slot %d has %d blocks, the plan goes on from %d", run->slot,
                           state->count, run->first_block);
    int row = t->n_rows++, gone = state->sliding_first;
    row_state *held = &t->row_states[row];
    size_t at = (size_t)run->slot * (size_t)t->max_blocks, row_at = (size_t)row * (size_t)t->stride;
    int32_t *const table[OPS_KV_KINDS] = {t->tables[OPS_FULL] + at, t->tables[OPS_SLIDING] + at};
    int32_t *const cells[OPS_KV_KINDS] = {t->rows[OPS_FULL] + row_at, t->rows[OPS_SLIDING] + row_at};
    bool follows = held->slot == run->slot && held->version == state->version;
    apply(table, run, gone);
    state->count = run->first_block + run->n_blocks;
    state->sliding_first = run->sliding_first;
    state->version++;
    *held = (row_state){.slot = run->slot, .version = state->version};
    if (follows) {
        apply(cells, run, gone);
        return STATUS_OK;
    }
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) {
        memcpy(cells[kind], table[kind], (size_t)state->count * sizeof(int32_t));
        fill_gone(cells[kind], state->count, t->stride);
    }
    return STATUS_OK;
}

void slot_tables_rows(const slot_tables *t, ops_batch *batch)
{
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) batch->block_tables[kind] = t->rows[kind];
    batch->table_stride = t->stride;
}
