/* The draw among what the filters left: the highest z + noise. */
#include "kernels/cuda/cuda_sample.cuh"

typedef struct contest {
    double best; /* z + noise of `id` */
    int32_t id;
} contest;

__device__ static void challenge(contest *c, double best, int32_t id)
{
    if (best > c->best || (best == c->best && id < c->id)) {
        c->best = best;
        c->id = id;
    }
}

/* Lets an id compete. Because e > u, an id whose u exceeds exp(z - best) cannot win: for nearly all ids a look at the
 * leading bits of the word replaces two logarithms. */
__device__ static void consider(contest *c, int32_t id, double z, uint32_t word)
{
    double halvings = (c->best - z) * 1.4426950408889634 - 1e-6; /* log2(exp(best - z)); rounding must not decide */
    if (halvings >= 33) return;
    if (halvings >= 1 && word >> (32 - min((int)halvings, 32))) return;
    challenge(c, sample_noisy(z, word), id);
}

/* The block's winner, for thread 0. */
__device__ static void settle(contest *c)
{
    __shared__ contest warps[SAMPLE_WARPS];
    for (int step = 16; step; step /= 2) {
        double best = __shfl_xor_sync(~0u, c->best, step);
        int32_t id = __shfl_xor_sync(~0u, c->id, step);
        challenge(c, best, id);
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = *c;
    __syncthreads();
    for (int i = 0; i < SAMPLE_WARPS; i++) challenge(c, warps[i].best, warps[i].id);
}

/* The ids of a chunk, four neighbours at a time: they share a call of the generator. */
__device__ static void contest_chunk(const ops_sampling &s, const cuda_sample_row &state, int position, int first,
                                     const float *values, contest *c)
{
    /* log(2^33) below the best nothing can win; a look in float, with a unit to spare, dismisses most */
    float hopeless = (float)state.bound - 24.0f, inverse = 1.0f / s.temperature;
    double floor = s.min_p > 0 ? log((double)s.min_p) : -INFINITY;
    for (int i = 0; i < SAMPLE_EACH / 4; i++) {
        int at = 4 * (threadIdx.x + i * SAMPLE_THREADS);
        bool any = false;
        for (int k = 0; k < 4; k++)
            any |= values[at + k] > -INFINITY && !((values[at + k] - state.largest) * inverse < hopeless);
        if (!any) continue;
        philox_block noise = sample_noise(s, position, first + at);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float logit = values[at + k];
            int32_t id = first + at + k;
            uint32_t key = sample_key(logit);
            double z = sample_scaled(logit, state.largest, s.temperature);
            if (logit == -INFINITY || z < floor || key < state.cut_key || (key == state.cut_key && id > state.cut_id))
                continue;
            consider(c, id, z, noise.word[k]);
        }
    }
}

__global__ void __launch_bounds__(SAMPLE_THREADS) sample_draw_kernel(const __grid_constant__ cuda_sample_args a)
{
    __shared__ __align__(16) float values[SAMPLE_CHUNK];
    int row = blockIdx.y, chunk = blockIdx.x, first = chunk * SAMPLE_CHUNK;
    const cuda_sample_row &state = a.state[row];
    if (!state.drawing) return;
    sample_load_adjusted(a, row, first, values);
    contest c = {state.bound, state.id}; /* the best id stays in every filter */
    contest_chunk(a.slots[a.rows[row].slot], state, a.rows[row].position, first, values, &c);
    settle(&c);
    int64_t at = (int64_t)row * a.chunks;
    if (threadIdx.x == 0) {
        a.draw_keys[at + chunk] = c.best;
        a.draw_ids[at + chunk] = c.id;
    }
    if (!sample_last_block(a.state + row)) return;
    for (int i = threadIdx.x; i < a.chunks; i += SAMPLE_THREADS)
        challenge(&c, __ldcg(a.draw_keys + at + i), __ldcg(a.draw_ids + at + i));
    settle(&c);
    if (threadIdx.x == 0) sample_commit(a, row, c.id);
}

void cuda_sample_draw(cudaStream_t stream, const cuda_sample_args *a)
{
    sample_draw_kernel<<<dim3((unsigned)a->chunks, (unsigned)a->n), SAMPLE_THREADS, 0, stream>>>(*a);
}
