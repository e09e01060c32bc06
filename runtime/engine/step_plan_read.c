/* The reading half of step_plan.h: pure functions over untrusted words. */
#include <string.h>

#include "runtime/engine/step_plan.h"
#include "runtime/engine/step_plan_format.h"

static status broken(status_detail *detail, const char *what)
{
    return status_fail(detail, STATUS_INTERNAL, "step plan: %s: the ranks do not run the same program, or a message was damaged", what);
}

static float float_of(int32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool within(int32_t value, int32_t low, int32_t high) { return value >= low && value <= high; }

static bool all_within(const int32_t *values, int32_t n, int32_t low, int32_t high)
{
    for (int32_t i = 0; i < n; i++)
        if (!within(values[i], low, high)) return false;
    return true;
}

/* The next `n` words of a part, or NULL. */
static const int32_t *take(step_plan_part *part, int64_t n)
{
    if (n < 0 || n > part->end - part->at) return NULL;
    const int32_t *words = part->at;
    part->at += n;
    return words;
}

static int max_blocks(const step_plan_limits *l) { return (l->max_model_len + l->block_tokens - 1) / l->block_tokens; }

static bool read_begin(step_plan_part *part, const step_plan_limits *l, step_plan_begin *out)
{
    const int32_t *w = take(part, BEGIN_WORDS);
    if (!w || !within(w[BEGIN_SLOT], 0, l->slots - 1) || !within(w[BEGIN_IDS], 0, l->max_model_len) ||
        !within(w[BEGIN_GENERATED], 0, w[BEGIN_IDS]) || !within(w[BEGIN_SUPPRESSED], 0, OPS_MAX_SUPPRESSED) ||
        !within(w[BEGIN_BIAS], 0, OPS_MAX_LOGIT_BIAS) || w[BEGIN_TOP_K] < 0 || w[BEGIN_MIN_TOKENS] < 0)
        return false;
    const int32_t *suppressed = take(part, w[BEGIN_SUPPRESSED]), *bias_ids = take(part, w[BEGIN_BIAS]);
    const int32_t *bias_values = take(part, w[BEGIN_BIAS]), *ids = take(part, w[BEGIN_IDS]);
    if (!suppressed || !bias_ids || !bias_values || !ids || !all_within(suppressed, w[BEGIN_SUPPRESSED], 0, l->vocab - 1) ||
        !all_within(bias_ids, w[BEGIN_BIAS], 0, l->vocab - 1) || !all_within(ids, w[BEGIN_IDS], 0, l->vocab - 1))
        return false;
    ops_sampling *s = &out->sampling;
    s->temperature = float_of(w[BEGIN_TEMPERATURE]);
    s->top_p = float_of(w[BEGIN_TOP_P]);
    s->top_k = w[BEGIN_TOP_K];
    s->min_p = float_of(w[BEGIN_MIN_P]);
    s->presence_penalty = float_of(w[BEGIN_PRESENCE]);
    s->frequency_penalty = float_of(w[BEGIN_FREQUENCY]);
    s->repetition_penalty = float_of(w[BEGIN_REPETITION]);
    s->seed = (uint32_t)w[BEGIN_SEED_LOW] | (uint64_t)(uint32_t)w[BEGIN_SEED_HIGH] << 32;
    s->min_tokens = w[BEGIN_MIN_TOKENS];
    s->n_suppressed = w[BEGIN_SUPPRESSED];
    s->n_bias = w[BEGIN_BIAS];
    memcpy(s->suppressed, suppressed, (size_t)s->n_suppressed * sizeof *suppressed);
    memcpy(s->bias_ids, bias_ids, (size_t)s->n_bias * sizeof *bias_ids);
    memcpy(s->bias_values, bias_values, (size_t)s->n_bias * sizeof *bias_values);
    out->slot = w[BEGIN_SLOT];
    out->ids = ids;
    out->n_ids = w[BEGIN_IDS];
    out->n_generated = w[BEGIN_GENERATED];
    return true;
}

static bool run_head_ok(const int32_t *w, const step_plan_limits *l)
{
    int most = max_blocks(l);
    return within(w[RUN_SLOT], 0, l->slots - 1) && within(w[RUN_TOKENS], 1, l->max_tokens) &&
           within(w[RUN_POSITION], 0, l->max_model_len - 1) && within(w[RUN_TOKENS], 1, l->max_model_len - w[RUN_POSITION]) &&
           within(w[RUN_BLOCKS], 0, most) && within(w[RUN_FIRST_BLOCK], 0, most - w[RUN_BLOCKS]) &&
           (int64_t)(w[RUN_FIRST_BLOCK] + w[RUN_BLOCKS]) * l->block_tokens >= (int64_t)w[RUN_POSITION] + w[RUN_TOKENS] &&
           within(w[RUN_SLIDING_FIRST], 0, w[RUN_POSITION] / l->block_tokens) && within(w[RUN_SCORES], 0, w[RUN_TOKENS]) &&
           within(w[RUN_SCORE_FIRST], 0, w[RUN_TOKENS] - w[RUN_SCORES]) && within(w[RUN_SCORE_TOP], -1, OPS_MAX_TOP_LOGPROBS) &&
           within(w[RUN_DRAWS], 0, 1) && within(w[RUN_DRAW_TOP], -1, OPS_MAX_TOP_LOGPROBS) &&
           within(w[RUN_GENERATED], 0, l->max_model_len) && within(w[RUN_MASK_WORDS], 0, (int32_t)ops_mask_words(l->vocab)) &&
           !(w[RUN_DRAWS] && w[RUN_SCORE_FIRST] + w[RUN_SCORES] == w[RUN_TOKENS] && w[RUN_SCORES] > 0);
}

/* `words`: the mask's, at most as many as a mask of bits has; NULL: the message has fewer. */
static bool mask_ok(const int32_t *w, const int32_t *words, const step_plan_limits *l)
{
    switch (w[RUN_MASK_KIND]) {
    case STEP_PLAN_MASK_NONE: return words && w[RUN_MASK_WORDS] == 0;
    case STEP_PLAN_MASK_ALLOW:
    case STEP_PLAN_MASK_DENY: return words && w[RUN_DRAWS] && all_within(words, w[RUN_MASK_WORDS], 0, l->vocab - 1);
    case STEP_PLAN_MASK_BITS: return words && w[RUN_DRAWS] && (size_t)w[RUN_MASK_WORDS] == ops_mask_words(l->vocab);
    default: return false;
    }
}

static bool read_run(step_plan_part *part, const step_plan_limits *l, step_plan_run *out)
{
    const int32_t *w = take(part, RUN_WORDS);
    if (!w || !run_head_ok(w, l)) return false;
    const int32_t *tokens = take(part, w[RUN_TOKENS]), *full = take(part, w[RUN_BLOCKS]), *sliding = take(part, w[RUN_BLOCKS]);
    const int32_t *targets = take(part, w[RUN_SCORES]), *mask = take(part, w[RUN_MASK_WORDS]);
    if (!mask_ok(w, mask, l)) return false;
    if (!tokens || !full || !sliding || !targets || !all_within(tokens, w[RUN_TOKENS], -1, l->vocab - 1) ||
        !all_within(full, w[RUN_BLOCKS], 0, l->blocks[OPS_FULL] - 1) || !all_within(targets, w[RUN_SCORES], 0, l->vocab - 1))
        return false;
    for (int32_t i = 0; i < w[RUN_BLOCKS]; i++) {
        bool gone = w[RUN_FIRST_BLOCK] + i < w[RUN_SLIDING_FIRST];
        if (!within(sliding[i], gone ? -1 : 0, l->blocks[OPS_SLIDING] - 1)) return false;
    }
    *out = (step_plan_run){
        .slot = w[RUN_SLOT], .position = w[RUN_POSITION], .n_tokens = w[RUN_TOKENS], .tokens = tokens,
        .first_block = w[RUN_FIRST_BLOCK], .n_blocks = w[RUN_BLOCKS], .blocks = {full, sliding}, .sliding_first = w[RUN_SLIDING_FIRST],
        .score_first = w[RUN_SCORE_FIRST], .n_scores = w[RUN_SCORES], .targets = targets, .score_top = w[RUN_SCORE_TOP],
        .draws = w[RUN_DRAWS] != 0, .draw_top = w[RUN_DRAW_TOP], .generated = w[RUN_GENERATED],
        .mask = {(step_plan_mask_kind)w[RUN_MASK_KIND], w[RUN_MASK_WORDS], mask},
    };
    return true;
}

bool step_plan_next_begin(step_plan_part *part, const step_plan_limits *l, step_plan_begin *out)
{
    if (part->begins_left == 0 || !read_begin(part, l, out)) return false;
    part->begins_left--;
    return true;
}

bool step_plan_next_run(step_plan_part *part, const step_plan_limits *l, step_plan_run *out)
{
    if (part->runs_left == 0 || !read_run(part, l, out)) return false;
    part->runs_left--;
    return true;
}

/* Walks a copy of the part from end to end. */
static status check_part(step_plan_part part, const step_plan_limits *l, status_detail *detail)
{
    step_plan_begin begin;
    step_plan_run run;
    int64_t tokens = 0, rows = 0;
    while (step_plan_next_begin(&part, l, &begin)) {
    }
    if (part.begins_left) return broken(detail, "a slot's start is malformed");
    while (step_plan_next_run(&part, l, &run)) {
        tokens += run.n_tokens;
        rows += run.n_scores + run.draws;
    }
    if (part.runs_left) return broken(detail, "a sequence's run is malformed");
    if (part.at != part.end || tokens != part.n_tokens || rows != part.n_logit_rows)
        return broken(detail, "a group's part does not add up");
    return STATUS_OK;
}

static status read_step(const int32_t *w, size_t total, const step_plan_limits *l, int group, step_plan *out, status_detail *detail)
{
    size_t table_end = HEAD_GROUP_TABLE + (size_t)l->groups * GROUP_WORDS;
    if (w[HEAD_GROUPS] != l->groups || total < table_end) return broken(detail, "the number of groups is wrong");
    if (!within(w[HEAD_MAX_TOKENS], 0, l->max_tokens) || !within(w[HEAD_MAX_ROWS], 0, w[HEAD_MAX_TOKENS]) ||
        !within(w[HEAD_LOGPROBS], 0, 1))
        return broken(detail, "a size in the head is out of range");
    const int32_t *row = w + HEAD_GROUP_TABLE + group * GROUP_WORDS;
    int64_t offset = row[GROUP_OFFSET], size = row[GROUP_SIZE];
    if (offset < (int64_t)table_end || size < 0 || offset + size > (int64_t)total) return broken(detail, "a group's part lies outside");
    if (!within(row[GROUP_TOKENS], 0, w[HEAD_MAX_TOKENS]) || !within(row[GROUP_ROWS], 0, w[HEAD_MAX_ROWS]) ||
        !within(row[GROUP_BEGINS], 0, l->slots) || !within(row[GROUP_RUNS], 0, l->slots))
        return broken(detail, "a group's size is out of range");
    step_plan_part part = {.at = w + offset, .end = w + offset + size, .begins_left = row[GROUP_BEGINS], .runs_left = row[GROUP_RUNS],
                           .n_tokens = row[GROUP_TOKENS], .n_runs = row[GROUP_RUNS], .n_logit_rows = row[GROUP_ROWS]};
    STATUS_TRY(check_part(part, l, detail));
    out->max_group_tokens = w[HEAD_MAX_TOKENS];
    out->max_group_logit_rows = w[HEAD_MAX_ROWS];
    out->wants_logprobs = w[HEAD_LOGPROBS] == 1;
    out->mine = part;
    return STATUS_OK;
}

static status read_error(const int32_t *w, size_t total, step_plan *out, status_detail *detail)
{
    size_t body = HEAD_GROUP_TABLE;
    if (w[HEAD_GROUPS] != 0 || total <= body + ERROR_TEXT || !within(w[body + ERROR_STATUS], STATUS_OK + 1, STATUS_INTERNAL))
        return broken(detail, "an error's body is malformed");
    out->error = (status)w[body + ERROR_STATUS];
    size_t length = (total - body - ERROR_TEXT) * sizeof *w;
    if (length > sizeof out->text - 1) length = sizeof out->text - 1;
    memcpy(out->text, w + body + ERROR_TEXT, length);
    out->text[length] = '\0';
    return STATUS_OK;
}

status step_plan_size(const void *head, size_t size, size_t *bytes, status_detail *detail)
{
    const int32_t *w = head;
    if (size < HEAD_GROUP_TABLE * sizeof *w || w[HEAD_MAGIC] != STEP_PLAN_MAGIC) return broken(detail, "the head is malformed");
    if (!within(w[HEAD_TOTAL], HEAD_GROUP_TABLE, INT32_MAX / (int32_t)sizeof *w)) return broken(detail, "its length is out of range");
    *bytes = (size_t)w[HEAD_TOTAL] * sizeof *w;
    return STATUS_OK;
}

status step_plan_read(const void *data, size_t size, const step_plan_limits *l, int group, step_plan *out, status_detail *detail)
{
    const int32_t *w = data;
    size_t bytes;
    STATUS_TRY(step_plan_size(data, size, &bytes, detail));
    if (bytes > size) return broken(detail, "it is cut off");
    step_plan plan = {.kind = (step_plan_kind)w[HEAD_KIND],
                      .step = (uint32_t)w[HEAD_STEP_LOW] | (uint64_t)(uint32_t)w[HEAD_STEP_HIGH] << 32};
    switch (w[HEAD_KIND]) {
    case STEP_PLAN_STEP: STATUS_TRY(read_step(w, bytes / sizeof *w, l, group, &plan, detail)); break;
    case STEP_PLAN_ERROR: STATUS_TRY(read_error(w, bytes / sizeof *w, &plan, detail)); break;
    case STEP_PLAN_PARK:
    case STEP_PLAN_SHUTDOWN: break;
    default: return broken(detail, "its kind is unknown");
    }
    *out = plan;
    return STATUS_OK;
}
