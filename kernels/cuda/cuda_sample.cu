/* The sampler on the host's side: slots, the chain of kernels of a call, results. */
#include <stddef.h>
#include <stdlib.h>

#include "kernels/cuda/cuda_sample.cuh"

enum { COUNT_THREADS = 256, MASS_TOTAL_BITS = 62 };

struct cuda_sampler_state {
    cuda_sample_args args;   /* what all calls share */
    ops_sampling *slots;     /* device, as args.slots */
    unsigned char *features; /* host, [max_sequences]: what drawing in the slot needs */
    int *order;              /* host, [OPS_MAX_LOGIT_BIAS]: of a new slot's bias, by id */
};

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static status take_rows(ops_context *c, cuda_sample_args *a, status_detail *detail)
{
    size_t rows = (size_t)c->shape.max_logit_rows, chunks = rows * (size_t)a->chunks;
    STATUS_TRY(cuda_allocate(c, rows * sizeof *a->state, (void **)&a->state, detail));
    STATUS_TRY(cuda_allocate(c, rows * SAMPLE_BINS * sizeof *a->bins, (void **)&a->bins, detail));
    STATUS_TRY(cuda_allocate(c, chunks * sizeof *a->peaks, (void **)&a->peaks, detail));
    STATUS_TRY(cuda_allocate(c, chunks * sizeof *a->draw_keys, (void **)&a->draw_keys, detail));
    STATUS_TRY(cuda_allocate(c, chunks * sizeof *a->draw_ids, (void **)&a->draw_ids, detail));
    STATUS_TRY(cuda_allocate(c, chunks * sizeof *a->parts, (void **)&a->parts, detail));
    STATUS_TRY(cuda_allocate(c, chunks * OPS_MAX_TOP_LOGPROBS * sizeof *a->best, (void **)&a->best, detail));
    cuda_check(c, cudaMemsetAsync(a->state, 0, rows * sizeof *a->state, c->stream), "sampler");
    cuda_check(c, cudaMemsetAsync(a->bins, 0, rows * SAMPLE_BINS * sizeof *a->bins, c->stream), "sampler");
    return STATUS_OK;
}

/* Slots start as greedy ones: all zeros but for the repetition penalty. */
static status take_slots(ops_context *c, struct cuda_sampler_state *s, status_detail *detail)
{
    size_t n = (size_t)c->shape.max_sequences;
    ops_sampling fresh = {};
    STATUS_TRY(cuda_allocate(c, n * sizeof *s->slots, (void **)&s->slots, detail));
    STATUS_TRY(cuda_allocate(c, n * (size_t)c->shape.vocab * sizeof(uint32_t), (void **)&s->args.counts, detail));
    STATUS_TRY(cuda_allocate(c, n * sizeof(int32_t), (void **)&s->args.last, detail));
    STATUS_TRY(cuda_host_allocate(c, n, (void **)&s->features, detail));
    STATUS_TRY(cuda_host_allocate(c, OPS_MAX_LOGIT_BIAS * sizeof *s->order, (void **)&s->order, detail));
    fresh.repetition_penalty = fresh.top_p = 1;
    cuda_check(c, cudaMemsetAsync(s->args.last, 0, n * sizeof(int32_t), c->stream), "sampler");
    for (size_t i = 0; i < n; i++)
        cuda_check(c,
                   cudaMemcpyAsync(s->slots + i, &fresh, offsetof(ops_sampling, suppressed), cudaMemcpyHostToDevice,
                                   c->stream),
                   "sampler");
    return STATUS_OK;
}

status cuda_sampler_configure(ops_context *c, status_detail *detail)
{
    const ops_shape *shape = &c->shape;
    struct cuda_sampler_state *s;
    if ((int64_t)shape->logit_shards * shape->logit_shard_cols < shape->vocab)
        return status_fail(detail, STATUS_INTERNAL, "%d shards of %d logits do not hold a vocabulary of %d",
                           shape->logit_shards, shape->logit_shard_cols, shape->vocab);
    STATUS_TRY(cuda_host_allocate(c, sizeof *s, (void **)&s, detail));
    cuda_sample_args *a = &s->args;
    a->vocab = shape->vocab;
    a->shard_cols = shape->logit_shard_cols;
    a->chunks = (shape->vocab + SAMPLE_CHUNK - 1) / SAMPLE_CHUNK;
    a->max_results = shape->max_tokens;
    a->parity = cuda_step_parity(c);
    a->masks = cuda_step_masks(c);
    a->mask_words = (int)ops_mask_words(shape->vocab);
    a->mass_bits = MASS_TOTAL_BITS;
    for (int ids = 1; ids < shape->vocab && ids > 0; ids *= 2) a->mass_bits--;
    STATUS_TRY(
        cuda_pinned_allocate(c, 2 * (size_t)shape->max_tokens * sizeof(ops_token), (void **)&a->results, detail));
    STATUS_TRY(take_rows(c, a, detail));
    STATUS_TRY(take_slots(c, s, detail));
    a->slots = s->slots;
    c->sampler = s;
    return STATUS_OK;
}

const int32_t *cuda_sampler_last(const ops_context *c) { return c->sampler->args.last; }

/* ---- slots ------------------------------------------------------------------------------------------------------ */

static status check_slot(const ops_context *c, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids,
                         int n_generated, status_detail *detail)
{
    if (slot < 0 || slot >= c->shape.max_sequences)
        return status_fail(detail, STATUS_INTERNAL, "slot %d does not exist: there are %d", slot,
                           c->shape.max_sequences);
    if (sampling->n_bias < 0 || sampling->n_bias > OPS_MAX_LOGIT_BIAS || sampling->n_suppressed < 0 ||
        sampling->n_suppressed > OPS_MAX_SUPPRESSED)
        return status_fail(detail, STATUS_INTERNAL, "slot %d: %d biased and %d suppressed ids do not fit", slot,
                           sampling->n_bias, sampling->n_suppressed);
    if (n_ids < 0 || n_generated < 0 || n_generated > n_ids || (sample_penalised(*sampling) && n_ids > 0 && !ids))
        return status_fail(detail, STATUS_INTERNAL,
                           "slot %d: penalties need the ids of the sequence (%d, of which %d generated)", slot, n_ids,
                           n_generated);
    for (int i = 0; ids && i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= c->shape.vocab)
            return status_fail(detail, STATUS_INTERNAL, "slot %d: token %d at %d is outside the vocabulary of %d", slot,
                               ids[i], i, c->shape.vocab);
    return STATUS_OK;
}

static int compare_bias(const void *left, const void *right, void *sampling)
{
    int a = *(const int *)left, b = *(const int *)right;
    const int32_t *ids = ((const ops_sampling *)sampling)->bias_ids;
    if (ids[a] != ids[b]) return ids[a] < ids[b] ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* A copy as the kernels want it: bias sorted by id, in the given order within an id, and none outside the vocabulary.
 * Returns its bytes up to the last one that counts. */
static size_t write_sampling(const ops_sampling *in, int vocab, int *order, ops_sampling *out)
{
    memcpy(out, in, offsetof(ops_sampling, bias_ids));
    out->n_bias = 0;
    if (in->n_bias == 0) return offsetof(ops_sampling, bias_ids);
    for (int i = 0; i < in->n_bias; i++) order[i] = i;
    qsort_r(order, (size_t)in->n_bias, sizeof *order, compare_bias, (void *)in);
    for (int i = 0; i < in->n_bias; i++) {
        int from = order[i];
        if (in->bias_ids[from] < 0 || in->bias_ids[from] >= vocab) continue;
        out->bias_ids[out->n_bias] = in->bias_ids[from];
        out->bias_values[out->n_bias++] = in->bias_values[from];
    }
    return sizeof *out;
}

__global__ void __launch_bounds__(COUNT_THREADS)
    count_kernel(const int32_t *ids, int n, int generated_from, uint32_t *counts)
{
    int i = blockIdx.x * COUNT_THREADS + threadIdx.x;
    if (i >= n) return;
    if (i >= generated_from) atomicAdd(counts + ids[i], 1u);
    atomicOr(counts + ids[i], CUDA_COUNT_SEEN);
}

/* Counts a sequence's ids for its penalties. Kernels read page-locked memory directly: a prompt crosses the bus once
 * either way. */
static void count_ids(ops_context *c, int slot, const int32_t *ids, int n_ids, int n_generated)
{
    size_t vocab = (size_t)c->shape.vocab;
    uint32_t *counts = c->sampler->args.counts + (size_t)slot * vocab;
    int most = (int)(cuda_step_stage_max() / sizeof *ids);
    cuda_check(c, cudaMemsetAsync(counts, 0, vocab * sizeof *counts, c->stream), "a new slot");
    for (int done = 0; done < n_ids; done += most) {
        int n = n_ids - done < most ? n_ids - done : most;
        int32_t *staged = (int32_t *)cuda_step_stage(c, (size_t)n * sizeof *ids);
        memcpy(staged, ids + done, (size_t)n * sizeof *ids);
        count_kernel<<<(unsigned)(n + COUNT_THREADS - 1) / COUNT_THREADS, COUNT_THREADS, 0, c->stream>>>(
            staged, n, n_ids - n_generated - done, counts);
    }
    cuda_check(c, cudaGetLastError(), "a new slot");
}

static unsigned char features_of(const ops_sampling *s)
{
    if (!(s->temperature > 0)) return 0;
    return (unsigned char)(SAMPLE_DRAWS | (s->top_k > 0 ? SAMPLE_TOP_K : 0) | (s->top_p < 1 ? SAMPLE_TOP_P : 0));
}

status cuda_slot_begin(ops_context *c, int slot, const ops_sampling *sampling, const int32_t *ids, int n_ids,
                       int n_generated, status_detail *detail)
{
    struct cuda_sampler_state *s = c->sampler;
    STATUS_TRY(check_slot(c, slot, sampling, ids, n_ids, n_generated, detail));
    cuda_check(c, cudaSetDevice(c->device), "a new slot");
    ops_sampling *staged = (ops_sampling *)cuda_step_stage(c, sizeof *staged);
    int32_t *last = (int32_t *)cuda_step_stage(c, sizeof *last);
    *last = ids && n_ids > 0 ? ids[n_ids - 1] : 0;
    size_t bytes = write_sampling(sampling, c->shape.vocab, s->order, staged);
    cuda_check(c, cudaMemcpyAsync(s->slots + slot, staged, bytes, cudaMemcpyHostToDevice, c->stream), "a new slot");
    cuda_check(c, cudaMemcpyAsync(s->args.last + slot, last, sizeof *last, cudaMemcpyHostToDevice, c->stream),
               "a new slot");
    if (sample_penalised(*sampling)) count_ids(c, slot, ids, n_ids, n_generated);
    s->features[slot] = features_of(sampling);
    return STATUS_OK;
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

unsigned cuda_sample_features(const ops_context *c, const ops_logit_row *rows, int n)
{
    unsigned features = 0;
    for (int i = 0; i < n; i++) {
        if (rows[i].target < 0) features |= c->sampler->features[rows[i].slot];
        if (rows[i].top >= 0) features |= SAMPLE_LOGPROBS;
    }
    return features;
}

void cuda_sample(ops_context *c, const float *logits, const ops_logit_row *rows, int n, int first_result)
{
    cuda_sample_args a = c->sampler->args;
    unsigned features = cuda_sample_features(c, rows, n);
    if (n == 0) return;
    a.logits = logits;
    a.rows = cuda_step_rows(c, rows, n);
    a.n = n;
    a.first_result = first_result;
    cuda_sample_peak(c->stream, &a);
    if (features & SAMPLE_TOP_K) cuda_sample_select(c->stream, &a, false);
    if (features & SAMPLE_TOP_P) cuda_sample_select(c->stream, &a, true);
    if (features & SAMPLE_DRAWS) cuda_sample_draw(c->stream, &a);
    if (features & SAMPLE_LOGPROBS) cuda_sample_logprobs(c->stream, &a);
    cuda_check(c, cudaGetLastError(), "sampling");
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

status cuda_results(ops_context *c, int ago, int first, int n, ops_token *out, status_detail *detail)
{
    if (ago < 0 || ago > 1 || first < 0 || n < 0 || first > c->shape.max_tokens - n)
        return status_fail(detail, STATUS_INTERNAL,
                           "results %d to %d of %d steps ago were asked for; two steps of %d are kept", first,
                           first + n, ago, c->shape.max_tokens);
    cuda_check(c, cudaSetDevice(c->device), "results");
    cuda_step_wait(c, ago);
    STATUS_TRY(cuda_report(c, detail));
    const ops_token *results =
        c->sampler->args.results + (size_t)(cuda_step_parity_now(c) ^ ago) * (size_t)c->shape.max_tokens + first;
    for (int i = 0; i < n; i++) {
        const ops_token *from = &results[i];
        size_t top = (size_t)from->n_top;
        memset(&out[i], 0, sizeof out[i]);
        out[i].id = from->id;
        out[i].logprob = from->logprob;
        out[i].rank = from->rank;
        out[i].n_top = from->n_top;
        memcpy(out[i].top_ids, from->top_ids, top * sizeof *from->top_ids);
        memcpy(out[i].top_logprobs, from->top_logprobs, top * sizeof *from->top_logprobs);
    }
    return STATUS_OK;
}
