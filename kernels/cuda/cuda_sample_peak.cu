/* The highest adjusted logit of each row that draws, and the end of greedy rows. */
#include "kernels/cuda/cuda_sample.cuh"

/* Starts the row's state from its best id. */
__device__ static void begin_row(const cuda_sample_args &a, int row, uint64_t peak)
{
    cuda_sample_row *state = a.state + row;
    const ops_sampling &s = a.slots[a.rows[row].slot];
    int32_t id = sample_packed_id(peak);
    float largest = sample_packed_logit(peak);
    if (!(s.temperature > 0) || largest == -INFINITY) {
        sample_commit(a, row, id);
        return;
    }
    state->drawing = 1;
    state->id = id;
    state->largest = largest;
    state->bound = sample_noisy(0, sample_noise(s, a.rows[row].position, id).word[id % 4]);
    state->cut_key = 0;
    state->cut_id = INT32_MAX;
}

__global__ void __launch_bounds__(SAMPLE_THREADS) sample_peak_kernel(const __grid_constant__ cuda_sample_args a)
{
    __shared__ float values[SAMPLE_CHUNK];
    int row = blockIdx.y, chunk = blockIdx.x, first = chunk * SAMPLE_CHUNK;
    const ops_logit_row &wanted = a.rows[row];
    if (wanted.target >= 0) { /* scored, not drawn */
        if (chunk == 0 && threadIdx.x == 0) {
            a.state[row].drawing = 0;
            a.state[row].id = wanted.target;
            if (wanted.top < 0) {
                ops_token *out = sample_result(a, row);
                out->id = wanted.target;
                out->logprob = 0;
                out->rank = out->n_top = 0;
            }
        }
        return;
    }
    sample_load_adjusted(a, row, first, values);
    uint64_t peak = 0;
    for (int i = 0; i < SAMPLE_EACH; i++) {
        int at = threadIdx.x + i * SAMPLE_THREADS;
        uint64_t packed = sample_pack(values[at], first + at);
        if (packed > peak) peak = packed;
    }
    peak = sample_block_max(peak);
    uint64_t *peaks = a.peaks + (int64_t)row * a.chunks;
    if (threadIdx.x == 0) peaks[chunk] = peak;
    if (!sample_last_block(a.state + row)) return;
    peak = 0;
    for (int i = threadIdx.x; i < a.chunks; i += SAMPLE_THREADS)
        if (__ldcg(peaks + i) > peak) peak = __ldcg(peaks + i);
    peak = sample_block_max(peak);
    if (threadIdx.x == 0) begin_row(a, row, peak);
}

void cuda_sample_peak(cudaStream_t stream, const cuda_sample_args *a)
{
    sample_peak_kernel<<<dim3((unsigned)a->chunks, (unsigned)a->n), SAMPLE_THREADS, 0, stream>>>(*a);
}
