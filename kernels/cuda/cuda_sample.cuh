/* What the sampler's kernels share. The rule of a draw is in kernels/README.md, "Sampling"; the CPU backend's
 * cpu_sample*.c is the same rule.
 *
 * A call is a chain of kernels over (chunk of ids, row), each of which leaves what it found in the row's
 * cuda_sample_row; the last block of a row to finish puts the chunks' parts together, in the order of chunks:
 *
 *   peak       the highest adjusted logit; at temperature 0 that is the id
 *   select     (top_k, then top_p, if some row wants them) three digits of the key at which the row is cut, by
 * histograms draw       Gumbel-max over what is left logprobs   (if some row wants them) of the raw logits
 *
 * Nothing depends on the order in which blocks run: sums are of integers, or in a fixed order. So all ranks draw the
 * same id.
 */
#ifndef KERNELS_CUDA_CUDA_SAMPLE_CUH
#define KERNELS_CUDA_CUDA_SAMPLE_CUH

#include "kernels/cuda/cuda.h"
#include "kernels/philox.h"

enum {
    SAMPLE_THREADS = 256,
    SAMPLE_EACH = 8,
    SAMPLE_CHUNK = SAMPLE_THREADS * SAMPLE_EACH,
    SAMPLE_WARPS = SAMPLE_THREADS / 32
};
enum { SAMPLE_DIGITS = 3, SAMPLE_BINS = 2048 };

/* Counts of one slot's ids, one word each: how often the id was generated, and whether it was ever seen (prompt or
 * generated). */
#define CUDA_COUNT_SEEN 0x80000000u
#define CUDA_COUNT_GENERATED 0x7fffffffu

/* Which kernels a call needs: cuda_sample_features. */
enum { SAMPLE_DRAWS = 1, SAMPLE_TOP_K = 2, SAMPLE_TOP_P = 4, SAMPLE_LOGPROBS = 8 };

/* What one kernel tells the next about a row. */
typedef struct cuda_sample_row {
    unsigned ticket;  /* blocks that are done with the running kernel; 0 between kernels */
    int32_t drawing;  /* 1: the id is still to be drawn among several */
    int32_t id;       /* so far: the best; in the end: the drawn one */
    float largest;    /* adjusted logit of the best */
    double bound;     /* z + noise of the best: what others must exceed */
    uint32_t cut_key; /* kept: keys above it, and at it the ids up to cut_id */
    int32_t cut_id;
    int32_t selecting;  /* 1: the selection under way cuts something off */
    uint32_t prefix;    /* leading digits of the key it cuts at */
    uint64_t remaining; /* what is still to be kept of the ids with these digits: a count, or a mass */
} cuda_sample_row;

/* Logits of a chunk, for log-probabilities. */
typedef struct cuda_sample_part {
    double sum; /* of exp(logit - largest) */
    float largest;
    int32_t higher; /* ids with a logit above the row's own */
} cuda_sample_part;

typedef struct cuda_sample_args {
    const float *logits;       /* [shards, n, shard_cols] */
    const ops_logit_row *rows; /* [n] */
    const ops_sampling *slots; /* [max_sequences] bias sorted by id, ids of the vocabulary only */
    uint32_t *counts;          /* [max_sequences, vocab]; of slots with a penalty */
    int32_t *last;             /* [max_sequences] */
    const uint32_t *masks;     /* [n_masks, mask_words] of the batch */
    cuda_sample_row *state;    /* [n] */
    uint64_t *peaks;           /* [n, chunks] packed */
    double *draw_keys;         /* [n, chunks] */
    int32_t *draw_ids;         /* [n, chunks] */
    uint64_t *bins;            /* [n, SAMPLE_BINS] zero between kernels */
    cuda_sample_part *parts;   /* [n, chunks] */
    uint64_t *best;            /* [n, chunks, OPS_MAX_TOP_LOGPROBS] packed */
    ops_token *results;        /* page-locked host memory, [2, max_results] */
    const int32_t *parity;     /* which of the two */
    int n, vocab, shard_cols, chunks, max_results, first_result, mask_words;
    int mass_bits; /* the best id's probability mass is 1 << mass_bits; all masses of a row add up to less than 1 << 63
                    */
} cuda_sample_args;

void cuda_sample_peak(cudaStream_t stream, const cuda_sample_args *a);
/* One selection: by_mass: top_p, otherwise top_k. */
void cuda_sample_select(cudaStream_t stream, const cuda_sample_args *a, bool by_mass);
void cuda_sample_draw(cudaStream_t stream, const cuda_sample_args *a);
void cuda_sample_logprobs(cudaStream_t stream, const cuda_sample_args *a);

#ifdef __CUDACC__

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

/* NaN becomes -inf (never drawn) and +inf the largest finite float, so that differences of logits are never NaN. */
__device__ static inline float sample_clean(float logit)
{
    if (logit != logit) return -INFINITY;
    return fminf(logit, __FLT_MAX__);
}

/* Unsigned order of keys is the order of floats; both zeros have one key. */
__device__ static inline uint32_t sample_key(float logit)
{
    uint32_t bits = __float_as_uint(logit + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ static inline float sample_unkey(uint32_t key)
{
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/* (logit, id) as one number: greater is better, the lower id among equal logits. 0 is below all. */
__device__ static inline uint64_t sample_pack(float logit, int32_t id)
{
    return (uint64_t)sample_key(logit) << 32 | (uint32_t)~id;
}
__device__ static inline int32_t sample_packed_id(uint64_t packed) { return (int32_t) ~(uint32_t)packed; }
__device__ static inline float sample_packed_logit(uint64_t packed) { return sample_unkey((uint32_t)(packed >> 32)); }

/* z of kernels/README.md; in double no temperature above 0 overflows. */
__device__ static inline double sample_scaled(float logit, float largest, float temperature)
{
    return ((double)logit - (double)largest) / (double)temperature;
}

/* ---- a block's ids ---------------------------------------------------------------------------------------------- */

__device__ static inline float sample_logit(const cuda_sample_args &a, int row, int id)
{
    int shard = id / a.shard_cols;
    return sample_clean(__ldg(a.logits + ((int64_t)shard * a.n + row) * a.shard_cols + (id - shard * a.shard_cols)));
}

/* Raw logits of ids [first, first + SAMPLE_CHUNK) into shared memory, -inf past the vocabulary. */
__device__ static inline void sample_load(const cuda_sample_args &a, int row, int first, float *values)
{
    __syncthreads(); /* whoever still reads what was there */
#pragma unroll
    for (int i = 0; i < SAMPLE_EACH; i++) {
        int at = threadIdx.x + i * SAMPLE_THREADS;
        values[at] = first + at < a.vocab ? sample_logit(a, row, first + at) : -INFINITY;
    }
    __syncthreads();
}

__device__ static inline void sample_add_bias(const ops_sampling &s, int first, float *values)
{
    for (int i = threadIdx.x; i < s.n_bias; i += SAMPLE_THREADS) {
        int32_t id = s.bias_ids[i];
        if (id < first || id >= first + SAMPLE_CHUNK || (i && s.bias_ids[i - 1] == id)) continue;
        float value = values[id - first];
        for (int k = i; k < s.n_bias && s.bias_ids[k] == id; k++) value = sample_clean(value + s.bias_values[k]);
        values[id - first] = value;
    }
}

__device__ static inline void sample_suppress(const ops_sampling &s, int first, float *values)
{
    for (int i = threadIdx.x; i < s.n_suppressed; i += SAMPLE_THREADS) {
        int32_t id = s.suppressed[i];
        if (id >= first && id < first + SAMPLE_CHUNK) values[id - first] = -INFINITY;
    }
}

/* Repetition: Keskar et al. 2019, "CTRL", section 4.1, with the sign taken into account. Frequency and presence:
 * OpenAI's API reference. */
__device__ static inline float sample_penalise(const ops_sampling &s, uint32_t count, float logit)
{
    uint32_t generated = count & CUDA_COUNT_GENERATED;
    logit = logit > 0 ? logit / s.repetition_penalty : logit * s.repetition_penalty;
    if (generated) logit = logit - s.frequency_penalty * (float)generated - s.presence_penalty;
    return sample_clean(logit);
}

__host__ __device__ static inline bool sample_penalised(const ops_sampling &s)
{
    return s.repetition_penalty != 1 || s.presence_penalty != 0 || s.frequency_penalty != 0;
}

/* Ids that the row's mask lacks; -inf stays -inf under a penalty. */
__device__ static inline void sample_mask(const cuda_sample_args &a, int mask, int first, float *values)
{
    const uint32_t *words = a.masks + (int64_t)(mask - 1) * a.mask_words + first / 32;
    for (int at = threadIdx.x; at < SAMPLE_CHUNK && first + at < a.vocab; at += SAMPLE_THREADS)
        if (!(words[at / 32] >> (at % 32) & 1)) values[at] = -INFINITY;
}

/* Adjusted logits likewise: bias, suppression, mask, penalties. */
__device__ static inline void sample_load_adjusted(const cuda_sample_args &a, int row, int first, float *values)
{
    const ops_logit_row &wanted = a.rows[row];
    const ops_sampling &s = a.slots[wanted.slot];
    sample_load(a, row, first, values);
    if (s.n_bias > 0) {
        sample_add_bias(s, first, values);
        __syncthreads();
    }
    if (s.n_suppressed > 0 && wanted.generated < s.min_tokens) {
        sample_suppress(s, first, values);
        __syncthreads();
    }
    if (wanted.mask > 0) {
        sample_mask(a, wanted.mask, first, values);
        __syncthreads();
    }
    if (!sample_penalised(s)) return;
    const uint32_t *counts = a.counts + (int64_t)wanted.slot * a.vocab + first;
    for (int at = threadIdx.x; at < SAMPLE_CHUNK && first + at < a.vocab; at += SAMPLE_THREADS)
        if (counts[at]) values[at] = sample_penalise(s, counts[at], values[at]);
    __syncthreads();
}

/* ---- blocks together -------------------------------------------------------------------------------------------- */

/* The largest value of the block, for all its threads. */
__device__ static inline uint64_t sample_block_max(uint64_t value)
{
    __shared__ uint64_t warps[SAMPLE_WARPS];
    for (int step = 16; step; step /= 2) {
        uint64_t other = __shfl_xor_sync(~0u, value, step);
        if (other > value) value = other;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    for (int i = 0; i < SAMPLE_WARPS; i++)
        if (warps[i] > value) value = warps[i];
    return value;
}

/* True, for all threads, in the block of a row that is the last to call this; it then sees what the others wrote. */
__device__ static inline bool sample_last_block(cuda_sample_row *state)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(&state->ticket, 1u) == gridDim.x - 1;
        if (last) state->ticket = 0;
    }
    __syncthreads();
    if (last) __threadfence();
    return last;
}

__device__ static inline ops_token *sample_result(const cuda_sample_args &a, int row)
{
    return a.results + (int64_t)*a.parity * a.max_results + a.first_result + row;
}

/* The row's id is decided: one thread, once per row, when all blocks have read the slot. */
__device__ static inline void sample_commit(const cuda_sample_args &a, int row, int32_t id)
{
    int slot = a.rows[row].slot;
    a.state[row].drawing = 0;
    a.state[row].id = id;
    a.last[slot] = id;
    if (sample_penalised(a.slots[slot])) {
        uint32_t *count = a.counts + (int64_t)slot * a.vocab + id;
        *count = (*count + 1) | CUDA_COUNT_SEEN;
    }
    if (a.rows[row].top >= 0) return; /* cuda_sample_logprobs writes the result */
    ops_token *out = sample_result(a, row);
    out->id = id;
    out->logprob = 0;
    out->rank = out->n_top = 0;
}

/* ---- the draw --------------------------------------------------------------------------------------------------- */

/* Gumbel noise of an id added to its z: u = (word + 1/2) / 2^32, e = -log(1 - u) is exponential, -log(e) is Gumbel. */
__device__ static inline double sample_noisy(double z, uint32_t word)
{
    return z - log(-log1p(-((double)word + 0.5) * 0x1p-32));
}

__device__ static inline philox_block sample_noise(const ops_sampling &s, int position, int32_t id)
{
    philox_block counter = {{(uint32_t)id / 4, (uint32_t)position, 0, 0}};
    return philox(counter, s.seed);
}

#endif
#endif
