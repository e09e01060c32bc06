/* A golden checkpoint of tests/data/goldens and what Hugging Face computed from it; see tests/data/make_goldens.py. */
#ifndef TESTS_MODEL_GOLDEN_H
#define TESTS_MODEL_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GOLDEN_TARGETS = 32, GOLDEN_GREEDY = 16, GOLDEN_MAX_PROMPTS = 8 };

typedef struct golden_prompt {
    int n, n_positions, n_greedy;
    const int32_t *ids;       /* [n] */
    const int32_t *positions; /* [n_positions] */
    const int32_t *targets;   /* [n_positions, GOLDEN_TARGETS] */
    const float *logprobs;    /* [n_positions, GOLDEN_TARGETS] */
    const int32_t *greedy;    /* [n_greedy] */
    const float *gaps;        /* [n_greedy] between best and second best */
    const float *whole;       /* [n_positions, vocab] all log-probabilities there, or NULL: only `gentle` has them */
    int vocab;
    double bf16_error;        /* mean absolute error of Hugging Face's own BF16 run over the same values */
} golden_prompt;

typedef struct golden {
    char name[64], dir[1024];
    int n_prompts;
    golden_prompt prompts[GOLDEN_MAX_PROMPTS];
    void *bytes; /* of golden.safetensors */
} golden;

/* Looks in $GPTOSS_TESTS_DIR/data/goldens/NAME. False when something is missing or of the wrong shape. */
bool golden_open(const char *name, golden *out);
void golden_close(golden *g);

#endif
