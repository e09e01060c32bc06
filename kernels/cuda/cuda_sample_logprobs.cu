/* Log-probabilities of raw logits: the id's own, its rank, and the best ids. */
#include "kernels/cuda/cuda_sample.cuh"

/* ---- the best of a block's ids ---------------------------------------------------------------------------------- */

/* The `top` greatest of the block's packed numbers, all different but for 0, SAMPLE_EACH in each thread, into best
 * [top]; 0 where there are no more. */
__device__ static void best_of(uint64_t held[SAMPLE_EACH], int top, uint64_t *best)
{
    for (int i = 0; i < top; i++) {
        uint64_t mine = 0;
#pragma unroll
        for (int k = 0; k < SAMPLE_EACH; k++)
            if (held[k] > mine) mine = held[k];
        uint64_t winner = sample_block_max(mine);
        if (threadIdx.x == 0) best[i] = winner;
#pragma unroll
        for (int k = 0; k < SAMPLE_EACH; k++)
            if (held[k] == winner) held[k] = 0;
    }
}

/* The `top` greatest of all chunks' best, `count` numbers in device memory, into best [top] in shared memory; as many
 * rounds as it takes. */
__device__ static void best_of_chunks(const uint64_t *numbers, int count, int top, uint64_t *best)
{
    enum { FRESH = SAMPLE_CHUNK - OPS_MAX_TOP_LOGPROBS };
    for (int done = 0; done < count; done += FRESH) {
        uint64_t held[SAMPLE_EACH];
        __syncthreads();
#pragma unroll
        for (int k = 0; k < SAMPLE_EACH; k++) {
            int at = threadIdx.x + k * SAMPLE_THREADS;
            bool fresh = at < FRESH;
            held[k] = 0;
            if (fresh && done + at < count) held[k] = __ldcg(numbers + done + at);
            if (!fresh && done && at - FRESH < top) held[k] = best[at - FRESH]; /* of the rounds before */
        }
        __syncthreads();
        best_of(held, top, best);
    }
    __syncthreads();
}

/* ---- sums ------------------------------------------------------------------------------------------------------- */

/* The block's sum, for thread 0; pairs are added in a fixed order. */
template <typename number> __device__ static number block_sum(number value)
{
    __shared__ number warps[SAMPLE_WARPS];
    for (int step = 16; step; step /= 2) value += __shfl_xor_sync(~0u, value, step);
    __syncthreads();
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    number sum = 0;
    for (int i = 0; i < SAMPLE_WARPS; i++) sum += warps[i];
    return sum;
}

/* exp(logit - largest); 0 where even the largest is -inf. */
__device__ static double share(float logit, float largest)
{
    return logit == -INFINITY ? 0 : exp((double)logit - (double)largest);
}

__device__ static void sum_chunk(const cuda_sample_args &a, int row, int first, const float *values, float own,
                                 float largest)
{
    double sum = 0;
    int higher = 0;
    for (int i = 0; i < SAMPLE_EACH; i++) {
        float logit = values[threadIdx.x + i * SAMPLE_THREADS];
        sum += share(logit, largest);
        higher += logit > own;
    }
    sum = block_sum(sum);
    higher = block_sum(higher);
    if (threadIdx.x == 0)
        a.parts[(int64_t)row * a.chunks + first / SAMPLE_CHUNK] = (cuda_sample_part){sum, largest, higher};
}

/* log(sum(exp(logits))) and the rank, for thread 0; 0 when all logits are -inf: every log-probability is then -inf. */
__device__ static double join_chunks(const cuda_sample_args &a, int row, int *rank)
{
    const cuda_sample_part *parts = a.parts + (int64_t)row * a.chunks;
    uint64_t peak = 0;
    double sum = 0;
    int higher = 0;
    for (int i = threadIdx.x; i < a.chunks; i += SAMPLE_THREADS) {
        uint64_t packed = sample_pack(__ldcg(&parts[i].largest), 0);
        if (packed > peak) peak = packed;
    }
    float largest = sample_packed_logit(sample_block_max(peak));
    for (int i = threadIdx.x; i < a.chunks; i += SAMPLE_THREADS) {
        sum += share(__ldcg(&parts[i].largest), largest) * __ldcg(&parts[i].sum);
        higher += __ldcg(&parts[i].higher);
    }
    sum = block_sum(sum);
    *rank = block_sum(higher);
    return largest == -INFINITY ? 0 : (double)largest + log(sum);
}

/* ---- kernel ----------------------------------------------------------------------------------------------------- */

__device__ static void write_result(const cuda_sample_args &a, int row, float own, int top, const uint64_t *best)
{
    __shared__ double total;
    ops_token *out = sample_result(a, row);
    int rank;
    double sum = join_chunks(a, row, &rank);
    if (threadIdx.x == 0) {
        total = sum;
        out->id = a.state[row].id;
        out->logprob = (float)((double)own - sum);
        out->rank = rank;
        out->n_top = top < a.vocab ? top : a.vocab;
    }
    __syncthreads();
    if ((int)threadIdx.x >= top || (int)threadIdx.x >= a.vocab) return;
    out->top_ids[threadIdx.x] = sample_packed_id(best[threadIdx.x]);
    out->top_logprobs[threadIdx.x] = (float)((double)sample_packed_logit(best[threadIdx.x]) - total);
}

__global__ void __launch_bounds__(SAMPLE_THREADS) sample_logprobs_kernel(const __grid_constant__ cuda_sample_args a)
{
    __shared__ float values[SAMPLE_CHUNK];
    __shared__ uint64_t best[OPS_MAX_TOP_LOGPROBS];
    int row = blockIdx.y, chunk = blockIdx.x, first = chunk * SAMPLE_CHUNK,
        top = min(a.rows[row].top, (int)OPS_MAX_TOP_LOGPROBS);
    if (top < 0) return;
    float own = sample_logit(a, row, a.state[row].id);
    sample_load(a, row, first, values);
    uint64_t held[SAMPLE_EACH], peak = 0;
#pragma unroll
    for (int k = 0; k < SAMPLE_EACH; k++) {
        int at = threadIdx.x + k * SAMPLE_THREADS;
        held[k] = first + at < a.vocab ? sample_pack(values[at], first + at) : 0;
        if (held[k] > peak) peak = held[k];
    }
    sum_chunk(a, row, first, values, own, sample_packed_logit(sample_block_max(peak)));
    uint64_t *all = a.best + (int64_t)row * a.chunks * OPS_MAX_TOP_LOGPROBS;
    best_of(held, top, best);
    __syncthreads();
    if ((int)threadIdx.x < top) all[chunk * top + threadIdx.x] = best[threadIdx.x];
    if (!sample_last_block(a.state + row)) return;
    if (top) best_of_chunks(all, a.chunks * top, top, best);
    write_result(a, row, own, top, best);
}

void cuda_sample_logprobs(cudaStream_t stream, const cuda_sample_args *a)
{
    sample_logprobs_kernel<<<dim3((unsigned)a->chunks, (unsigned)a->n), SAMPLE_THREADS, 0, stream>>>(*a);
}
