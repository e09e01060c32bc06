#include "comm/cuda/peer_kernels.h"

#include "comm/cuda/element.cuh"

enum {
    PATIENCE = 256, /* looks at a slot before a thread sleeps between them: some 100 µs of a peer being late */
    NAP = 200,      /* ns */
};

/* ---- slots -------------------------------------------------------------------------------------------------------- */

__device__ static ulonglong2 *slots_of(const peer_view &view, int rank, uint32_t step)
{
    size_t part = (size_t)(step & 1) * PEER_BLOCKS + blockIdx.x;
    return (ulonglong2 *)view.inboxes[rank] + part * PEER_SLOTS;
}

__device__ static void put(ulonglong2 *slot, uint2 packet, uint32_t step)
{
    unsigned long long mark = (unsigned long long)step << 32;
    asm volatile("st.relaxed.sys.global.v2.u64 [%0], {%1, %2};" ::"l"(slot), "l"(mark | packet.x), "l"(mark | packet.y)
                 : "memory");
}

__device__ static ulonglong2 look(const ulonglong2 *slot)
{
    ulonglong2 found;
    asm volatile("ld.relaxed.sys.global.v2.u64 {%0, %1}, [%2];" : "=l"(found.x), "=l"(found.y) : "l"(slot) : "memory");
    return found;
}

/* The packet of `slot`, of which `found` was a first look: waits until both marks are there. */
__device__ static uint2 settle(ulonglong2 found, const ulonglong2 *slot, uint32_t step)
{
    for (int looks = 0; (uint32_t)(found.x >> 32) != step || (uint32_t)(found.y >> 32) != step; looks++) {
        if (looks > PATIENCE) __nanosleep(NAP);
        found = look(slot);
    }
    return make_uint2((uint32_t)found.x, (uint32_t)found.y);
}

__device__ static uint2 take(const ulonglong2 *slot, uint32_t step) { return settle(look(slot), slot, step); }

/* Counts the block's step, once none of its threads needs the old number. */
__device__ static void finish(const peer_view &view, uint32_t step)
{
    __syncthreads();
    if (threadIdx.x == 0) view.steps[blockIdx.x] = step + 1 ? step + 1 : 2; /* past 0, and even after odd */
}

/* Rank `ahead` places after this one, so that not all write to the same rank first. */
__device__ static int after(const peer_view &view, int ahead)
{
    int rank = view.rank + ahead;
    return rank < view.n_ranks ? rank : rank - view.n_ranks;
}

/* Packets [first, first + count) are the block's. */
typedef struct share {
    size_t first;
    int count;
} share;

__device__ static share share_of(peer_piece piece)
{
    size_t packets = (piece.bytes + PEER_PACKET - 1) / PEER_PACKET, first = (size_t)blockIdx.x * (size_t)piece.per_block;
    size_t left = packets - first;
    return {first, left < (size_t)piece.per_block ? (int)left : piece.per_block};
}

/* ---- sums --------------------------------------------------------------------------------------------------------- */

/* One packet of everybody's, added in rank order. Slot r * stride of `slots` has rank r's. */
template <int PER, int MOST>
__device__ static uint2 sum_of(const peer_view &view, const ulonglong2 *slots, int stride, uint2 mine, uint32_t step)
{
    ulonglong2 found[MOST];
#pragma unroll
    for (int r = 0; r < MOST; r++) /* all looks under way before the first is waited for */
        if (r < view.n_ranks && r != view.rank) found[r] = look(slots + r * stride);
    float sum[PER];
#pragma unroll
    for (int r = 0; r < MOST; r++) {
        if (r >= view.n_ranks) break;
        float part[PER];
        element_widen<PER>(r == view.rank ? mine : settle(found[r], slots + r * stride, step), part);
#pragma unroll
        for (int i = 0; i < PER; i++) sum[i] = r == 0 ? part[i] : sum[i] + part[i];
    }
    return element_narrow<PER>(sum);
}

/* Slots: [source][slots], packet i of the block's share in slot i. */
template <int PER, int MOST>
__global__ void __launch_bounds__(PEER_THREADS)
    reduce_once(const __grid_constant__ peer_view view, unsigned char *data, peer_piece piece, int slots)
{
    uint32_t step = view.steps[blockIdx.x];
    share mine = share_of(piece);
    for (int i = (int)threadIdx.x; i < mine.count; i += PEER_THREADS) {
        uint2 packet = element_load(data, mine.first + (size_t)i, piece.bytes);
        for (int ahead = 1; ahead < view.n_ranks; ahead++)
            put(slots_of(view, after(view, ahead), step) + view.rank * slots + i, packet, step);
    }
    const ulonglong2 *inbox = slots_of(view, view.rank, step);
    for (int i = (int)threadIdx.x; i < mine.count; i += PEER_THREADS) {
        size_t at = mine.first + (size_t)i;
        uint2 packet = element_load(data, at, piece.bytes);
        element_store(data, at, piece.bytes, sum_of<PER, MOST>(view, inbox + i, slots, packet, step));
    }
    finish(view, step);
}

/* Slots: [source][slots] with parts to add, then [owner][slots] with sums. Rank r adds packets [r * part, (r + 1) * part) of
 * the block's share; parts past the share's end travel as zeros, so that every rank hears of every other. A thread reads
 * and writes only packets of its own, so in place needs no barrier. */
template <int PER, int MOST>
__global__ void __launch_bounds__(PEER_THREADS)
    reduce_twice(const __grid_constant__ peer_view view, unsigned char *data, peer_piece piece, int slots)
{
    uint32_t step = view.steps[blockIdx.x];
    share mine = share_of(piece);
    int part = (mine.count + view.n_ranks - 1) / view.n_ranks, sums = view.n_ranks * slots;
    size_t end = (mine.first + (size_t)mine.count) * PEER_PACKET, size = end < piece.bytes ? end : piece.bytes;
    for (int i = (int)threadIdx.x; i < part; i += PEER_THREADS)
        for (int ahead = 1; ahead < view.n_ranks; ahead++) {
            int owner = after(view, ahead);
            uint2 packet = element_load(data, mine.first + (size_t)(owner * part + i), size);
            put(slots_of(view, owner, step) + view.rank * slots + i, packet, step);
        }
    const ulonglong2 *inbox = slots_of(view, view.rank, step);
    for (int i = (int)threadIdx.x; i < part; i += PEER_THREADS) {
        size_t at = mine.first + (size_t)(view.rank * part + i);
        uint2 sum = sum_of<PER, MOST>(view, inbox + i, slots, element_load(data, at, size), step);
        for (int ahead = 1; ahead < view.n_ranks; ahead++)
            put(slots_of(view, after(view, ahead), step) + sums + view.rank * slots + i, sum, step);
        element_store(data, at, size, sum);
    }
    for (int i = (int)threadIdx.x; i < part; i += PEER_THREADS)
        for (int ahead = 1; ahead < view.n_ranks; ahead++) {
            int owner = after(view, ahead);
            uint2 sum = take(inbox + sums + owner * slots + i, step);
            element_store(data, mine.first + (size_t)(owner * part + i), size, sum);
        }
    finish(view, step);
}

/* ---- moves -------------------------------------------------------------------------------------------------------- */

/* How many of the block's packets come from `source`: at least one, whose bytes nobody uses if it has nothing to send. */
__device__ static int packets_from(const peer_move &move, int source, int count)
{
    return move.root < 0 || move.root == source ? count : 1;
}

/* Slots: [source][slots]. */
__global__ void __launch_bounds__(PEER_THREADS)
    move_bytes(const __grid_constant__ peer_view view, const __grid_constant__ peer_move move, peer_piece piece, int slots)
{
    uint32_t step = view.steps[blockIdx.x];
    share mine = share_of(piece);
    const unsigned char *send = (const unsigned char *)move.send;
    unsigned char *receive = (unsigned char *)move.receive;
    int outgoing = packets_from(move, view.rank, mine.count);
    for (int i = (int)threadIdx.x; i < outgoing; i += PEER_THREADS)
        for (int ahead = 1; ahead < view.n_ranks; ahead++) {
            int to = after(view, ahead);
            uint2 packet = element_load(send + (size_t)to * move.send_stride, mine.first + (size_t)i, move.size);
            put(slots_of(view, to, step) + view.rank * slots + i, packet, step);
        }
    if (!move.keep_own)
        for (int i = (int)threadIdx.x; i < mine.count; i += PEER_THREADS) {
            size_t at = mine.first + (size_t)i;
            uint2 packet = element_load(send + (size_t)view.rank * move.send_stride, at, move.size);
            element_store(receive + (size_t)view.rank * move.receive_stride, at, move.size, packet);
        }
    const ulonglong2 *inbox = slots_of(view, view.rank, step);
    for (int ahead = 1; ahead < view.n_ranks; ahead++) {
        int from = after(view, ahead);
        bool wanted = move.root < 0 || move.root == from;
        int incoming = packets_from(move, from, mine.count);
        for (int i = (int)threadIdx.x; i < incoming; i += PEER_THREADS) {
            uint2 packet = take(inbox + from * slots + i, step);
            if (wanted)
                element_store(receive + (size_t)from * move.receive_stride, mine.first + (size_t)i, move.size, packet);
        }
    }
    finish(view, step);
}

/* ---- launchers ---------------------------------------------------------------------------------------------------- */

typedef void (*reduce_kernel)(const peer_view, unsigned char *, peer_piece, int);

template <int PER> static reduce_kernel pick(peer_way way, int n_ranks)
{
    bool once = way == PEER_ONCE;
    if (n_ranks <= 2) return once ? reduce_once<PER, 2> : reduce_twice<PER, 2>;
    if (n_ranks <= 4) return once ? reduce_once<PER, 4> : reduce_twice<PER, 4>;
    if (n_ranks <= 8) return once ? reduce_once<PER, 8> : reduce_twice<PER, 8>;
    return once ? reduce_once<PER, PEER_MAX_RANKS> : reduce_twice<PER, PEER_MAX_RANKS>;
}

cudaError_t peer_kernels_reduce(const peer_view *view, void *data, dtype type, peer_piece piece, cudaStream_t stream)
{
    reduce_kernel kernel = type == DTYPE_BF16 ? pick<4>(piece.way, view->n_ranks) : pick<2>(piece.way, view->n_ranks);
    int slots = peer_plan_slots(view->n_ranks, piece.way);
    kernel<<<(unsigned)piece.blocks, PEER_THREADS, 0, stream>>>(*view, (unsigned char *)data, piece, slots);
    return cudaGetLastError();
}

cudaError_t peer_kernels_move(const peer_view *view, const peer_move *move, peer_piece piece, cudaStream_t stream)
{
    int slots = peer_plan_slots(view->n_ranks, piece.way);
    move_bytes<<<(unsigned)piece.blocks, PEER_THREADS, 0, stream>>>(*view, *move, piece, slots);
    return cudaGetLastError();
}
