#include "tests/kernels/reference_sampling.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/philox.h"

void reference_adjust(const ops_sampling *s, const reference_history *h, const float *logits, int vocab, double *out)
{
    for (int id = 0; id < vocab; id++) out[id] = isnan(logits[id]) ? -(double)INFINITY : (double)logits[id];
    for (int i = 0; i < s->n_bias; i++)
        if (s->bias_ids[i] >= 0 && s->bias_ids[i] < vocab) out[s->bias_ids[i]] += (double)s->bias_values[i];
    for (int i = 0; i < s->n_suppressed && h->n_generated < s->min_tokens; i++)
        if (s->suppressed[i] >= 0 && s->suppressed[i] < vocab) out[s->suppressed[i]] = -(double)INFINITY;
    for (int id = 0; id < vocab; id++) {
        int seen = 0, generated = 0;
        for (int i = 0; i < h->n; i++) {
            seen += h->ids[i] == id;
            generated += h->ids[i] == id && i >= h->n - h->n_generated;
        }
        if (seen) out[id] = out[id] > 0 ? out[id] / (double)s->repetition_penalty : out[id] * (double)s->repetition_penalty;
        if (generated) out[id] -= generated * (double)s->frequency_penalty + (double)s->presence_penalty;
    }
}

int32_t reference_greedy(const double *adjusted, int vocab)
{
    int32_t best = 0;
    for (int id = 1; id < vocab; id++)
        if (adjusted[id] > adjusted[best]) best = id;
    return best;
}

typedef struct ranked {
    double logit;
    int id;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id - y->id;
}

void reference_chances(const ops_sampling *s, const double *adjusted, int vocab, double *out)
{
    ranked *order = malloc((size_t)vocab * sizeof *order);
    double *weight = malloc((size_t)vocab * sizeof *weight), total = 0, kept = 0;
    int n = 0, end = 0;
    for (int id = 0; id < vocab; id++) order[id] = (ranked){adjusted[id], id};
    qsort(order, (size_t)vocab, sizeof *order, compare_ranked);
    for (int i = 0; i < vocab; i++) weight[i] = exp((order[i].logit - order[0].logit) / (double)s->temperature);
    while (n < vocab && weight[n] >= (double)s->min_p && order[n].logit > -(double)INFINITY) n++;
    if (s->top_k > 0 && s->top_k < n) n = s->top_k;
    for (int i = 0; i < n; i++) total += weight[i];
    while (end < n && (end == 0 || s->top_p >= 1 || kept < (double)s->top_p * total)) kept += weight[end++];
    for (int i = 0; i < vocab; i++) out[order[i].id] = i < end ? weight[i] / kept : 0;
    free(order);
    free(weight);
}

int32_t reference_draw(const ops_sampling *s, int32_t position, const double *adjusted, int vocab)
{
    int32_t best = reference_greedy(adjusted, vocab), drawn = best;
    if (s->temperature == 0 || adjusted[best] == -(double)INFINITY) return best;
    double *chances = malloc((size_t)vocab * sizeof *chances), largest = -(double)INFINITY;
    reference_chances(s, adjusted, vocab, chances);
    for (int id = 0; id < vocab; id++) {
        if (chances[id] == 0) continue;
        philox_block noise = philox((philox_block){{(uint32_t)id / 4, (uint32_t)position, 0, 0}}, s->seed);
        double u = ((double)noise.word[id % 4] + 0.5) / 4294967296.0, gumbel = -log(-log1p(-u));
        double key = (adjusted[id] - adjusted[best]) / (double)s->temperature + gumbel;
        if (key <= largest) continue;
        largest = key;
        drawn = id;
    }
    free(chances);
    return drawn;
}

double reference_logprob(const float *logits, int vocab, int id)
{
    double largest = -(double)INFINITY, sum = 0;
    for (int i = 0; i < vocab; i++) largest = fmax(largest, (double)logits[i]);
    for (int i = 0; i < vocab; i++) sum += isnan(logits[i]) ? 0 : exp((double)logits[i] - largest);
    return (double)logits[id] - largest - log(sum);
}

int reference_rank(const float *logits, int vocab, int id)
{
    int rank = 0;
    for (int i = 0; i < vocab; i++) rank += logits[i] > logits[id];
    return rank;
}
