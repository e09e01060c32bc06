/* Weights with known values, their slices, and the step's tables. */
#include <math.h>
#include <string.h>

#include "tests/kernels/reference.h"
#include "tests/kernels/suite.h"

/* ---- weights ------------------------------------------------------------------------------------------------------ */

suite_tensor suite_bf16(suite *s, int batches, int rows, int cols, double centre, double spread)
{
    size_t count = (size_t)batches * (size_t)rows * (size_t)cols;
    uint16_t *data = suite_host(s, count * sizeof *data);
    suite_tensor t = {.values = suite_host(s, count * sizeof *t.values)};
    for (size_t i = 0; i < count; i++) {
        data[i] = dtype_f32_to_bf16((float)suite_uniform(s, centre - spread, centre + spread));
        t.values[i] = (double)dtype_bf16_to_f32(data[i]);
    }
    t.host = (ops_weight){.format = OPS_BF16, .data = data, .batches = batches, .rows = rows, .cols = cols, .row_stride = 2 * (int64_t)cols,
                          .batch_stride = 2 * (int64_t)cols * rows};
    return t;
}

suite_tensor suite_mxfp4(suite *s, int batches, int rows, int cols, double spread)
{
    size_t count = (size_t)batches * (size_t)rows * (size_t)cols;
    uint8_t *data = suite_host(s, count / 2), *scales = suite_host(s, count / 32);
    int centre = 127 + (int)lround(log2(spread / 6)); /* 6 is the largest code */
    suite_tensor t = {.values = suite_host(s, count * sizeof *t.values)};
    for (size_t i = 0; i < count / 32; i++) scales[i] = (uint8_t)(centre - suite_integer(s, 3));
    for (size_t i = 0; i < count / 2; i++) {
        data[i] = (uint8_t)suite_integer(s, 256);
        t.values[2 * i] = reference_mxfp4(data[i] & 15, scales[i / 16]);
        t.values[2 * i + 1] = reference_mxfp4(data[i] >> 4, scales[i / 16]);
    }
    t.host = (ops_weight){.format = OPS_MXFP4, .data = data, .scales = scales, .batches = batches, .rows = rows, .cols = cols,
                          .row_stride = cols / 2, .batch_stride = (int64_t)cols / 2 * rows, .scale_row_stride = cols / 32,
                          .scale_batch_stride = (int64_t)cols / 32 * rows};
    return t;
}

suite_tensor suite_absent(void) { return (suite_tensor){.host = {.format = OPS_BF16}}; }

/* A part of a tensor: its view, moved by so many bytes, and a copy of its values. */
typedef struct part {
    int batch, batches, row, rows, col, cols;
} part;

static suite_tensor take_part(suite *s, const suite_tensor *t, const part *p)
{
    suite_tensor out = {.host = t->host};
    ops_weight *w = &out.host;
    bool packed = w->format == OPS_MXFP4;
    w->data = (const uint8_t *)w->data + p->batch * w->batch_stride + p->row * w->row_stride + (packed ? p->col / 2 : 2 * p->col);
    if (packed) w->scales += p->batch * w->scale_batch_stride + p->row * w->scale_row_stride + p->col / 32;
    w->batches = p->batches;
    w->rows = p->rows;
    w->cols = p->cols;
    out.values = suite_host(s, (size_t)p->batches * (size_t)p->rows * (size_t)p->cols * sizeof *out.values);
    double *to = out.values;
    for (int b = 0; b < p->batches; b++)
        for (int r = 0; r < p->rows; r++, to += p->cols)
            memcpy(to, t->values + (((size_t)(p->batch + b) * (size_t)t->host.rows + (size_t)(p->row + r)) * (size_t)t->host.cols + (size_t)p->col),
                   (size_t)p->cols * sizeof *to);
    return out;
}

static part whole(const suite_tensor *t) { return (part){0, (int)t->host.batches, 0, (int)t->host.rows, 0, (int)t->host.cols}; }

suite_tensor suite_batches(suite *s, const suite_tensor *t, int first, int count)
{
    part p = whole(t);
    p.batch = first;
    p.batches = count;
    return take_part(s, t, &p);
}

suite_tensor suite_row_slice(suite *s, const suite_tensor *t, int first, int count)
{
    part p = whole(t);
    p.row = first;
    p.rows = count;
    return take_part(s, t, &p);
}

suite_tensor suite_col_slice(suite *s, const suite_tensor *t, int first, int count)
{
    part p = whole(t);
    p.col = first;
    p.cols = count;
    return take_part(s, t, &p);
}

void suite_place(suite *s, suite_tensor *const *tensors, int n)
{
    ops_weight host[8], placed[8];
    status_detail detail = {""};
    for (int i = 0; i < n; i++) host[i] = tensors[i]->host;
    if (s->ops->place(s->c, host, n, 1, placed, &detail) != STATUS_OK || s->ops->place_end(s->c, &detail) != STATUS_OK)
        fail_msg("place: %s", detail.text);
    for (int i = 0; i < n; i++) tensors[i]->placed = placed[i];
}

/* ---- batches and caches ------------------------------------------------------------------------------------------- */

int suite_pool_blocks(const suite *s) { return s->shape.max_sequences * s->shape.max_blocks_per_sequence; }

/* Blocks lie backwards, the slots' blocks interleaved, and shifted in one kind against the other. */
static int physical_block(const suite *s, int kind, int slot, int logical)
{
    int blocks = suite_pool_blocks(s);
    return (blocks - 1 - (logical * s->shape.max_sequences + slot) + kind) % blocks;
}

size_t suite_pool_token(const suite *s, int kind, int slot, int position)
{
    int size = s->shape.block_tokens;
    return (size_t)physical_block(s, kind, slot, position / size) * (size_t)size + (size_t)(position % size);
}

bool suite_block_alive(const suite *s, int kind, int first, int position)
{
    int last_key = position / s->shape.block_tokens * s->shape.block_tokens + s->shape.block_tokens - 1;
    return kind == OPS_FULL || last_key > first - s->shape.sliding_window;
}

static void fill_table(const suite *s, int kind, const suite_run *run, int32_t *table)
{
    for (int block = 0; block < s->shape.max_blocks_per_sequence; block++) {
        int position = block * s->shape.block_tokens;
        bool wanted = position < run->first + run->count && suite_block_alive(s, kind, run->first, position);
        table[block] = wanted ? physical_block(s, kind, run->slot, block) : -1;
    }
}

void suite_begin(suite *s, const suite_run *runs, int n_runs, const int32_t *ids)
{
    size_t stride = (size_t)s->shape.max_blocks_per_sequence;
    int32_t *start = suite_host(s, (size_t)(n_runs + 1) * sizeof *start), *slots = suite_host(s, (size_t)n_runs * sizeof *slots);
    int32_t *tables[OPS_KV_KINDS];
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) tables[kind] = suite_host(s, (size_t)n_runs * stride * sizeof(int32_t));
    s->n_rows = 0;
    for (int i = 0; i < n_runs; i++) {
        slots[i] = runs[i].slot;
        for (int kind = 0; kind < OPS_KV_KINDS; kind++) fill_table(s, kind, &runs[i], tables[kind] + (size_t)i * stride);
        for (int k = 0; k < runs[i].count; k++, s->n_rows++) {
            assert_true(s->n_rows < SUITE_ROWS);
            s->ids[s->n_rows] = ids ? ids[s->n_rows] : suite_integer(s, s->shape.vocab);
            s->positions[s->n_rows] = runs[i].first + k;
            s->slot_of[s->n_rows] = runs[i].slot;
        }
        start[i + 1] = s->n_rows;
    }
    ops_batch batch = {.n_tokens = s->n_rows, .n_sequences = n_runs, .token_ids = s->ids, .positions = s->positions, .sequence_start = start,
                       .slots = slots, .block_tables = {tables[0], tables[1]}, .table_stride = (int)stride,
                       .n_masks = s->n_masks, .masks = s->masks};
    status_detail detail = {""};
    if (s->ops->batch_begin(s->c, &batch, &detail) != STATUS_OK) fail_msg("batch_begin: %s", detail.text);
}
