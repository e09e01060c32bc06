#include "runtime/model/roofline.h"

#include <math.h>

/* Keys that positions 0..n-1 see together when each sees at most `window` of them, itself included. */
static double keys_seen(double n, double window)
{
    if (n <= window) return n * (n + 1) / 2;
    return window * (window + 1) / 2 + (n - window) * window;
}

/* Of one sequence's run in one layer; a full layer is one whose window is the context. */
static double run_keys(const roofline_step *s, double window) { return keys_seen(s->context, window) - keys_seen(s->context - s->run, window); }

static int count_sliding(const model_config *c)
{
    int n = 0;
    for (int i = 0; i < c->layers; i++) n += c->sliding[i];
    return n;
}

static double dense_flops(const shard_plan *p, const model_config *c, const roofline_step *s)
{
    double rows = (double)s->sequences * s->run, hidden = c->hidden, dim = c->head_dim;
    double q = p->q_head_count * dim, kv = p->kv_head_count * dim, sliding = count_sliding(c);
    double weights = (2 * q + 2 * kv + c->experts) * hidden;
    /* a score and its share of the sum of values: 2 * head_dim operations each */
    double keys = sliding * run_keys(s, c->sliding_window) + (c->layers - sliding) * run_keys(s, s->context);
    return 2 * rows * weights * c->layers + 4 * q * s->sequences * keys + 2.0 * s->sequences * s->logits * hidden * p->vocab_count;
}

static double expert_flops(const shard_plan *p, const model_config *c, double all_rows)
{
    double share = (double)c->experts_per_token * p->expert_count / c->experts;
    return 2 * all_rows * share * 3.0 * c->hidden * p->intermediate_count * c->layers;
}

roofline_work roofline_count(const shard_plan *p, const model_config *c, const roofline_step *s, int64_t all_rows, int element)
{
    double touched = 1 - pow(1 - (double)c->experts_per_token / c->experts, (double)all_rows);
    roofline_work work = {
        .experts_touched = touched * p->expert_count,
        .bytes_experts = touched * (double)p->bytes_experts,
        .flops = expert_flops(p, c, (double)all_rows),
    };
    if (s->sequences == 0) return work;
    int visible = s->run + c->sliding_window - 1;
    if (visible > s->context) visible = s->context;
    work.bytes_dense = (double)(p->bytes_attention + p->bytes_router_norms);
    work.bytes_head = s->logits ? (double)p->bytes_head : 0;
    work.bytes_full = (double)s->sequences * s->context * (double)shard_plan_kv_bytes(p, c, false, element);
    work.bytes_sliding = (double)s->sequences * visible * (double)shard_plan_kv_bytes(p, c, true, element);
    work.flops += dense_flops(p, c, s);
    return work;
}

double roofline_bytes(const roofline_work *w)
{
    return w->bytes_dense + w->bytes_experts + w->bytes_head + w->bytes_full + w->bytes_sliding;
}

double roofline_seconds(const roofline_work *w, const roofline_limits *limits)
{
    double reading = limits->bandwidth > 0 ? roofline_bytes(w) / limits->bandwidth : 0;
    double computing = limits->flops > 0 ? w->flops / limits->flops : 0;
    return reading > computing ? reading : computing;
}

void roofline_add(roofline_work *sum, const roofline_work *more)
{
    sum->experts_touched += more->experts_touched;
    sum->bytes_dense += more->bytes_dense;
    sum->bytes_experts += more->bytes_experts;
    sum->bytes_head += more->bytes_head;
    sum->bytes_full += more->bytes_full;
    sum->bytes_sliding += more->bytes_sliding;
    sum->flops += more->flops;
}

int roofline_group_sequences(int sequences, int dp, int g) { return sequences / dp + (g < sequences % dp); }

status roofline_slowest(const model_config *config, shard_layout layout, int world, const roofline_step *step, int element,
                        const roofline_limits *limits, roofline_work *out, status_detail *detail)
{
    roofline_work slowest = {0};
    for (int rank = 0; rank < world; rank++) {
        shard_plan plan;
        STATUS_TRY(shard_plan_make(config, layout, rank, world, &plan, detail));
        roofline_step mine = *step;
        mine.sequences = roofline_group_sequences(step->sequences, plan.dp, plan.dp_rank);
        roofline_work work = roofline_count(&plan, config, &mine, (int64_t)step->sequences * step->run, element);
        double more = roofline_seconds(&work, limits) - roofline_seconds(&slowest, limits);
        if (rank == 0 || more > 0 || (more == 0 && roofline_bytes(&work) > roofline_bytes(&slowest))) slowest = work;
    }
    *out = slowest;
    return STATUS_OK;
}
