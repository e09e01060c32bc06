#include "runtime/model/shard_plan.h"

#include <string.h>

enum { BLOCK = 32, MAX_ATTENTION_TP = 8, MAX_WORLD = 4096 };

/* The largest group of ranks that can share the attention heads: it divides the world and the kv heads. */
static int attention_group(const model_config *config, int world)
{
    for (int tp = MAX_ATTENTION_TP; tp > 1; tp--)
        if (world % tp == 0 && config->kv_heads % tp == 0) return tp;
    return 1;
}

/* Cuts `total` into `parts` runs as even as possible, the first ones taking one more. */
static void even_run(int total, int parts, int index, int *first, int *count)
{
    int base = total / parts, extra = total % parts;
    *count = base + (index < extra);
    *first = index * base + (index < extra ? index : extra);
}

static int64_t count_layers(const model_config *config, bool sliding)
{
    int64_t n = 0;
    for (int i = 0; i < config->layers; i++) n += config->sliding[i] == sliding;
    return n;
}

static void count_bytes(shard_plan *p, const model_config *c)
{
    int64_t hidden = c->hidden, layers = c->layers, head = c->head_dim;
    int64_t q = (int64_t)p->q_head_count * head, kv = (int64_t)p->kv_head_count * head;
    int64_t bf16 = 2, width = p->intermediate_count;
    int64_t attention = (q + 2 * kv) * (hidden + 1) + q * hidden + p->q_head_count;
    if (p->adds_attention_bias) attention += hidden;
    /* MXFP4: half a byte a weight and one scale byte per 32 */
    int64_t expert = (2 * width * hidden + hidden * width) * 17 / 32 + 2 * width * bf16;
    if (p->adds_down_bias) expert += hidden * bf16;

    p->bytes_embedding = (int64_t)c->vocab * hidden * bf16;
    p->bytes_attention = layers * attention * bf16;
    p->bytes_experts = layers * p->expert_count * expert;
    p->bytes_router_norms = (layers * (2 * hidden + (int64_t)c->experts * (hidden + 1)) + hidden) * bf16;
    p->bytes_head = (int64_t)p->vocab_count * hidden * bf16;
}

static status choose_attention(const model_config *config, int world, shard_plan *p, status_detail *detail)
{
    int group = attention_group(config, world);
    if (p->layout.attention == ATTENTION_TP && group == 1 && world > 1)
        return status_fail(detail, STATUS_USAGE,
                           "parallel.attention: tp cannot spread %d key/value heads over %d ranks; use attention: dp, or a number "
                           "of ranks that shares a factor with %d",
                           config->kv_heads, world, config->kv_heads);
    if (p->layout.attention == ATTENTION_AUTO) p->layout.attention = group > 1 || world == 1 ? ATTENTION_TP : ATTENTION_DP;
    p->tp = p->layout.attention == ATTENTION_TP ? group : 1;
    p->dp = world / p->tp;
    return STATUS_OK;
}

static status choose_experts(const model_config *config, int world, shard_plan *p, status_detail *detail)
{
    bool whole_possible = config->experts % world == 0;
    if (p->layout.experts == EXPERTS_EP && !whole_possible)
        return status_fail(detail, STATUS_USAGE,
                           "parallel.experts: ep cannot give %d ranks equally many of %d experts; use experts: tp, or a number of "
                           "ranks that divides %d",
                           world, config->experts, config->experts);
    if (p->layout.experts == EXPERTS_AUTO) {
        /* Where tokens are replicated, splitting every expert balances what each rank reads; where every rank owns its tokens, whole
         * experts move the least. */
        bool whole = p->dp > 1 && whole_possible;
        p->layout.experts = whole ? EXPERTS_EP : EXPERTS_TP;
        snprintf(p->why, sizeof p->why, "%s",
                 world == 1  ? "one rank holds everything"
                 : whole     ? "groups own their tokens, so tokens travel to whole experts"
                 : p->dp > 1 ? "the experts do not divide evenly over the ranks, so each is split"
                             : "tokens are replicated, so splitting each expert balances what ranks read");
    } else {
        snprintf(p->why, sizeof p->why, "as configured");
    }
    return STATUS_OK;
}

status shard_plan_make(const model_config *config, shard_layout layout, int rank, int world, shard_plan *out,
                       status_detail *detail)
{
    if (world < 1 || world > MAX_WORLD || rank < 0 || rank >= world)
        return status_fail(detail, STATUS_USAGE, "rank %d of %d is not a place in a world of 1 to %d ranks", rank, world, MAX_WORLD);
    shard_plan p = {.layout = layout, .rank = rank, .world = world};
    STATUS_TRY(choose_attention(config, world, &p, detail));
    STATUS_TRY(choose_experts(config, world, &p, detail));

    p.tp_rank = rank % p.tp;
    p.dp_rank = rank / p.tp;
    p.q_head_count = config->q_heads / p.tp;
    p.q_head_first = p.tp_rank * p.q_head_count;
    p.kv_head_count = config->kv_heads / p.tp;
    p.kv_head_first = p.tp_rank * p.kv_head_count;
    p.vocab_shard = (config->vocab + p.tp - 1) / p.tp;
    p.vocab_first = p.tp_rank * p.vocab_shard < config->vocab ? p.tp_rank * p.vocab_shard : config->vocab;
    int vocab_end = p.vocab_first + p.vocab_shard;
    p.vocab_count = (vocab_end < config->vocab ? vocab_end : config->vocab) - p.vocab_first;

    p.expert_count = config->experts;
    p.intermediate_count = config->intermediate;
    if (p.layout.experts == EXPERTS_EP) {
        p.expert_count = config->experts / world;
        p.expert_first = rank * p.expert_count;
    } else {
        even_run(config->intermediate / BLOCK, world, rank, &p.intermediate_first, &p.intermediate_count);
        p.intermediate_first *= BLOCK;
        p.intermediate_count *= BLOCK;
    }
    p.adds_attention_bias = p.tp_rank == 0;
    p.adds_down_bias = p.layout.experts == EXPERTS_EP || rank == 0;
    count_bytes(&p, config);
    *out = p;
    return STATUS_OK;
}

int64_t shard_plan_bytes(const shard_plan *plan)
{
    return plan->bytes_embedding + plan->bytes_attention + plan->bytes_experts + plan->bytes_router_norms + plan->bytes_head;
}

int64_t shard_plan_kv_bytes(const shard_plan *plan, const model_config *config, bool sliding, int element)
{
    return count_layers(config, sliding) * 2 * plan->kv_head_count * config->head_dim * element;
}
