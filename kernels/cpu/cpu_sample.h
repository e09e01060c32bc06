/* What the sampler's files share. The rule of a draw is in kernels/README.md, "Sampling". */
#ifndef KERNELS_CPU_CPU_SAMPLE_H
#define KERNELS_CPU_CPU_SAMPLE_H

#include "kernels/cpu/cpu.h"

typedef struct cpu_candidate {
    float logit;
    int32_t id;
} cpu_candidate;

/* Workspace of one thread. Untouched pages cost no memory, so each part is as large as its worst case. */
typedef struct cpu_sample_scratch {
    float *raw;                /* [vocab] the row's logits in the order of ids; no NaN, no +inf */
    float *adjusted;           /* [vocab] after bias, suppression, mask and penalties */
    cpu_candidate *candidates; /* [vocab] what the filters keep */
    int32_t *pivots;           /* [vocab + 1] ends of the runs not sorted yet */
} cpu_sample_scratch;

/* Counts of one slot's ids, one word each: how often the id was generated, and whether it was ever seen (prompt or generated). */
#define CPU_COUNT_SEEN 0x80000000u
#define CPU_COUNT_GENERATED 0x7fffffffu

typedef struct cpu_slot {
    ops_sampling sampling;
    int32_t last;
    bool penalised; /* counts are kept, because some penalty is on */
    bool counted;   /* the slot's counts are not all zero */
} cpu_slot;

struct cpu_sampler {
    cpu_slot *slots;     /* [max_sequences] */
    uint32_t *counts;    /* [max_sequences, vocab]; a row is touched only for penalised slots */
    ops_token *results[2]; /* [max_tokens] each; results[current] belongs to the batch that runs */
    int current;
    cpu_sample_scratch *scratch; /* [threads] */
};

/* NaN becomes -inf (never drawn) and +inf the largest finite float, so that differences of logits are never NaN. */
static inline float cpu_sample_clean(float logit)
{
    if (logit != logit) return -__builtin_inff();
    return logit > __FLT_MAX__ ? __FLT_MAX__ : logit;
}

/* What decides which logits a draw starts from. */
typedef struct cpu_adjustment {
    const cpu_slot *slot;
    const uint32_t *counts; /* [vocab] the slot's */
    const uint32_t *mask;   /* [ops_mask_words(vocab)] ids that may be drawn; NULL: all */
    int generated;          /* tokens generated before */
} cpu_adjustment;

/* cpu_sample_adjust.c: the logits a draw starts from: bias, suppression, mask, penalties. Returns `scratch->raw` itself when nothing applies,
 * otherwise `scratch->adjusted`. */
const float *cpu_sample_adjust(const cpu_adjustment *a, int vocab, const cpu_sample_scratch *scratch);

/* cpu_sample_pick.c: draws an id from adjusted logits: temperature, min_p, top_k, top_p, Gumbel-max. 0 when every logit is -inf. */
int32_t cpu_sample_pick(const ops_sampling *sampling, int32_t position, const float *logits, int vocab, const cpu_sample_scratch *scratch);

/* cpu_logprobs.c: fills logprob, rank and the `top` best of `out`, whose id is set, from raw logits. */
void cpu_logprobs_fill(const float *logits, int vocab, int top, ops_token *out);

#endif
