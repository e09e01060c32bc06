/* Sampling in double precision by the rule of kernels/README.md, "Sampling", with a full sort and no short cuts. */
#ifndef TESTS_KERNELS_REFERENCE_SAMPLING_H
#define TESTS_KERNELS_REFERENCE_SAMPLING_H

#include "kernels/ops.h"

/* What a slot has seen: ids [n], of which the last n_generated were generated. */
typedef struct reference_history {
    const int32_t *ids;
    int n, n_generated;
} reference_history;

/* out [vocab]: logits after bias, suppression and penalties; NaN counts as -inf. */
void reference_adjust(const ops_sampling *s, const reference_history *h, const float *logits, int vocab, double *out);

/* out [vocab]: the chance of each id, after temperature (> 0) and filters; 0 for what is filtered. */
void reference_chances(const ops_sampling *s, const double *adjusted, int vocab, double *out);

/* The highest value; the lowest id among equals. */
int32_t reference_greedy(const double *adjusted, int vocab);

/* The id that is drawn at `position`; greedy at temperature 0. */
int32_t reference_draw(const ops_sampling *s, int32_t position, const double *adjusted, int vocab);

/* log-softmax of raw logits, and how many ids have a higher one. */
double reference_logprob(const float *logits, int vocab, int id);
int reference_rank(const float *logits, int vocab, int id);

#endif
