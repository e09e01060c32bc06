/* What runs on the GPU for the transport `peer`: messages through the ranks' inboxes.
 *
 * A slot holds two 8-byte words, each 4 bytes of the message and a 4-byte mark. An aligned 8-byte access is never torn (PTX
 * memory model, single-copy atomicity), so who finds the mark it waits for has the 4 bytes beside it too, and no fence is
 * needed: the idea of NCCL's LL protocol. The mark is the number of the step, which each thread block counts for itself in
 * device memory: a replayed graph goes on counting. A step's parity picks one of two halves of the inbox. In every step
 * every block waits for a slot from every other rank, which those sent after their step before was done; so a rank that
 * writes for step s knows that all have read what step s - 2 left in the same half.
 *
 * Marks are 32 bits: a slot that lies unused for exactly 2^32 - 2 steps of its block and is then waited for would be taken
 * for fresh. Steps skip 0, the mark of a slot never written. */
#ifndef COMM_CUDA_PEER_KERNELS_H
#define COMM_CUDA_PEER_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#include "comm/comm.h"
#include "comm/cuda/peer_plan.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PEER_FIRST_STEP = 1,
    PEER_INBOX_BYTES = 2 * PEER_BLOCKS * PEER_SLOTS * PEER_SLOT_BYTES, /* [parity][block][slot]; zeros at first */
};

/* The inboxes as this rank sees them. */
typedef struct peer_view {
    int rank, n_ranks;
    uint32_t *steps;                /* [PEER_BLOCKS] this rank's next step of each block; PEER_FIRST_STEP at first */
    void *inboxes[PEER_MAX_RANKS];  /* [n_ranks], this rank's own included */
} peer_view;

/* What moves in a PEER_MOVE: `size` bytes from `send` + r * send_stride to every other rank r, which come to lie in its
 * `receive` + (sender) * receive_stride. Strides may be 0, and buffers may have any alignment. */
typedef struct peer_move {
    const void *send;
    void *receive;
    size_t size, send_stride, receive_stride;
    int root;        /* only this rank's bytes move; -1: every rank's */
    bool keep_own;   /* this rank's own part is in its place already */
} peer_move;

/* data [piece.bytes] of F32 or BF16, summed in place in rank order in F32 and rounded once. piece.way is PEER_ONCE or
 * PEER_TWICE. */
cudaError_t peer_kernels_reduce(const peer_view *view, void *data, dtype type, peer_piece piece, cudaStream_t stream);

/* What comm_all_reduce_add_norm() says, of rows for which peer_plan_norms(); only reads delta. Its arithmetic is that of
 * peer_kernels_reduce() and then of the CUDA backend's add_norm, in the same order, so that the results have the same bits. */
cudaError_t peer_kernels_add_norm(const peer_view *view, const comm_add_norm *what, cudaStream_t stream);

/* piece.bytes is move->size. */
cudaError_t peer_kernels_move(const peer_view *view, const peer_move *move, peer_piece piece, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
