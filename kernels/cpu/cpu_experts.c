/* Router and experts. Formulas: openai/gpt-oss `gpt_oss/torch/model.py` MLPBlock, swiglu. */
#include <math.h>
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_dot.h"

enum { TILE = 16 }; /* weight rows that a thread takes at once */

/* ---- router ------------------------------------------------------------------------------------------------------ */

static void choose(const ops_shape *s, const float *logits, int32_t *ids, float *weights)
{
    for (int k = 0; k < s->top_k; k++) {
        int best = -1;
        for (int e = 0; e < s->n_experts; e++) {
            bool taken = false;
            for (int i = 0; i < k; i++) taken = taken || ids[i] == e;
            if (!taken && (best < 0 || logits[e] > logits[best])) best = e;
        }
        ids[k] = best;
        weights[k] = expf(logits[best] - logits[ids[0]]);
    }
    float sum = 0;
    for (int k = 0; k < s->top_k; k++) sum += weights[k];
    for (int k = 0; k < s->top_k; k++) weights[k] /= sum;
}

void cpu_route(ops_context *c, const ops_layer *layer, int n_rows, const void *normed, int32_t *ids, float *weights)
{
    const ops_shape *s = &c->shape;
    cpu_product product = {.n = n_rows, .rows = normed, .row_stride = s->hidden, .w = &layer->router, .bias = &layer->router_bias,
                           .out = c->router_logits, .out_stride = s->n_experts};
    cpu_product_run(c, &product);
    for (int i = 0; i < n_rows; i++)
        choose(s, c->router_logits + (size_t)i * (size_t)s->n_experts, ids + (size_t)i * (size_t)s->top_k, weights + (size_t)i * (size_t)s->top_k);
}

/* ---- experts ----------------------------------------------------------------------------------------------------- */

/* Counting sort of the pairs (row, choice) that belong to local experts. */
static void sort_pairs(ops_context *c, int n_pairs, const int32_t *ids)
{
    const ops_shape *s = &c->shape;
    int32_t *start = c->expert_start;
    memset(start, 0, (size_t)(s->expert_count + 1) * sizeof *start);
    for (int i = 0; i < n_pairs; i++) {
        int e = ids[i] - s->expert_first;
        if (e >= 0 && e < s->expert_count) start[e + 1]++;
    }
    for (int e = 0; e < s->expert_count; e++) start[e + 1] += start[e];
    for (int i = 0; i < n_pairs; i++) {
        int e = ids[i] - s->expert_first;
        if (e >= 0 && e < s->expert_count) c->expert_rows[start[e]++] = i;
    }
    for (int e = s->expert_count; e > 0; e--) start[e] = start[e - 1]; /* the sort moved every start to its end */
    start[0] = 0;
}

static float bias_at(const ops_weight *bias, int expert, int row)
{
    if (bias->rows == 0) return 0;
    return dtype_bf16_to_f32(((const uint16_t *)((const uint8_t *)bias->data + expert * bias->batch_stride))[row]);
}

static float swiglu(const ops_shape *s, float gate, float up)
{
    gate = gate < s->swiglu_limit ? gate : s->swiglu_limit;
    up = up < -s->swiglu_limit ? -s->swiglu_limit : up > s->swiglu_limit ? s->swiglu_limit : up;
    return gate / (1.0f + expf(-s->swiglu_alpha * gate)) * (up + 1.0f);
}

/* What the tiles of one call share. */
typedef struct expert_call {
    const ops_layer *layer;
    int expert;
    const float *rows;   /* gate_up: [n_rows, hidden] */
    float *scratch;      /* two weight rows */
} expert_call;

/* Columns [first, last) of the activations of one expert's pairs. */
static void gate_up_tile(ops_context *c, const expert_call *call, int first, int last)
{
    const ops_shape *s = &c->shape;
    const ops_layer *l = call->layer;
    float *gate_row = call->scratch, *up_row = call->scratch + s->hidden, gates[CPU_DOT_ROWS], ups[CPU_DOT_ROWS];
    for (int column = first; column < last; column++) {
        cpu_weight_row(&l->gate_up, call->expert, 2 * column, gate_row);
        cpu_weight_row(&l->gate_up, call->expert, 2 * column + 1, up_row);
        float gate_bias = bias_at(&l->gate_up_bias, call->expert, 2 * column), up_bias = bias_at(&l->gate_up_bias, call->expert, 2 * column + 1);
        for (int at = c->expert_start[call->expert]; at < c->expert_start[call->expert + 1]; at += CPU_DOT_ROWS) {
            int rest = c->expert_start[call->expert + 1] - at, n = rest < CPU_DOT_ROWS ? rest : CPU_DOT_ROWS;
            const float *pointers[CPU_DOT_ROWS];
            for (int i = 0; i < n; i++) pointers[i] = call->rows + (size_t)(c->expert_rows[at + i] / s->top_k) * (size_t)s->hidden;
            cpu_dot_rows(gate_row, pointers, n, s->hidden, gates);
            cpu_dot_rows(up_row, pointers, n, s->hidden, ups);
            for (int i = 0; i < n; i++)
                c->activations[(size_t)(at + i) * (size_t)s->intermediate + (size_t)column] = swiglu(s, gates[i] + gate_bias, ups[i] + up_bias);
        }
    }
}

/* Output columns [first, last) of one expert's pairs. */
static void down_tile(ops_context *c, const expert_call *call, int first, int last)
{
    const ops_shape *s = &c->shape;
    const ops_layer *l = call->layer;
    float sums[CPU_DOT_ROWS];
    for (int column = first; column < last; column++) {
        cpu_weight_row(&l->down, call->expert, column, call->scratch);
        float bias = bias_at(&l->down_bias, call->expert, column);
        for (int at = c->expert_start[call->expert]; at < c->expert_start[call->expert + 1]; at += CPU_DOT_ROWS) {
            int rest = c->expert_start[call->expert + 1] - at, n = rest < CPU_DOT_ROWS ? rest : CPU_DOT_ROWS;
            const float *pointers[CPU_DOT_ROWS];
            for (int i = 0; i < n; i++) pointers[i] = c->activations + (size_t)(at + i) * (size_t)s->intermediate;
            cpu_dot_rows(call->scratch, pointers, n, s->intermediate, sums);
            for (int i = 0; i < n; i++) c->expert_out[(size_t)c->expert_rows[at + i] * (size_t)s->hidden + (size_t)column] = sums[i] + bias;
        }
    }
}

/* Runs `tile` over all experts that have pairs and all column tiles. */
static void run_tiles(ops_context *c, const ops_layer *layer, const float *rows, int columns,
                      void (*tile)(ops_context *, const expert_call *, int, int))
{
    int tiles = (columns + TILE - 1) / TILE;
#pragma omp parallel for num_threads(c->threads) collapse(2) schedule(dynamic, 1)
    for (int e = 0; e < c->shape.expert_count; e++) {
        for (int t = 0; t < tiles; t++) {
            if (c->expert_start[e] == c->expert_start[e + 1]) continue;
            expert_call call = {layer, e, rows, c->row_scratch + (size_t)omp_get_thread_num() * c->row_scratch_size};
            int last = (t + 1) * TILE;
            tile(c, &call, t * TILE, last < columns ? last : columns);
        }
    }
}

void cpu_experts(ops_context *c, const ops_layer *layer, int n_rows, const void *rows, const int32_t *ids, const float *weights, void *out)
{
    const ops_shape *s = &c->shape;
    bool some = layer->gate_up.rows > 0; /* no columns of any expert here: nothing is local */
    if (some) {
        sort_pairs(c, n_rows * s->top_k, ids);
        run_tiles(c, layer, rows, s->intermediate, gate_up_tile);
        run_tiles(c, layer, rows, s->hidden, down_tile);
    }
#pragma omp parallel for num_threads(c->threads) if (n_rows > 8)
    for (int i = 0; i < n_rows; i++) {
        float *sum = (float *)out + (size_t)i * (size_t)s->hidden;
        memset(sum, 0, (size_t)s->hidden * sizeof *sum);
        for (int k = 0; k < s->top_k; k++) {
            size_t pair = (size_t)i * (size_t)s->top_k + (size_t)k;
            int e = ids[pair] - s->expert_first;
            if (!some || e < 0 || e >= s->expert_count) continue;
            const float *value = c->expert_out + pair * (size_t)s->hidden;
            for (int j = 0; j < s->hidden; j++) sum[j] += weights[pair] * value[j];
        }
    }
}
