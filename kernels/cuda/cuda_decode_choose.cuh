/* The choice of experts in the decode kernel, which every block makes for itself; and which of them it then works for. */
#ifndef KERNELS_CUDA_CUDA_DECODE_CHOOSE_CUH
#define KERNELS_CUDA_CUDA_DECODE_CHOOSE_CUH

#include "kernels/cuda/cuda_decode_words.cuh"

/* Bits of a number such that the larger number has the larger ones; what is none is the smallest, but not 0. */
__device__ static inline uint32_t choose_order(float value)
{
    uint32_t bits = __float_as_uint(value);
    if (!(value == value)) return 1;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* By a warp: the top_k of a sequence's router logits, the lowest id winning ties, and the softmax over them; lane k has weight k before it is divided by their sum. */
__device__ static inline float choose_best(int lane, int sequence, decode_place p)
{
    enum { BATCH = MAX_ROUTED / 32 };
    decode_shared &s = decode_memory();
    int n = s.args.n_experts, index[BATCH];
    uint32_t v[BATCH], order[BATCH]; /* 0: not to be chosen any more */
#pragma unroll
    for (int i = 0; i < BATCH; i++) index[i] = s.args.places.logits + min(lane + 32 * i, n - 1);
    words_gather(p, index, v);
#pragma unroll
    for (int i = 0; i < BATCH; i++) order[i] = lane + 32 * i < n ? choose_order(__uint_as_float(v[i])) : 0;
    float weight = 0, largest = 0;
#pragma unroll 1
    for (int k = 0; k < s.args.top_k; k++) {
        uint32_t best = 0, id = MAX_ROUTED; /* best is 0 never: there are as many experts, of which none is chosen twice */
#pragma unroll
        for (int i = 0; i < BATCH; i++) best = max(best, order[i]);
        best = __reduce_max_sync(~0u, best);
#pragma unroll
        for (int i = BATCH - 1; i >= 0; i--)
            if (order[i] == best) id = lane + 32 * i;
        id = __reduce_min_sync(~0u, id);
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (id == lane + 32 * i) order[i] = 0;
        float logit = best == 1 ? NAN : __uint_as_float(best & 0x80000000u ? best & 0x7fffffffu : ~best);
        if (k == 0) largest = logit;
        if (k == lane) weight = __expf(logit - largest);
        if (lane == 0) s.ids[sequence][k] = (int)id;
    }
    return weight;
}

/* Number `index` of the experts that some sequence chose, in the order of the lanes, and its users; none, if there are not so many. Lane sequence * MAX_TOP_K + choice stands
 * for a choice; firsts: lanes whose expert no lower lane chose; same: the lanes that chose this lane's. */
__device__ static inline void choose_users(decode_expert &e, int index, unsigned firsts, unsigned same, int lane)
{
    unsigned below = (1u << lane) - 1;
    int leader = __ffs((int)__ballot_sync(~0u, (firsts >> lane & 1) && __popc(firsts & below) == index)) - 1;
    unsigned users = __shfl_sync(~0u, same, max(leader, 0));
    int user = __popc(users & below), n = __popc(users);
    if (leader < 0) n = 0, users = 0;
    if (users >> lane & 1) {
        e.sequence[user] = lane / MAX_TOP_K;
        e.choice[user] = lane % MAX_TOP_K;
    }
    if (lane == 0) {
        e.users = n;
        e.column_bits = n > 2 ? 2 : n > 1;
    }
    if (lane == leader) e.id = decode_memory().ids[lane / MAX_TOP_K][lane % MAX_TOP_K];
    __syncwarp();
}

/* What it costs a block to begin with an expert, in row tiles: its vectors' way into registers, and for down its activations' way here first. Estimates from traces of a
 * layer on an H200 (a tile of gate_up is 0.75 microseconds, of down 0.7). */
enum { START_GATE_UP = 1, START_DOWN = 3 };

/* Experts that some sequence chose share the blocks out among them, all row tiles in a row; a block finds its expert, or two. By one warp, after the choices of all
 * sequences. */
__device__ static inline void choose_experts(int lane)
{
    decode_shared &s = decode_memory();
    const decode_args &a = s.args;
    int sequence = lane / MAX_TOP_K, choice = lane % MAX_TOP_K;
    bool chosen = sequence < a.sequences && choice < a.top_k;
    int id = chosen ? s.ids[min(sequence, SEQUENCES - 1)][choice] : -1 - lane;
    unsigned same = __match_any_sync(~0u, id), firsts = __ballot_sync(~0u, chosen && !(same & ((1u << lane) - 1)));
    int experts = __popc(firsts), first = (int)(blockIdx.x * (unsigned)experts / gridDim.x);
    for (int i = 0; i < EXPERTS_OF_BLOCK; i++) choose_users(s.experts[i], first + i, firsts, same, lane);
    if (lane < 2 * EXPERTS_OF_BLOCK) {
        decode_expert &e = s.experts[lane / 2];
        int product = lane % 2, tiles = s.row_tiles[product], start = product ? START_DOWN : START_GATE_UP, before = (first + lane / 2) * (tiles + start) + start;
        decode_range all = decode_share(experts * (tiles + start), blockIdx.x, gridDim.x);
        e.tiles[product] = {max(all.begin - before, 0), min(all.end - before, tiles)};
        if (product == 0) e.row = lane == 0 ? 0 : s.experts[0].users + e.users <= SEQUENCES ? s.experts[0].users : -1;
    }
    __syncwarp();
}
static_assert((int)MAX_SEQUENCES * (int)MAX_TOP_K <= 32 && (int)MAX_SEQUENCES <= 4, "a lane a choice");

/* All workers synchronise after. */
DECODE_STAGE void choose_stage(void)
{
    decode_shared &s = decode_memory();
    int lane = decode_thread() % 32, sequence = decode_thread() / 32;
    if (sequence < decode_sequences()) {
        float weight = choose_best(lane, sequence, decode_place_at(s.place, sequence));
        if (SEQUENCES > 1) {
            asm volatile("bar.sync 2, %0;" ::"r"(32 * decode_sequences()) : "memory");
            if (sequence == 0) choose_experts(lane);
        }
        if (lane == 0 && sequence == 0) ring_arrive(&s.routed);
        float total = decode_warp_sum(weight);
        if (lane < MAX_TOP_K) s.weights[sequence][lane] = __fdividef(weight, total);
    }
    decode_sync_workers();
}

#endif
