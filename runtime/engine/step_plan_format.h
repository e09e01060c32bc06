/* The words of a step plan, shared by the file that writes them and the file that reads them. */
#ifndef RUNTIME_ENGINE_STEP_PLAN_FORMAT_H
#define RUNTIME_ENGINE_STEP_PLAN_FORMAT_H

enum { STEP_PLAN_MAGIC = 0x31505447 };

/* The head; GROUP_TABLE is followed by GROUP_WORDS words for each group. */
enum {
    HEAD_MAGIC,
    HEAD_TOTAL, /* words of the message */
    HEAD_KIND,
    HEAD_STEP_LOW,
    HEAD_STEP_HIGH,
    HEAD_GROUPS,
    HEAD_MAX_TOKENS, /* the largest over the groups, as the two below */
    HEAD_MAX_ROWS,
    HEAD_LOGPROBS, /* 1: some row wants them */
    HEAD_GROUP_TABLE,
};

enum { GROUP_OFFSET, GROUP_SIZE, GROUP_BEGINS, GROUP_RUNS, GROUP_TOKENS, GROUP_ROWS, GROUP_WORDS }; /* offset and size in words */

/* BEGIN_WORDS, then suppressed, bias ids, bias values, ids. Floats travel as their bits. */
enum {
    BEGIN_SLOT,
    BEGIN_IDS,
    BEGIN_GENERATED,
    BEGIN_TEMPERATURE,
    BEGIN_TOP_P,
    BEGIN_TOP_K,
    BEGIN_MIN_P,
    BEGIN_PRESENCE,
    BEGIN_FREQUENCY,
    BEGIN_REPETITION,
    BEGIN_SEED_LOW,
    BEGIN_SEED_HIGH,
    BEGIN_MIN_TOKENS,
    BEGIN_SUPPRESSED,
    BEGIN_BIAS,
    BEGIN_WORDS,
};

/* RUN_WORDS, then tokens, full blocks, sliding blocks, targets, the mask's words. */
enum {
    RUN_SLOT,
    RUN_POSITION,
    RUN_TOKENS,
    RUN_FIRST_BLOCK,
    RUN_BLOCKS,
    RUN_SLIDING_FIRST,
    RUN_SCORE_FIRST,
    RUN_SCORES,
    RUN_SCORE_TOP,
    RUN_DRAWS,
    RUN_DRAW_TOP,
    RUN_GENERATED,
    RUN_MASK_KIND,
    RUN_MASK_WORDS,
    RUN_WORDS,
};

/* The body of an ERROR: the status, then the text's bytes and a NUL, padded to a word. */
enum { ERROR_STATUS, ERROR_TEXT };

#endif
