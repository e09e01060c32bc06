/* Which slice of which tensor each rank holds: a pure function of (config, layout, rank, world).
 *
 * World ranks are arranged as groups of `tp` neighbours that share attention heads (and the LM head): rank r is member r % tp of
 * data-parallel group r / tp. Experts are spread over the whole world: `tp` cuts each into runs of 32-blocks, as even as possible, the
 * first ranks taking one more; `ep` gives rank r the whole experts [r*E/world, (r+1)*E/world).
 * Source: sharding.md of the design; vllm `gpt_oss.py` for what to slice, without its padding.
 */
#ifndef RUNTIME_MODEL_SHARD_PLAN_H
#define RUNTIME_MODEL_SHARD_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/base/settings.h"
#include "runtime/model/model_config.h"

typedef struct shard_layout {
    settings_attention attention; /* AUTO allowed going in, never coming out of shard_plan_make */
    settings_experts experts;     /* likewise */
} shard_layout;

typedef struct shard_plan {
    shard_layout layout; /* what was chosen */
    int rank, world;
    int tp, tp_rank;     /* attention group size; this rank's place in it */
    int dp, dp_rank;     /* number of groups; which one is ours */
    int q_head_first, q_head_count;
    int kv_head_first, kv_head_count;
    int expert_first, expert_count;        /* ep: own experts; tp: all */
    int intermediate_first, intermediate_count; /* ep: all; tp: own columns, multiples of 32; count may be 0 */
    int vocab_first, vocab_count;          /* LM head rows: shared by the tp group, ceil(vocab / tp) each */
    int vocab_shard;                       /* ceil(vocab / tp) */
    bool adds_attention_bias;              /* o bias: group member 0 alone */
    bool adds_down_bias;                   /* expert down bias: ep: every rank; tp: world rank 0 alone */
    int64_t bytes_embedding, bytes_attention, bytes_experts, bytes_router_norms, bytes_head; /* of weights held */
    char why[160];                         /* why `auto` chose what it chose */
} shard_plan;

/* STATUS_USAGE, with the reason and the nearest layouts that work, when the layout is impossible. attention tp: groups of the largest
 * size that divides the world, the kv heads and the q heads, at most 8; where that is not the whole world, groups repeat (dp = world/tp).
 * attention dp: tp 1. */
status shard_plan_make(const model_config *config, shard_layout layout, int rank, int world, shard_plan *out, status_detail *detail);

int64_t shard_plan_bytes(const shard_plan *plan);
/* Bytes of one token's keys and values on this rank, over all layers of one kind (sliding or full), at `element` bytes each. */
int64_t shard_plan_kv_bytes(const shard_plan *plan, const model_config *config, bool sliding, int element);

/* The table that `gptoss-tp plan` shows: a row per rank, the layouts that are possible, and whether it fits in `device_bytes` each (0: not asked). */
status shard_plan_print(FILE *out, const model_config *config, shard_layout layout, int world, int64_t device_bytes, status_detail *detail);

#endif
