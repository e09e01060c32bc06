/* A model without weights: implements runtime/model/model.h with hashes for numbers and a real paged cache.
 *
 * It stores each position's value where the block tables say and reads what a query sees from there, so wrong blocks, windows, chunks,
 * prefixes or lost tokens change what is drawn. Besides, it refuses steps that break the contract: every such call fails with
 * STATUS_INTERNAL and says why, which ends the engine's run.
 */
#ifndef TESTS_ENGINE_FAKE_MODEL_H
#define TESTS_ENGINE_FAKE_MODEL_H

#include "runtime/model/model.h"

typedef struct fake_model_options {
    world *world;
    int groups;          /* data-parallel; divides the world */
    bool asynchronous;   /* claims to be; results of a step can then be read one step later */
    int vocab, window, block_tokens, max_positions;
    int max_tokens, max_sequences;
    int64_t block_bytes[OPS_KV_KINDS];
    int fail_forward_at; /* this forward, counted from 1, fails on rank fail_rank; 0: none */
    int fail_results_at;
    int fail_rank;
    int silent_rank;     /* one more than the rank that does not know its memory */
    int step_us, token_us; /* a step takes this long, and this for each token more */
} fake_model_options;

model *fake_model_open(const fake_model_options *options);
void fake_model_close(model *m);

typedef struct fake_model_counts {
    int forwards, late_reads; /* results read after the next forward */
    int most_sequences, most_tokens; /* in one step */
    int blocks[OPS_KV_KINDS];
} fake_model_counts;

fake_model_counts fake_model_get_counts(const model *m);

#endif
