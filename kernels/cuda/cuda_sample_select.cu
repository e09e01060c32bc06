/* Where top_k and top_p cut a row, without sorting it: a radix selection over (logit, id). Each of three kernels makes
 * a histogram of one digit of the key, of those ids whose earlier digits are the cut's, counting ids (top_k) or adding
 * up their probability mass (top_p); the row's last block then walks down from the best bin until what is to be kept is
 * reached. Ids at the very logit of the cut are kept from the lowest on.
 *
 * Masses are fixed-point: exp(z) * 2^mass_bits as an integer, 2^44 for a vocabulary of 200,000. Their sums do not
 * depend on the order of adding.
 */
#include "kernels/cuda/cuda_sample.cuh"

/* 11, 11 and 10 bits. */
__device__ static int digit_shift(int digit) { return digit == 0 ? 21 : digit == 1 ? 10 : 0; }
__device__ static int digit_bits(int digit) { return digit == 2 ? 10 : 11; }

typedef struct selection {
    const cuda_sample_args *a;
    const ops_sampling *s;
    cuda_sample_row *state;
    int row, digit;
    bool by_mass;
    double floor; /* log(min_p), or -inf */
} selection;

/* What an id adds to its bin; 0: it takes no part, or its mass is too small to count. */
__device__ static uint64_t amount(const selection &w, float logit, int32_t id)
{
    uint32_t key = sample_key(logit);
    const cuda_sample_row &state = *w.state;
    if (logit == -INFINITY || key < state.cut_key || (key == state.cut_key && id > state.cut_id)) return 0;
    if (w.digit && key >> (digit_shift(w.digit) + digit_bits(w.digit)) != state.prefix) return 0;
    if (!w.by_mass && !(w.s->min_p > 0)) return 1;
    double z = sample_scaled(logit, state.largest, w.s->temperature);
    if (z < w.floor) return 0;
    return w.by_mass ? (uint64_t)llrint(exp(z) * (double)((uint64_t)1 << w.a->mass_bits)) : 1;
}

/* ---- histogram -------------------------------------------------------------------------------------------------- */

/* 64-bit sums in shared memory out of native 32-bit atomics. */
typedef struct histogram {
    unsigned low[SAMPLE_BINS], high[SAMPLE_BINS];
} histogram;

__device__ static void add(histogram *h, int bin, uint64_t value)
{
    unsigned low = (unsigned)value, high = (unsigned)(value >> 32);
    if (atomicAdd(&h->low[bin], low) + low < low) high++;
    if (high) atomicAdd(&h->high[bin], high);
}

__device__ static void count_chunk(const selection &w, int first, const float *values, histogram *h)
{
    for (int i = threadIdx.x; i < SAMPLE_BINS; i += SAMPLE_THREADS) h->low[i] = h->high[i] = 0;
    __syncthreads();
    for (int i = 0; i < SAMPLE_EACH; i++) {
        int at = threadIdx.x + i * SAMPLE_THREADS;
        uint64_t value = amount(w, values[at], first + at);
        if (value)
            add(h, (int)(sample_key(values[at]) >> digit_shift(w.digit) & ((1u << digit_bits(w.digit)) - 1)), value);
    }
    __syncthreads();
    unsigned long long *bins = (unsigned long long *)w.a->bins + (int64_t)w.row * SAMPLE_BINS;
    for (int i = threadIdx.x; i < SAMPLE_BINS; i += SAMPLE_THREADS) {
        unsigned long long sum = (unsigned long long)h->high[i] << 32 | h->low[i];
        if (sum) atomicAdd(bins + i, sum);
    }
}

/* ---- the cut ---------------------------------------------------------------------------------------------------- */

/* Sum of `value` over the threads before this one, and *total over all. */
__device__ static uint64_t sum_before(uint64_t value, uint64_t *total)
{
    __shared__ uint64_t warps[SAMPLE_WARPS];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint64_t running = value, before = 0, all = 0;
    for (int step = 1; step < 32; step *= 2) {
        uint64_t other = __shfl_up_sync(~0u, running, step);
        if (lane >= step) running += other;
    }
    __syncthreads();
    if (lane == 31) warps[warp] = running;
    __syncthreads();
    for (int i = 0; i < SAMPLE_WARPS; i++) {
        if (i < warp) before += warps[i];
        all += warps[i];
    }
    *total = all;
    return before + running - value;
}

/* How much is to be kept, known at the first digit when everything is in the histogram. */
__device__ static uint64_t wanted_amount(const selection &w, uint64_t total)
{
    if (!w.by_mass) return (uint64_t)w.s->top_k;
    double share = ceil((double)w.s->top_p * (double)total);
    return share < 1 ? 1 : (uint64_t)share;
}

typedef struct cut {
    bool found;
    int bin;
    uint64_t before, held; /* in better bins; in this one */
} cut;

/* The first bin, from the best down, at which `remaining` is reached. Empties the bins. */
__device__ static void find_bin(const selection &w, cut *out)
{
    enum { SHARE = SAMPLE_BINS / SAMPLE_THREADS };
    uint64_t *bins = w.a->bins + (int64_t)w.row * SAMPLE_BINS, held[SHARE], sum = 0, total,
             remaining = w.state->remaining;
    int best = SAMPLE_BINS - 1 - SHARE * (int)threadIdx.x;
#pragma unroll
    for (int i = 0; i < SHARE; i++) {
        held[i] = __ldcg(bins + best - i);
        bins[best - i] = 0;
        sum += held[i];
    }
    if (threadIdx.x == 0) *out = (cut){};
    uint64_t before = sum_before(sum, &total); /* no thread writes `remaining` before all have read it */
    if (w.digit == 0) remaining = wanted_amount(w, total);
    if (before < remaining && before + sum >= remaining && !(w.digit == 0 && total == remaining && !w.by_mass)) {
#pragma unroll
        for (int i = 0; i < SHARE; i++) {
            if (before < remaining && before + held[i] >= remaining) {
                *out = (cut){true, best - i, before, held[i]};
                w.state->remaining = remaining - before;
            }
            before += held[i];
        }
    }
    __syncthreads();
}

/* The id of rank `rank` (from 1) among the ids at the cut's key, lowest first. */
__device__ static void cut_ties(const selection &w, uint64_t rank, float *values)
{
    uint32_t key = w.state->prefix;
    uint64_t before = 0, total;
    for (int first = 0; first < w.a->vocab && before < rank; first += SAMPLE_CHUNK) {
        sample_load_adjusted(*w.a, w.row, first, values);
        int at = SAMPLE_EACH * (int)threadIdx.x;
        uint64_t ties = 0;
        for (int i = 0; i < SAMPLE_EACH; i++) ties += first + at + i < w.a->vocab && sample_key(values[at + i]) == key;
        uint64_t rest = before + sum_before(ties, &total);
        for (int i = 0; i < SAMPLE_EACH; i++)
            if (first + at + i < w.a->vocab && sample_key(values[at + i]) == key && ++rest == rank)
                w.state->cut_id = first + at + i;
        before += total;
    }
}

/* All digits are known: what the row keeps at the very key. */
__device__ static void finish(const selection &w, const cut &found, float *values)
{
    uint32_t key = w.state->prefix;
    uint64_t each = 1, kept, ties;
    if (w.by_mass)
        each = (uint64_t)llrint(exp(sample_scaled(sample_unkey(key), w.state->largest, w.s->temperature)) *
                                (double)((uint64_t)1 << w.a->mass_bits));
    kept = (w.state->remaining + each - 1) / each;
    ties = found.held / each;
    __syncthreads();
    if (threadIdx.x == 0) {
        if (key != w.state->cut_key) w.state->cut_id = INT32_MAX;
        w.state->cut_key = key;
    }
    __syncthreads();
    if (kept < ties) cut_ties(w, kept, values);
}

__global__ void __launch_bounds__(SAMPLE_THREADS)
    sample_select_kernel(const __grid_constant__ cuda_sample_args a, int digit, bool by_mass)
{
    __shared__ float values[SAMPLE_CHUNK];
    __shared__ histogram counted;
    __shared__ cut found;
    int row = blockIdx.y, first = blockIdx.x * SAMPLE_CHUNK;
    cuda_sample_row *state = a.state + row;
    if (!state->drawing || (digit && !state->selecting)) return;
    const ops_sampling &s = a.slots[a.rows[row].slot];
    if (by_mass ? !(s.top_p < 1) : s.top_k <= 0) return;
    selection w = {&a, &s, state, row, digit, by_mass, s.min_p > 0 ? log((double)s.min_p) : -INFINITY};
    sample_load_adjusted(a, row, first, values);
    count_chunk(w, first, values, &counted);
    if (!sample_last_block(state)) return;
    find_bin(w, &found);
    if (threadIdx.x == 0) {
        state->selecting = found.found;
        state->prefix = (digit ? state->prefix << digit_bits(digit) : 0) | (uint32_t)found.bin;
    }
    __syncthreads();
    if (found.found && digit == SAMPLE_DIGITS - 1) finish(w, found, values);
}

void cuda_sample_select(cudaStream_t stream, const cuda_sample_args *a, bool by_mass)
{
    for (int digit = 0; digit < SAMPLE_DIGITS; digit++)
        sample_select_kernel<<<dim3((unsigned)a->chunks, (unsigned)a->n), SAMPLE_THREADS, 0, stream>>>(*a, digit,
                                                                                                       by_mass);
}
