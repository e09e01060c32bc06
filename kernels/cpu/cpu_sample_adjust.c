/* What changes logits before a draw. Order as in vLLM `vllm/v1/sample/sampler.py`; bias and suppression commute, and so do masks. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu_sample.h"

static void add_bias(const ops_sampling *s, int vocab, float *logits)
{
    for (int i = 0; i < s->n_bias; i++) {
        int32_t id = s->bias_ids[i];
        if (id >= 0 && id < vocab) logits[id] = cpu_sample_clean(logits[id] + s->bias_values[i]);
    }
}

static void suppress(const ops_sampling *s, int vocab, float *logits)
{
    for (int i = 0; i < s->n_suppressed; i++)
        if (s->suppressed[i] >= 0 && s->suppressed[i] < vocab) logits[s->suppressed[i]] = -INFINITY;
}

/* Repetition: Keskar et al. 2019, "CTRL", section 4.1, with the sign taken into account. Frequency and presence: OpenAI's API reference. */
static void penalise(const ops_sampling *s, const uint32_t *counts, int vocab, float *logits)
{
    for (int id = 0; id < vocab; id++) {
        if (!counts[id]) continue;
        uint32_t generated = counts[id] & CPU_COUNT_GENERATED;
        float logit = logits[id];
        logit = logit > 0 ? logit / s->repetition_penalty : logit * s->repetition_penalty;
        if (generated) logit = logit - s->frequency_penalty * (float)generated - s->presence_penalty;
        logits[id] = cpu_sample_clean(logit);
    }
}

/* -inf stays -inf under a penalty. */
static void apply_mask(const uint32_t *mask, int vocab, float *logits)
{
    for (int id = 0; id < vocab; id++)
        if (!(mask[id / 32] >> (id % 32) & 1)) logits[id] = -INFINITY;
}

const float *cpu_sample_adjust(const cpu_adjustment *a, int vocab, const cpu_sample_scratch *scratch)
{
    const ops_sampling *s = &a->slot->sampling;
    bool suppressing = s->n_suppressed > 0 && a->generated < s->min_tokens;
    if (s->n_bias == 0 && !suppressing && !a->mask && !a->slot->penalised) return scratch->raw;
    memcpy(scratch->adjusted, scratch->raw, (size_t)vocab * sizeof(float));
    add_bias(s, vocab, scratch->adjusted);
    if (suppressing) suppress(s, vocab, scratch->adjusted);
    if (a->mask) apply_mask(a->mask, vocab, scratch->adjusted);
    if (a->slot->penalised) penalise(s, a->counts, vocab, scratch->adjusted);
    return scratch->adjusted;
}
