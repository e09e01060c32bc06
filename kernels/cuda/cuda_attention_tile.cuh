/* Pieces that both attention kernels are made of: a warp's 16 rows of queries against tiles of 64 keys in shared memory.
 *
 * Rows are (token, head) pairs of one key/value head's group, so that all of them share its keys: row r of a sequence's run is token r / group,
 * query head kv_head * group + r % group. Online softmax as in FlashAttention-2 (Dao 2023), section 3.1; the sink enters the denominator at the
 * end (openai/gpt-oss `gpt_oss/torch/model.py` sdpa).
 */
#ifndef KERNELS_CUDA_CUDA_ATTENTION_TILE_CUH
#define KERNELS_CUDA_CUDA_ATTENTION_TILE_CUH

#include "kernels/cuda/cuda.h"

enum { ATTENTION_KEYS = 64 };

/* One layer's attention over the current batch; shared by all its kernels. */
typedef struct attention_args {
    const bf16 *q;                /* [rows, q_heads, head_dim] */
    bf16 *out;                    /* likewise */
    const bf16 *k_cache, *v_cache; /* [blocks, block_tokens, kv_heads, head_dim] */
    const bf16 *sinks;            /* [q_heads] */
    const int32_t *table;         /* [sequences, table_stride] */
    const int32_t *sequence_start, *contexts;
    const int32_t *tile_sequence, *tile_token; /* prefill: which tokens a block has */
    float *partial;               /* decode: [sequences, q_heads, splits, head_dim + 2]: sums, largest, denominator */
    int table_stride, block_tokens, q_heads, kv_heads, group, head_dim, splits;
    int window;                   /* keys visible, 0: all */
    float scale;                  /* 1 / sqrt(head_dim) */
} attention_args;

__device__ static inline void attention_copy_16(void *shared, const void *global, bool valid)
{
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes));
}

__device__ static inline void attention_mma(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Four 8 x 8 matrices; each lane gives the address, in shared memory, of a row. */
__device__ static inline void attention_ldmatrix_at(uint32_t r[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
__device__ static inline void attention_ldmatrix_transposed_at(uint32_t r[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
__device__ static inline void attention_ldmatrix(uint32_t r[4], const void *shared) { attention_ldmatrix_at(r, (uint32_t)__cvta_generic_to_shared(shared)); }
__device__ static inline void attention_ldmatrix_transposed(uint32_t r[4], const void *shared)
{
    attention_ldmatrix_transposed_at(r, (uint32_t)__cvta_generic_to_shared(shared));
}

__device__ static inline uint32_t attention_pack(float low, float high)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *(uint32_t *)&both;
}

/* Tiles in shared memory are rows of DIM elements in 16-byte chunks, chunk c of row r at c ^ (r % 8) (within the row's chunks). */
template <int DIM> __device__ static inline int attention_chunk(int row, int chunk)
{
    enum { CHUNKS = DIM / 8 };
    return row * CHUNKS + (chunk ^ (row & (CHUNKS < 8 ? CHUNKS - 1 : 7)));
}

/* Starts copying keys (or values) [first, first + 64) of one kv head into `tile`; positions outside [low, high) become zeros. Called by `threads`
 * threads, this one being `thread`. */
template <int DIM>
__device__ static inline void attention_load(uint4 *tile, const bf16 *cache, const attention_args &a, const int32_t *table, int kv_head, int first, int low, int high,
                                             int thread, int threads)
{
    enum { CHUNKS = DIM / 8 };
    for (int i = thread; i < ATTENTION_KEYS * CHUNKS; i += threads) {
        int key = i / CHUNKS, chunk = i % CHUNKS, position = first + key;
        bool valid = position >= low && position < high;
        int64_t token = valid ? (int64_t)table[position / a.block_tokens] * a.block_tokens + position % a.block_tokens : 0;
        attention_copy_16(tile + attention_chunk<DIM>(key, chunk), cache + (token * a.kv_heads + kv_head) * DIM + chunk * 8, valid);
    }
}

/* A warp's state: two rows per thread, lane / 4 and lane / 4 + 8. */
template <int DIM> struct attention_state {
    uint32_t q[DIM / 16][4]; /* A fragments */
    float sums[DIM / 8][4];
    float largest[2], total[2];
};

/* Queries of 16 rows into fragments; `rows[i]` is the global row of q for thread row i (NULL: no such row, zeros). */
template <int DIM> __device__ static inline void attention_begin(attention_state<DIM> &s, const bf16 *const rows[2], int lane)
{
    int t = lane % 4;
#pragma unroll
    for (int i = 0; i < DIM / 16; i++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            s.q[i][half] = rows[half] ? *(const uint32_t *)(rows[half] + 16 * i + 2 * t) : 0;
            s.q[i][half + 2] = rows[half] ? *(const uint32_t *)(rows[half] + 16 * i + 2 * t + 8) : 0;
        }
    }
#pragma unroll
    for (int i = 0; i < DIM / 8; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s.sums[i][j] = 0;
    s.largest[0] = s.largest[1] = -INFINITY;
    s.total[0] = s.total[1] = 0;
}

/* One tile of keys and values. Thread row i sees positions low[i] <= position <= high[i]. */
template <int DIM>
__device__ static inline void attention_tile(attention_state<DIM> &s, const uint4 *keys, const uint4 *values, int first, const int low[2], const int high[2],
                                             float scale, int lane)
{
    float scores[ATTENTION_KEYS / 8][4];
#pragma unroll
    for (int n = 0; n < ATTENTION_KEYS / 8; n += 2) { /* 16 keys at a time: two score tiles */
#pragma unroll
        for (int j = 0; j < 4; j++) scores[n][j] = scores[n + 1][j] = 0;
#pragma unroll
        for (int i = 0; i < DIM / 16; i++) {
            uint32_t b[4];
            int key = 8 * n + (lane % 8) + (lane / 16) * 8, chunk = 2 * i + (lane / 8) % 2;
            attention_ldmatrix(b, keys + attention_chunk<DIM>(key, chunk));
            attention_mma(scores[n], s.q[i], b[0], b[1]);
            attention_mma(scores[n + 1], s.q[i], b[2], b[3]);
        }
    }
    float best[2] = {s.largest[0], s.largest[1]};
#pragma unroll
    for (int n = 0; n < ATTENTION_KEYS / 8; n++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int position = first + 8 * n + 2 * (lane % 4) + j % 2, row = j / 2;
            scores[n][j] = position >= low[row] && position <= high[row] ? scores[n][j] * scale : -INFINITY;
            best[row] = fmaxf(best[row], scores[n][j]);
        }
    }
    float shrink[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        best[row] = fmaxf(best[row], __shfl_xor_sync(~0u, best[row], 1));
        best[row] = fmaxf(best[row], __shfl_xor_sync(~0u, best[row], 2));
        shrink[row] = best[row] == -INFINITY ? 1.0f : __expf(s.largest[row] - best[row]);
        s.largest[row] = best[row];
        s.total[row] *= shrink[row];
    }
    float base[2] = {best[0] == -INFINITY ? 0 : best[0], best[1] == -INFINITY ? 0 : best[1]};
#pragma unroll
    for (int i = 0; i < DIM / 8; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s.sums[i][j] *= shrink[j / 2];
#pragma unroll
    for (int n = 0; n < ATTENTION_KEYS / 8; n++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            scores[n][j] = __expf(scores[n][j] - base[j / 2]);
            s.total[j / 2] += scores[n][j];
        }
#pragma unroll
    for (int n = 0; n < ATTENTION_KEYS / 16; n++) {
        uint32_t p[4] = {attention_pack(scores[2 * n][0], scores[2 * n][1]), attention_pack(scores[2 * n][2], scores[2 * n][3]),
                         attention_pack(scores[2 * n + 1][0], scores[2 * n + 1][1]), attention_pack(scores[2 * n + 1][2], scores[2 * n + 1][3])};
#pragma unroll
        for (int i = 0; i < DIM / 16; i++) {
            uint32_t b[4];
            int key = 16 * n + (lane % 8) + ((lane / 8) % 2) * 8, chunk = 2 * i + lane / 16;
            attention_ldmatrix_transposed(b, values + attention_chunk<DIM>(key, chunk));
            attention_mma(s.sums[2 * i], p, b[0], b[1]);
            attention_mma(s.sums[2 * i + 1], p, b[2], b[3]);
        }
    }
}

/* The denominators of a quad's rows are spread over its four threads. */
template <int DIM> __device__ static inline void attention_end(attention_state<DIM> &s)
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        s.total[row] += __shfl_xor_sync(~0u, s.total[row], 1);
        s.total[row] += __shfl_xor_sync(~0u, s.total[row], 2);
    }
}

#endif
