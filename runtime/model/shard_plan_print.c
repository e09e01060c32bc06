/* The table of `gptoss-tp plan`. */
#include "runtime/model/shard_plan.h"

static const char *attention_name(settings_attention a) { return a == ATTENTION_TP ? "tp" : a == ATTENTION_DP ? "dp" : "auto"; }
static const char *experts_name(settings_experts e) { return e == EXPERTS_TP ? "tp" : e == EXPERTS_EP ? "ep" : "auto"; }

static double gb(int64_t bytes) { return (double)bytes / 1e9; }

static void print_rank(FILE *out, const shard_plan *p)
{
    char experts[32], columns[32];
    snprintf(experts, sizeof experts, "%d-%d", p->expert_first, p->expert_first + p->expert_count - 1);
    if (p->intermediate_count)
        snprintf(columns, sizeof columns, "%d-%d", p->intermediate_first, p->intermediate_first + p->intermediate_count - 1);
    else
        snprintf(columns, sizeof columns, "none");
    fprintf(out, "%4d  %5d  %3d-%-3d  %3d-%-3d  %9s  %11s  %6d-%-6d  %8.3f  %8.3f  %8.3f  %8.3f\n", p->rank, p->dp_rank, p->q_head_first,
            p->q_head_first + p->q_head_count - 1, p->kv_head_first, p->kv_head_first + p->kv_head_count - 1, experts, columns,
            p->vocab_first, p->vocab_first + p->vocab_count - 1, gb(p->bytes_attention + p->bytes_router_norms), gb(p->bytes_experts),
            gb(p->bytes_embedding + p->bytes_head), gb(shard_plan_bytes(p)));
}

static void print_possible(FILE *out, const model_config *config, int world)
{
    fprintf(out, "\nlayouts for %d rank%s:\n", world, world == 1 ? "" : "s");
    for (settings_attention a = ATTENTION_TP; a <= ATTENTION_DP; a++) {
        for (settings_experts e = EXPERTS_TP; e <= EXPERTS_EP; e++) {
            shard_plan p;
            status_detail why;
            shard_layout layout = {a, e};
            if (shard_plan_make(config, layout, 0, world, &p, &why) == STATUS_OK)
                fprintf(out, "  attention %s, experts %s: possible, %d group%s of %d, at most %.3f GB of weights a rank\n", attention_name(a),
                        experts_name(e), p.dp, p.dp == 1 ? "" : "s", p.tp, gb(shard_plan_bytes(&p)));
            else
                fprintf(out, "  attention %s, experts %s: impossible: %s\n", attention_name(a), experts_name(e), why.text);
        }
    }
}

/* Keys and values in BF16, as GPUs hold them. */
static void print_fit(FILE *out, const model_config *config, const shard_plan *largest, int64_t device_bytes)
{
    int64_t full = shard_plan_kv_bytes(largest, config, false, 2), sliding = shard_plan_kv_bytes(largest, config, true, 2);
    int64_t per_sequence = sliding * config->sliding_window;
    fprintf(out, "\na token of context costs %.1f KB per rank, a sequence another %.2f MB for its sliding windows (BF16)\n",
            (double)full / 1e3, (double)per_sequence / 1e6);
    if (device_bytes <= 0) return;
    int64_t left = device_bytes - shard_plan_bytes(largest);
    if (left <= 0)
        fprintf(out, "does not fit: %.3f GB of weights, %.3f GB on each device; take more ranks\n", gb(shard_plan_bytes(largest)),
                gb(device_bytes));
    else if (full == 0)
        fprintf(out, "fits: %.3f GB left on each device\n", gb(left));
    else
        fprintf(out, "fits: %.3f GB left on each device, room for at most %lld tokens of context in each group before workspaces\n",
                gb(left), (long long)(left / full));
}

status shard_plan_print(FILE *out, const model_config *config, shard_layout layout, int world, int64_t device_bytes,
                        status_detail *detail)
{
    shard_plan p, largest;
    status made = shard_plan_make(config, layout, 0, world, &largest, detail);
    if (made != STATUS_OK) {
        print_possible(out, config, world);
        return made;
    }
    fprintf(out, "%d layers, hidden %d, %d query and %d key/value heads, %d experts of width %d, vocabulary %d\n", config->layers,
            config->hidden, config->q_heads, config->kv_heads, config->experts, config->intermediate, config->vocab);
    fprintf(out, "attention %s in %d group%s of %d, experts %s (%s)\n\n", attention_name(largest.layout.attention), largest.dp,
            largest.dp == 1 ? "" : "s", largest.tp, experts_name(largest.layout.experts), largest.why);
    fprintf(out, "%4s  %5s  %7s  %7s  %9s  %11s  %13s  %8s  %8s  %8s  %8s\n", "rank", "group", "q heads", "kv", "experts", "columns", "head rows",
            "attn GB", "moe GB", "vocab GB", "all GB");
    int64_t total = 0;
    for (int rank = 0; rank < world; rank++) {
        STATUS_TRY(shard_plan_make(config, layout, rank, world, &p, detail));
        print_rank(out, &p);
        total += shard_plan_bytes(&p);
        if (shard_plan_bytes(&p) > shard_plan_bytes(&largest)) largest = p;
    }
    fprintf(out, "%.3f GB of weights over all ranks\n", gb(total));
    print_fit(out, config, &largest, device_bytes);
    print_possible(out, config, world);
    return STATUS_OK;
}
