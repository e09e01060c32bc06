#include "comm/cuda/peer_plan.h"

#include <stdlib.h>

static void replace(size_t *value, const char *text)
{
    char *end;
    if (!text || *text < '0' || *text > '9') return;
    unsigned long long given = strtoull(text, &end, 10);
    if (*end == '\0') *value = (size_t)given;
}

peer_limits peer_plan_limits(int n_ranks, char *(*get)(const char *name))
{
    /* With two ranks both ways move the same bytes, and one round is faster. */
    peer_limits limits = {.once = n_ranks <= 2 ? (size_t)1 << 20 : n_ranks <= 4 ? (size_t)256 << 10 : (size_t)128 << 10,
                          .twice = (size_t)1 << 20,
                          .move = (size_t)1 << 20};
    replace(&limits.once, get("GPTOSS_PEER_ONCE"));
    replace(&limits.twice, get("GPTOSS_PEER_TWICE"));
    replace(&limits.move, get("GPTOSS_PEER_MOVE"));
    if (limits.twice < limits.once) limits.twice = limits.once;
    return limits;
}

int peer_plan_slots(int n_ranks, peer_way way) { return way == PEER_TWICE ? PEER_SLOTS / 2 / n_ranks : PEER_SLOTS / n_ranks; }

/* Packets of one block: of a part for everybody, or of a part cut into one for each rank. */
static size_t packets_per_block(int n_ranks, peer_way way)
{
    return (size_t)peer_plan_slots(n_ranks, way) * (size_t)(way == PEER_TWICE ? n_ranks : 1);
}

static peer_piece cut(int n_ranks, peer_way way, size_t left)
{
    size_t most = packets_per_block(n_ranks, way) * PEER_BLOCKS, packets = left / PEER_PACKET + (left % PEER_PACKET != 0);
    if (packets > most) {
        packets = most;
        left = most * PEER_PACKET;
    }
    size_t blocks = (packets + PEER_THREADS - 1) / PEER_THREADS;
    if (blocks > PEER_BLOCKS) blocks = PEER_BLOCKS;
    size_t each = (packets + blocks - 1) / blocks;
    return (peer_piece){
        .way = way, .bytes = left, .blocks = (int)((packets + each - 1) / each), .per_block = (int)each};
}

peer_piece peer_plan_reduce(const peer_limits *limits, int n_ranks, size_t left, bool with_nccl)
{
    if (with_nccl && left > limits->twice) return (peer_piece){.way = PEER_NCCL};
    return cut(n_ranks, left <= limits->once ? PEER_ONCE : PEER_TWICE, left);
}

peer_piece peer_plan_move(const peer_limits *limits, int n_ranks, size_t left, bool with_nccl)
{
    size_t others = n_ranks > 1 ? (size_t)n_ranks - 1 : 1;
    if (with_nccl && left > limits->move / others) return (peer_piece){.way = PEER_NCCL};
    return cut(n_ranks, PEER_MOVE, left);
}

int peer_plan_norm_slots(int hidden)
{
    int pairs = hidden / 2, deep = pairs / (2 * PEER_THREADS), left = pairs - deep * 2 * PEER_THREADS;
    return deep * PEER_THREADS + (left < PEER_THREADS ? left : PEER_THREADS);
}

bool peer_plan_norms(const peer_limits *limits, int n_ranks, int rows, int hidden)
{
    if (rows < 1 || rows > PEER_BLOCKS || hidden < 2 || hidden % 2 || hidden > PEER_NORM_HIDDEN) return false;
    return (size_t)rows * (size_t)hidden * 2 <= limits->once &&
           peer_plan_norm_slots(hidden) <= peer_plan_slots(n_ranks, PEER_ONCE);
}
