/* Slots, results, and the drawing or scoring of rows. Rows run in parallel, each on one thread: a step draws at most once per slot, and only
 * that row reads or writes the slot. */
#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu_sample.h"

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static status take(ops_context *c, size_t count, size_t size, void *out, status_detail *detail)
{
    void *memory;
    STATUS_TRY(cpu_allocate(c, count * size, &memory, detail));
    memcpy(out, &memory, sizeof memory);
    return STATUS_OK;
}

static status take_scratch(ops_context *c, cpu_sample_scratch *scratch, status_detail *detail)
{
    size_t vocab = (size_t)c->shape.vocab;
    STATUS_TRY(take(c, vocab, sizeof(float), &scratch->raw, detail));
    STATUS_TRY(take(c, vocab, sizeof(float), &scratch->adjusted, detail));
    STATUS_TRY(take(c, vocab, sizeof(cpu_candidate), &scratch->candidates, detail));
    return take(c, vocab + 1, sizeof(int32_t), &scratch->pivots, detail);
}

status cpu_sampler_configure(ops_context *c, status_detail *detail)
{
    const ops_shape *shape = &c->shape;
    struct cpu_sampler *s;
    if ((int64_t)shape->logit_shards * shape->logit_shard_cols < shape->vocab)
        return status_fail(detail, STATUS_INTERNAL, "%d shards of %d logits do not hold a vocabulary of %d", shape->logit_shards,
                           shape->logit_shard_cols, shape->vocab);
    STATUS_TRY(take(c, 1, sizeof *s, &s, detail));
    STATUS_TRY(take(c, (size_t)shape->max_sequences, sizeof *s->slots, &s->slots, detail));
    STATUS_TRY(take(c, (size_t)shape->max_sequences * (size_t)shape->vocab, sizeof *s->counts, &s->counts, detail));
    for (int i = 0; i < 2; i++) STATUS_TRY(take(c, (size_t)shape->max_tokens, sizeof(ops_token), &s->results[i], detail));
    STATUS_TRY(take(c, (size_t)c->threads, sizeof *s->scratch, &s->scratch, detail));
    for (int i = 0; i < c->threads; i++) STATUS_TRY(take_scratch(c, &s->scratch[i], detail));
    c->sampler = s;
    return STATUS_OK;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

int32_t cpu_sampler_last(const ops_context *c, int slot) { return c->sampler->slots[slot].last; }

static uint32_t *slot_counts(const ops_context *c, int slot) { return c->sampler->counts + (size_t)slot * (size_t)c->shape.vocab; }

static status check_slot(const ops_context *c, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated,
                         bool penalised, status_detail *detail)
{
    if (slot < 0 || slot >= c->shape.max_sequences)
        return status_fail(detail, STATUS_INTERNAL, "slot %d does not exist: there are %d", slot, c->shape.max_sequences);
    if (sampling->n_bias < 0 || sampling->n_bias > OPS_MAX_LOGIT_BIAS || sampling->n_suppressed < 0 || sampling->n_suppressed > OPS_MAX_SUPPRESSED)
        return status_fail(detail, STATUS_INTERNAL, "slot %d: %d biased and %d suppressed ids do not fit", slot, sampling->n_bias,
                           sampling->n_suppressed);
    if (n_ids < 0 || n_generated < 0 || n_generated > n_ids || (penalised && n_ids > 0 && !ids))
        return status_fail(detail, STATUS_INTERNAL, "slot %d: penalties need the ids of the sequence (%d, of which %d generated)", slot, n_ids,
                           n_generated);
    for (int i = 0; ids && i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= c->shape.vocab)
            return status_fail(detail, STATUS_INTERNAL, "slot %d: token %d at %d is outside the vocabulary of %d", slot, ids[i], i, c->shape.vocab);
    return STATUS_OK;
}

status cpu_slot_begin(ops_context *c, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids, int n_generated,
                      status_detail *detail)
{
    bool penalised = sampling->repetition_penalty != 1 || sampling->presence_penalty != 0 || sampling->frequency_penalty != 0;
    STATUS_TRY(check_slot(c, slot, sampling, ids, n_ids, n_generated, penalised, detail));
    cpu_slot *s = &c->sampler->slots[slot];
    uint32_t *counts = slot_counts(c, slot);
    if (s->counted) memset(counts, 0, (size_t)c->shape.vocab * sizeof *counts);
    s->sampling = *sampling;
    s->penalised = s->counted = penalised;
    s->last = ids && n_ids > 0 ? ids[n_ids - 1] : 0;
    for (int i = 0; penalised && i < n_ids; i++) counts[ids[i]] = (counts[ids[i]] + (i >= n_ids - n_generated)) | CPU_COUNT_SEEN;
    return STATUS_OK;
}

static void slot_remember(ops_context *c, int slot, int32_t id)
{
    cpu_slot *s = &c->sampler->slots[slot];
    s->last = id;
    if (s->penalised) slot_counts(c, slot)[id] = (slot_counts(c, slot)[id] + 1) | CPU_COUNT_SEEN;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* Row i of n, in the order of ids, out of the shards. */
static void gather_row(const ops_shape *shape, const float *logits, int n, int i, float *out)
{
    int cols = shape->logit_shard_cols;
    for (int first = 0; first < shape->vocab; first += cols) {
        const float *shard = logits + ((size_t)(first / cols) * (size_t)n + (size_t)i) * (size_t)cols;
        int count = shape->vocab - first < cols ? shape->vocab - first : cols;
        for (int col = 0; col < count; col++) out[first + col] = cpu_sample_clean(shard[col]);
    }
}

static void sample_row(ops_context *c, const float *logits, const ops_logit_row *rows, int n, int i, const cpu_sample_scratch *scratch,
                       ops_token *out)
{
    const ops_logit_row *row = &rows[i];
    int vocab = c->shape.vocab;
    *out = (ops_token){.id = row->target};
    if (row->target >= 0 && row->top < 0) return;
    gather_row(&c->shape, logits, n, i, scratch->raw);
    if (row->target < 0) {
        const cpu_slot *slot = &c->sampler->slots[row->slot];
        const uint32_t *mask = row->mask > 0 ? c->batch.masks + (size_t)(row->mask - 1) * ops_mask_words(vocab) : NULL;
        const cpu_adjustment adjustment = {slot, slot_counts(c, row->slot), mask, row->generated};
        const float *adjusted = cpu_sample_adjust(&adjustment, vocab, scratch);
        out->id = cpu_sample_pick(&slot->sampling, row->position, adjusted, vocab, scratch);
        slot_remember(c, row->slot, out->id);
    }
    if (row->top >= 0) cpu_logprobs_fill(scratch->raw, vocab, row->top, out);
}

void cpu_sample(ops_context *c, const float *logits, const ops_logit_row *rows, int n, int first_result)
{
    ops_token *results = c->sampler->results[c->sampler->current] + first_result;
#pragma omp parallel for num_threads(c->threads) schedule(dynamic) if (n > 1)
    for (int i = 0; i < n; i++) sample_row(c, logits, rows, n, i, &c->sampler->scratch[omp_get_thread_num()], &results[i]);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

void cpu_sampler_step(ops_context *c) { c->sampler->current ^= 1; }

status cpu_results(ops_context *c, int ago, int first, int n, ops_token *out, status_detail *detail)
{
    if (ago < 0 || ago > 1 || first < 0 || n < 0 || first > c->shape.max_tokens - n)
        return status_fail(detail, STATUS_INTERNAL, "results %d to %d of %d steps ago were asked for; two steps of %d are kept", first, first + n, ago,
                           c->shape.max_tokens);
    memcpy(out, c->sampler->results[c->sampler->current ^ ago] + first, (size_t)n * sizeof *out);
    return STATUS_OK;
}
