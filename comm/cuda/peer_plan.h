/* Which way a message takes among ranks that write into each other's GPU memory, and how it is cut. Pure: knows no GPU.
 *
 * An inbox is a rank's buffer that the others write into: for each of two parities and each of PEER_BLOCKS thread blocks
 * PEER_SLOTS slots of 16 bytes, which carry 8 bytes of the message and two marks (peer_kernels.h). A block's slots are
 * shared out among the ranks that write there. */
#ifndef COMM_CUDA_PEER_PLAN_H
#define COMM_CUDA_PEER_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PEER_MAX_RANKS = 16, /* GPUs that one GPU may have as peers on a host, with some to spare */
    PEER_BLOCKS = 64,    /* fewer than the multiprocessors of any GPU this runs on: all can run at once */
    PEER_THREADS = 256,
    PEER_SLOTS = 8192,   /* of one block and one parity */
    PEER_SLOT_BYTES = 16,
    PEER_PACKET = 8,     /* bytes of the message in a slot */
    PEER_NORM_HIDDEN = 4096, /* elements of the widest row that a block sums and norms at once: as many as add_norm takes */
};

typedef enum peer_way {
    PEER_ONCE,  /* all-reduce: everything to everybody, and everybody adds */
    PEER_TWICE, /* all-reduce: rank r adds the r-th part of every block's share and tells the sum */
    PEER_MOVE,  /* bytes to other ranks, nothing added */
    PEER_NCCL,  /* not this way: hand the rest to NCCL */
} peer_way;

/* Up to which size each way is taken while NCCL could do it instead; bytes. */
typedef struct peer_limits {
    size_t once, twice; /* of an all-reduce; once <= twice */
    size_t move;        /* of what one rank sends to all others together */
} peer_limits;

/* The next piece of a message. Packets are shared out evenly: block b of `blocks` takes packets [b * per_block, (b + 1) *
 * per_block) of ceil(bytes / PEER_PACKET), so that none is empty. */
typedef struct peer_piece {
    peer_way way;
    size_t bytes; /* a multiple of PEER_PACKET unless it ends the message; 0 for PEER_NCCL */
    int blocks, per_block;
} peer_piece;

/* The measured ones (README.md). `get` looks up an environment variable, for measuring: GPTOSS_PEER_ONCE, _TWICE and _MOVE
 * replace them, in bytes; anything that is no number is ignored. */
peer_limits peer_plan_limits(int n_ranks, char *(*get)(const char *name));

/* `left`: bytes still to do, > 0. Every rank of the group gets the same answer, because all pass the same. */
peer_piece peer_plan_reduce(const peer_limits *limits, int n_ranks, size_t left, bool with_nccl);
/* `left`: bytes that one rank still has to send to one other. */
peer_piece peer_plan_move(const peer_limits *limits, int n_ranks, size_t left, bool with_nccl);

/* Whether `rows` rows of `hidden` BF16 elements are summed and normed by one kernel, a block for each: in one round, and only
 * as far as an all-reduce of them would take one. The same answer on every rank. */
bool peer_plan_norms(const peer_limits *limits, int n_ranks, int rows, int hidden);
/* Slots that such a row takes. Its two-element pairs are dealt out to the threads in turn, so that each holds the same ones
 * as in add_norm; packet k of thread t has pairs t + 2k * PEER_THREADS and t + (2k + 1) * PEER_THREADS, and lies in slot
 * t + k * PEER_THREADS. */
int peer_plan_norm_slots(int hidden);

/* Slots of a block that one rank writes: of all of them, and where two rounds share them. */
int peer_plan_slots(int n_ranks, peer_way way);

#ifdef __cplusplus
}
#endif

#endif
