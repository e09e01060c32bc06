/* Sampling through the ops table, from logits that a test makes. */
#ifndef TESTS_KERNELS_SUITE_SAMPLING_H
#define TESTS_KERNELS_SUITE_SAMPLING_H

#include "tests/kernels/reference_sampling.h"
#include "tests/kernels/suite.h"

enum { SUITE_SLOTS = 64 }; /* slots, and rows of one suite_sample */

/* A suite whose LM head is spread over `shards` ranks; threads 0: two. */
void suite_open_sampler(suite *s, void *backend, int vocab, int shards, int threads);

/* Everything off but the temperature; seed 1. */
ops_sampling suite_sampling(float temperature);

float *suite_logits(suite *s, int rows, double spread); /* [rows, vocab] */

/* slot_begin without history, or with it. */
void suite_slot(suite *s, int slot, const ops_sampling *sampling);
void suite_slot_history(suite *s, int slot, const ops_sampling *sampling, const reference_history *h);

/* One step: `logits` [n, vocab] in the layout of the shards (what lies past the vocabulary is NaN), sampled, read back. */
void suite_sample(suite *s, const float *logits, const ops_logit_row *rows, int n, ops_token *out);
/* One row: the id drawn in `slot` at `position`. */
int32_t suite_draw(suite *s, const float *logits, int slot, int position, int generated);

#endif
