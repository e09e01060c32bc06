#include "runtime/engine/step_plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/engine/step_plan_format.h"

enum { HEAD_CAPACITY = STEP_PLAN_HEAD_BYTES / (int)sizeof(int32_t) };

void step_plan_message_free(step_plan_message *m)
{
    free(m->words);
    *m = (step_plan_message){0};
}

static bool grow(step_plan_message *m, size_t words)
{
    if (words <= m->capacity) return true;
    size_t capacity = 2 * m->capacity > words ? 2 * m->capacity : words;
    if (capacity < HEAD_CAPACITY) capacity = HEAD_CAPACITY;
    int32_t *grown = realloc(m->words, capacity * sizeof *grown);
    if (!grown) return false;
    m->words = grown;
    m->capacity = capacity;
    return true;
}

status step_plan_reserve(step_plan_message *m, size_t bytes, status_detail *detail)
{
    if (grow(m, (bytes + sizeof *m->words - 1) / sizeof *m->words)) return STATUS_OK;
    return status_fail(detail, STATUS_MACHINE, "no memory for a step plan of %zu bytes", bytes);
}

/* The next `n` words, zeroed; NULL when memory ran out. */
static int32_t *extend(step_plan_message *m, size_t n)
{
    if (m->failed || !grow(m, m->count + n)) {
        m->failed = true;
        return NULL;
    }
    int32_t *words = m->words + m->count;
    m->count += n;
    memset(words, 0, n * sizeof *words);
    return words;
}

static void append(step_plan_message *m, const void *values, size_t n)
{
    int32_t *words = n ? extend(m, n) : NULL;
    if (words) memcpy(words, values, n * sizeof *words);
}

static int32_t float_bits(float value)
{
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void step_plan_start(step_plan_message *m, step_plan_kind kind, uint64_t step, int groups)
{
    m->count = 0;
    m->failed = false;
    m->group = -1;
    int32_t *head = extend(m, HEAD_GROUP_TABLE + (size_t)groups * GROUP_WORDS);
    if (!head) return;
    head[HEAD_MAGIC] = STEP_PLAN_MAGIC;
    head[HEAD_KIND] = (int32_t)kind;
    head[HEAD_STEP_LOW] = (int32_t)(uint32_t)step;
    head[HEAD_STEP_HIGH] = (int32_t)(uint32_t)(step >> 32);
    head[HEAD_GROUPS] = groups;
}

/* The group table's row being written. */
static int32_t *group_row(step_plan_message *m) { return m->words + HEAD_GROUP_TABLE + m->group * GROUP_WORDS; }

static void close_group(step_plan_message *m)
{
    if (m->group < 0) return;
    int32_t *row = group_row(m);
    row[GROUP_SIZE] = (int32_t)m->count - row[GROUP_OFFSET];
    if (row[GROUP_TOKENS] > m->words[HEAD_MAX_TOKENS]) m->words[HEAD_MAX_TOKENS] = row[GROUP_TOKENS];
    if (row[GROUP_ROWS] > m->words[HEAD_MAX_ROWS]) m->words[HEAD_MAX_ROWS] = row[GROUP_ROWS];
}

void step_plan_add_group(step_plan_message *m)
{
    if (m->failed) return;
    close_group(m);
    m->group++;
    assert(m->group < m->words[HEAD_GROUPS]);
    group_row(m)[GROUP_OFFSET] = (int32_t)m->count;
}

void step_plan_add_begin(step_plan_message *m, const step_plan_begin *b)
{
    const ops_sampling *s = &b->sampling;
    const int32_t words[BEGIN_WORDS] = {
        [BEGIN_SLOT] = b->slot,
        [BEGIN_IDS] = b->n_ids,
        [BEGIN_GENERATED] = b->n_generated,
        [BEGIN_TEMPERATURE] = float_bits(s->temperature),
        [BEGIN_TOP_P] = float_bits(s->top_p),
        [BEGIN_TOP_K] = s->top_k,
        [BEGIN_MIN_P] = float_bits(s->min_p),
        [BEGIN_PRESENCE] = float_bits(s->presence_penalty),
        [BEGIN_FREQUENCY] = float_bits(s->frequency_penalty),
        [BEGIN_REPETITION] = float_bits(s->repetition_penalty),
        [BEGIN_SEED_LOW] = (int32_t)(uint32_t)s->seed,
        [BEGIN_SEED_HIGH] = (int32_t)(uint32_t)(s->seed >> 32),
        [BEGIN_MIN_TOKENS] = s->min_tokens,
        [BEGIN_SUPPRESSED] = s->n_suppressed,
        [BEGIN_BIAS] = s->n_bias,
    };
    append(m, words, BEGIN_WORDS);
    append(m, s->suppressed, (size_t)s->n_suppressed);
    append(m, s->bias_ids, (size_t)s->n_bias);
    append(m, s->bias_values, (size_t)s->n_bias);
    append(m, b->ids, (size_t)b->n_ids);
    if (!m->failed) group_row(m)[GROUP_BEGINS]++;
}

void step_plan_add_run(step_plan_message *m, const step_plan_run *r)
{
    const int32_t words[RUN_WORDS] = {
        [RUN_SLOT] = r->slot,
        [RUN_POSITION] = r->position,
        [RUN_TOKENS] = r->n_tokens,
        [RUN_FIRST_BLOCK] = r->first_block,
        [RUN_BLOCKS] = r->n_blocks,
        [RUN_SLIDING_FIRST] = r->sliding_first,
        [RUN_SCORE_FIRST] = r->score_first,
        [RUN_SCORES] = r->n_scores,
        [RUN_SCORE_TOP] = r->score_top,
        [RUN_DRAWS] = r->draws,
        [RUN_DRAW_TOP] = r->draw_top,
        [RUN_GENERATED] = r->generated,
        [RUN_MASK_KIND] = (int32_t)r->mask.kind,
        [RUN_MASK_WORDS] = r->mask.n,
    };
    append(m, words, RUN_WORDS);
    append(m, r->tokens, (size_t)r->n_tokens);
    for (int kind = 0; kind < OPS_KV_KINDS; kind++) append(m, r->blocks[kind], (size_t)r->n_blocks);
    append(m, r->targets, (size_t)r->n_scores);
    append(m, r->mask.words, (size_t)r->mask.n);
    if (m->failed) return;
    int32_t *row = group_row(m);
    row[GROUP_RUNS]++;
    row[GROUP_TOKENS] += r->n_tokens;
    row[GROUP_ROWS] += r->n_scores + r->draws;
    if ((r->n_scores > 0 && r->score_top >= 0) || (r->draws && r->draw_top >= 0)) m->words[HEAD_LOGPROBS] = 1;
}

void step_plan_add_error(step_plan_message *m, status code, const char *text)
{
    size_t length = strnlen(text, STEP_PLAN_TEXT - 1);
    int32_t *body = extend(m, ERROR_TEXT + length / sizeof *body + 1);
    if (!body) return;
    body[ERROR_STATUS] = (int32_t)code;
    memcpy(body + ERROR_TEXT, text, length);
}

status step_plan_finish(step_plan_message *m, status_detail *detail)
{
    if (m->failed || m->count > INT32_MAX / sizeof *m->words || !grow(m, HEAD_CAPACITY))
        return status_fail(detail, STATUS_MACHINE, "no memory for a step plan of more than %zu words", m->count);
    close_group(m);
    assert(m->words[HEAD_KIND] != STEP_PLAN_STEP || m->group + 1 == m->words[HEAD_GROUPS]);
    m->words[HEAD_TOTAL] = (int32_t)m->count;
    /* The first broadcast always sends a whole head: no bytes of earlier messages, nor undefined ones. */
    if (m->count < HEAD_CAPACITY) memset(m->words + m->count, 0, (HEAD_CAPACITY - m->count) * sizeof *m->words);
    return STATUS_OK;
}
