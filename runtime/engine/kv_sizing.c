#include "runtime/engine/kv_sizing.h"

#include <inttypes.h>

#include "runtime/engine/kv_cache.h"

/* A cache that cannot hold this many tokens of one sequence is of no use. */
enum { LEAST_TOKENS = 256 };
/* Block numbers are int32 and tables of them are kept per block: more would cost gigabytes of host memory. */
enum { MOST_BLOCKS = 1 << 26 };

static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most_of(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t blocks_for(const kv_sizing *z, int64_t tokens) { return (tokens + z->block_tokens - 1) / z->block_tokens; }

static int64_t window_blocks(const kv_sizing *z)
{
    kv_shape shape = {.block_tokens = z->block_tokens, .window = z->window};
    return kv_cache_window_blocks(&shape);
}

int64_t kv_sizing_budget(int64_t memory_free, bool host_memory, int local_ranks)
{
    const int64_t device_margin = (int64_t)256 << 20;
    if (host_memory) return memory_free / 4 / (local_ranks > 0 ? local_ranks : 1);
    return memory_free - most_of(memory_free / 16, device_margin);
}

int kv_sizing_least_tokens(const kv_sizing *z) { return (int)least_of(z->max_model_len, LEAST_TOKENS); }

/* Sliding blocks that let `sequences` run: each its window and a block begun, and one step's chunks. */
static int64_t sliding_need(const kv_sizing *z, int64_t sequences, int64_t chunk_blocks)
{
    return sequences * (window_blocks(z) + 1) + chunk_blocks;
}

void kv_sizing_blocks(const kv_sizing *z, int blocks[OPS_KV_KINDS])
{
    int64_t full_bytes = z->block_bytes[OPS_FULL], sliding_bytes = z->block_bytes[OPS_SLIDING];
    int64_t bytes = most_of(z->bytes, 0), chunk = blocks_for(z, z->max_tokens);
    int64_t useful = least_of(z->max_sequences * blocks_for(z, z->max_model_len), MOST_BLOCKS);

    /* When memory is short, windows get at most 3/8 of it and chunks 1/8: full attention keeps half. Sequences shorter than the window need as
     * many blocks of one kind as of the other, longer ones mostly full ones. */
    int64_t sequences = z->max_sequences;
    if (sliding_bytes > 0) {
        int64_t blocks_held = bytes / sliding_bytes;
        sequences = most_of(1, least_of(sequences, blocks_held * 3 / 8 / (window_blocks(z) + 1)));
        chunk = most_of(1, least_of(chunk, blocks_held / 8));
    }
    int64_t sliding = sliding_need(z, sequences, chunk);
    if (sequences == z->max_sequences) sliding += sliding / 4;
    if (sliding_bytes > 0) sliding = least_of(sliding, bytes / sliding_bytes);
    int64_t full = full_bytes > 0 ? (bytes - sliding * sliding_bytes) / full_bytes : useful;
    if (z->only_useful) full = least_of(full, useful);
    blocks[OPS_FULL] = (int)least_of(full, MOST_BLOCKS);
    blocks[OPS_SLIDING] = (int)least_of(sliding, MOST_BLOCKS);
}

status kv_sizing_check(const kv_sizing *z, const int blocks[OPS_KV_KINDS], status_detail *detail)
{
    int64_t full = blocks_for(z, kv_sizing_least_tokens(z)), sliding = sliding_need(z, 1, 1);
    if (blocks[OPS_FULL] >= full && blocks[OPS_SLIDING] >= sliding) return STATUS_OK;
    int64_t needed = full * z->block_bytes[OPS_FULL] + 2 * sliding * z->block_bytes[OPS_SLIDING];
    return status_fail(detail, STATUS_USAGE,
                       "a KV cache of %" PRId64 " bytes per rank is too small: %" PRId64
                       " are needed for one sequence of %d tokens: raise engine.kv_cache, or free memory on this machine",
                       most_of(z->bytes, 0), needed, kv_sizing_least_tokens(z));
}
