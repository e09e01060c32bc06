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

__device__ static bool is_there(ulonglong2 found, uint32_t step)
{
    return (uint32_t)(found.x >> 32) == step && (uint32_t)(found.y >> 32) == step;
}

__device__ static uint2 packet_of(ulonglong2 found) { return make_uint2((uint32_t)found.x, (uint32_t)found.y); }

/* Waits for it. */
__device__ static uint2 take(const ulonglong2 *slot, uint32_t step)
{
    ulonglong2 found = look(slot);
    for (int looks = 0; !is_there(found, step); looks++) {
        if (looks > PATIENCE) __nanosleep(NAP);
        found = look(slot);
    }
    return packet_of(found);
}

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

/* Waits for the other ranks' first `count` packets of DEEP. Slot r * stride + k * PEER_THREADS has rank r's packet k. Those
 * that are missing are looked at together, so that the wait ends one look after the last has come. */
template <int MOST, int DEEP>
__device__ static void take_all(const peer_view &view, const ulonglong2 *slots, int stride, int count, uint32_t step,
                                ulonglong2 (*found)[MOST])
{
#pragma unroll
    for (int i = 0; i < DEEP * MOST; i++) found[i / MOST][i % MOST] = make_ulonglong2(0, 0); /* the mark of no step */
    for (int looks = 0, missing = 1; missing; looks++) {
        if (looks > PATIENCE) __nanosleep(NAP);
#pragma unroll
        for (int i = 0; i < DEEP * MOST; i++) {
            int k = i / MOST, r = i % MOST;
            if (k < count && r < view.n_ranks && r != view.rank && !is_there(found[k][r], step))
                found[k][r] = look(slots + r * stride + k * PEER_THREADS);
        }
        missing = 0;
#pragma unroll
        for (int i = 0; i < DEEP * MOST; i++) {
            int k = i / MOST, r = i % MOST;
            if (k < count && r < view.n_ranks && r != view.rank) missing |= !is_there(found[k][r], step);
        }
    }
}

/* packets[k] of this rank becomes the sum of everybody's, added in rank order; see take_all(). */
template <int PER, int MOST, int DEEP>
__device__ static void add_all(const peer_view &view, const ulonglong2 *slots, int stride, int count, uint32_t step,
                               uint2 *packets)
{
    ulonglong2 found[DEEP][MOST];
    take_all<MOST, DEEP>(view, slots, stride, count, step, found);
#pragma unroll
    for (int k = 0; k < DEEP; k++) {
        float sum[PER];
#pragma unroll
        for (int r = 0; r < MOST; r++) {
            if (r >= view.n_ranks) break;
            float part[PER];
            element_widen<PER>(r == view.rank ? packets[k] : packet_of(found[k][r]), part);
#pragma unroll
            for (int i = 0; i < PER; i++) sum[i] = r == 0 ? part[i] : sum[i] + part[i];
        }
        packets[k] = element_narrow<PER>(sum);
    }
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
        add_all<PER, MOST, 1>(view, inbox + i, slots, 1, step, &packet);
        element_store(data, at, piece.bytes, packet);
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
        uint2 sum = element_load(data, at, size);
        add_all<PER, MOST, 1>(view, inbox + i, slots, 1, step, &sum);
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

/* ---- sums that go into x and are normed --------------------------------------------------------------------------- */

enum {
    NORM_PAIRS = PEER_NORM_HIDDEN / 2 / PEER_THREADS, /* of elements, that a thread holds */
    NORM_PACKETS = NORM_PAIRS / 2,
    MOST_LOOKS = 16, /* under way in a thread at once: 64 registers */
};

/* Kernels of the backend may begin while this one waits for other ranks; they wait themselves before they read what it
 * writes (kernels/cuda/cuda.h). This one begins when all before it is done, as it is launched without that attribute. */
__device__ static void let_next_start(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* The sum over the block of what its threads pass, in the order of add_norm; and the end of the block's step. */
__device__ static float sum_and_finish(const peer_view &view, uint32_t step, float value)
{
    __shared__ float warps[PEER_THREADS / 32];
    for (int distance = 16; distance; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    finish(view, step); /* its barrier serves both */
    float total = 0;
#pragma unroll
    for (int i = 0; i < PEER_THREADS / 32; i++) total += warps[i];
    return total;
}

/* Block b has row b. Slots: [source][slots], as peer_plan_norm_slots() says. From x on the arithmetic is that of
 * kernels/cuda/cuda_norm.cu, whose threads hold the same pairs. */
template <int MOST>
__global__ void __launch_bounds__(PEER_THREADS)
    sum_add_norm(const __grid_constant__ peer_view view, const __grid_constant__ comm_add_norm what, int slots)
{
    constexpr int DEEP = MOST * NORM_PACKETS <= MOST_LOOKS ? NORM_PACKETS : MOST_LOOKS / MOST;
    let_next_start();
    uint32_t step = view.steps[blockIdx.x];
    int thread = (int)threadIdx.x, pairs = what.hidden / 2;
    int count = thread < pairs ? (pairs - thread + 2 * PEER_THREADS - 1) / (2 * PEER_THREADS) : 0; /* packets of the thread */
    size_t row = (size_t)blockIdx.x * (size_t)pairs;
    const uint32_t *delta = (const uint32_t *)what.delta + row;
    __nv_bfloat162 *x = (__nv_bfloat162 *)what.x + row, *normed = (__nv_bfloat162 *)what.normed + row;

    uint2 packets[NORM_PACKETS];
#pragma unroll
    for (int k = 0; k < NORM_PACKETS; k++) {
        int at = thread + 2 * k * PEER_THREADS, next = at + PEER_THREADS;
        packets[k] = make_uint2(at < pairs ? delta[at] : 0, next < pairs ? delta[next] : 0);
    }
#pragma unroll
    for (int k = 0; k < NORM_PACKETS; k++)
        for (int ahead = 1; k < count && ahead < view.n_ranks; ahead++)
            put(slots_of(view, after(view, ahead), step) + view.rank * slots + thread + k * PEER_THREADS, packets[k], step);

    float2 held[NORM_PAIRS], scale[NORM_PAIRS]; /* read while the others' packets are on their way */
#pragma unroll
    for (int i = 0; i < NORM_PAIRS; i++) {
        int at = thread + i * PEER_THREADS;
        if (at >= pairs) break;
        held[i] = __bfloat1622float2(x[at]);
        scale[i] = __bfloat1622float2(((const __nv_bfloat162 *)what.norm)[at]);
    }
    const ulonglong2 *inbox = slots_of(view, view.rank, step) + thread;
#pragma unroll
    for (int k = 0; k < NORM_PACKETS; k += DEEP)
        add_all<4, MOST, DEEP>(view, inbox + k * PEER_THREADS, slots, count - k, step, packets + k);

    float squares = 0;
#pragma unroll
    for (int i = 0; i < NORM_PAIRS; i++) {
        int at = thread + i * PEER_THREADS;
        if (at >= pairs) break;
        float more[4];
        element_widen<4>(packets[i / 2], more);
        __nv_bfloat162 sum = __floats2bfloat162_rn(held[i].x + more[i % 2 * 2], held[i].y + more[i % 2 * 2 + 1]);
        x[at] = sum;
        held[i] = __bfloat1622float2(sum);
        squares += held[i].x * held[i].x + held[i].y * held[i].y;
    }
    float inverse = rsqrtf(sum_and_finish(view, step, squares) / (float)what.hidden + what.eps);
#pragma unroll
    for (int i = 0; i < NORM_PAIRS; i++) {
        int at = thread + i * PEER_THREADS;
        if (at >= pairs) break;
        normed[at] = __floats2bfloat162_rn(held[i].x * inverse * scale[i].x, held[i].y * inverse * scale[i].y);
    }
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

typedef void (*norm_kernel)(const peer_view, const comm_add_norm, int);

static norm_kernel pick_norm(int n_ranks)
{
    if (n_ranks <= 2) return sum_add_norm<2>;
    if (n_ranks <= 4) return sum_add_norm<4>;
    return n_ranks <= 8 ? sum_add_norm<8> : sum_add_norm<PEER_MAX_RANKS>;
}

cudaError_t peer_kernels_add_norm(const peer_view *view, const comm_add_norm *what, cudaStream_t stream)
{
    int slots = peer_plan_slots(view->n_ranks, PEER_ONCE);
    pick_norm(view->n_ranks)<<<(unsigned)what->rows, PEER_THREADS, 0, stream>>>(*view, *what, slots);
    return cudaGetLastError();
}

cudaError_t peer_kernels_move(const peer_view *view, const peer_move *move, peer_piece piece, cudaStream_t stream)
{
    int slots = peer_plan_slots(view->n_ranks, piece.way);
    move_bytes<<<(unsigned)piece.blocks, PEER_THREADS, 0, stream>>>(*view, *move, piece, slots);
    return cudaGetLastError();
}
