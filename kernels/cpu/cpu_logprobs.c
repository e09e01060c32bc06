/* Log-probabilities of raw logits. */
#include <math.h>

#include "kernels/cpu/cpu_sample.h"

/* log(sum(exp(logits))), summed in the order of ids, so that it does not depend on how the vocabulary is sharded. */
static double log_sum_exp(const float *logits, int vocab)
{
    double largest = -INFINITY, sum = 0;
    for (int id = 0; id < vocab; id++)
        if ((double)logits[id] > largest) largest = (double)logits[id];
    if (largest == -INFINITY) return 0; /* every log-probability is then -inf */
    for (int id = 0; id < vocab; id++) sum += exp((double)logits[id] - largest);
    return largest + log(sum);
}

/* The best `top` ids, highest logit first, lower id first among equals; returns how many there are. Ids come in ascending order, so an equal
 * logit never moves ahead. */
static int best_ids(const float *logits, int vocab, int top, int32_t *ids)
{
    int count = 0;
    for (int id = 0; id < vocab; id++) {
        if (count == top && !(logits[id] > logits[ids[count - 1]])) continue;
        int at = count < top ? count++ : count - 1;
        for (; at > 0 && logits[id] > logits[ids[at - 1]]; at--) ids[at] = ids[at - 1];
        ids[at] = id;
    }
    return count;
}

void cpu_logprobs_fill(const float *logits, int vocab, int top, ops_token *out)
{
    double total = log_sum_exp(logits, vocab);
    float own = logits[out->id];
    int32_t rank = 0;
    for (int id = 0; id < vocab; id++) rank += logits[id] > own;
    out->logprob = (float)((double)own - total);
    out->rank = rank;
    if (top > OPS_MAX_TOP_LOGPROBS) top = OPS_MAX_TOP_LOGPROBS;
    out->n_top = top > 0 ? best_ids(logits, vocab, top, out->top_ids) : 0;
    for (int i = 0; i < out->n_top; i++) out->top_logprobs[i] = (float)((double)logits[out->top_ids[i]] - total);
}
