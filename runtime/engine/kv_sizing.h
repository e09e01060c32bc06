/* How many KV blocks of each kind a rank should take: pure arithmetic. */
#ifndef RUNTIME_ENGINE_KV_SIZING_H
#define RUNTIME_ENGINE_KV_SIZING_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/ops.h"
#include "runtime/base/status.h"

typedef struct kv_sizing {
    int64_t bytes;                     /* that may be taken */
    int64_t block_bytes[OPS_KV_KINDS]; /* of one block over all layers of the kind; 0: the model has no such layer */
    int block_tokens, window;
    int max_sequences, max_tokens;     /* of one group's step */
    int max_model_len;                 /* the longest sequence that is of use */
    bool only_useful;                  /* take no more than max_sequences sequences of max_model_len need */
} kv_sizing;

/* Bytes that a cache chosen by itself may take of `memory_free`: host memory is shared with the page cache that holds the weights and with
 * the other ranks of the host; a device is ours but for a margin. */
int64_t kv_sizing_budget(int64_t memory_free, bool host_memory, int local_ranks);

/* Blocks per kind. Sliding layers get what max_sequences windows and one step's chunks need, and a quarter more so that prefixes
 * stay usable, or a fair share when memory is short; full layers get the rest. */
void kv_sizing_blocks(const kv_sizing *sizing, int blocks[OPS_KV_KINDS]);

/* Whether one useful sequence fits: a window and a step, and kv_sizing_least_tokens() of full attention. STATUS_USAGE names the options. */
status kv_sizing_check(const kv_sizing *sizing, const int blocks[OPS_KV_KINDS], status_detail *detail);
int kv_sizing_least_tokens(const kv_sizing *sizing);

#endif
