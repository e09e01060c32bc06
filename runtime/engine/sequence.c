#include "runtime/engine/sequence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static status check_tokens(const engine_request *r, const sequence_limits *l, status_detail *detail)
{
    if (r->n_prompt < 1) return status_fail(detail, STATUS_INVALID, "the prompt is empty: at least one token is needed");
    if (r->max_tokens < 0)
        return status_fail(detail, STATUS_INVALID, "max_tokens is %d: it must not be negative", r->max_tokens);
    if (r->n_prompt > l->max_model_len || (r->n_prompt == l->max_model_len && r->max_tokens > 0))
        return status_fail(detail, STATUS_INVALID,
                           "the prompt of %d tokens leaves no room in the %d tokens of prompt and answer: shorten it",
                           r->n_prompt, l->max_model_len);
    for (int i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= l->vocab)
            return status_fail(detail, STATUS_INVALID, "prompt token %d is %d: ids are 0 to %d", i, r->prompt[i], l->vocab - 1);
    return STATUS_OK;
}

static status check_ranges(const ops_sampling *s, status_detail *detail)
{
    int n;
    const engine_range *ranges = engine_sampling_ranges(&n);
    for (int i = 0; i < n; i++) {
        float value;
        memcpy(&value, (const char *)s + ranges[i].offset, sizeof value);
        if (!(value >= ranges[i].min && value <= ranges[i].max)) /* true for NaN */
            return status_fail(detail, STATUS_INVALID, "%s is %g: allowed are %g to %g", ranges[i].name, (double)value,
                               (double)ranges[i].min, (double)ranges[i].max);
    }
    return STATUS_OK;
}

static status check_sampling(const ops_sampling *s, int vocab, status_detail *detail)
{
    STATUS_TRY(check_ranges(s, detail));
    if (s->top_k < 0) return status_fail(detail, STATUS_INVALID, "top_k is %d: allowed are 0 (off) and more", s->top_k);
    if (s->min_tokens < 0) return status_fail(detail, STATUS_INVALID, "min_tokens is %d: it must not be negative", s->min_tokens);
    if (s->n_bias < 0 || s->n_bias > OPS_MAX_LOGIT_BIAS)
        return status_fail(detail, STATUS_INVALID, "logit_bias has %d entries: at most %d are allowed", s->n_bias, OPS_MAX_LOGIT_BIAS);
    for (int i = 0; i < s->n_bias; i++) {
        if (s->bias_ids[i] < 0 || s->bias_ids[i] >= vocab)
            return status_fail(detail, STATUS_INVALID, "logit_bias names token %d: ids are 0 to %d", s->bias_ids[i], vocab - 1);
        if (!isfinite(s->bias_values[i]))
            return status_fail(detail, STATUS_INVALID, "logit_bias of token %d is not a finite number", s->bias_ids[i]);
    }
    return STATUS_OK;
}

static status check_outputs(const engine_request *r, status_detail *detail)
{
    if (r->n_stop_ids < 0 || r->n_stop_ids > ENGINE_MAX_STOP_IDS)
        return status_fail(detail, STATUS_INVALID, "%d stop ids: at most %d are allowed", r->n_stop_ids, ENGINE_MAX_STOP_IDS);
    if (r->top_logprobs < -1 || r->top_logprobs > OPS_MAX_TOP_LOGPROBS)
        return status_fail(detail, STATUS_INVALID, "top_logprobs is %d: at most %d are given", r->top_logprobs, OPS_MAX_TOP_LOGPROBS);
    if (r->prompt_logprobs < -1 || r->prompt_logprobs > OPS_MAX_TOP_LOGPROBS)
        return status_fail(detail, STATUS_INVALID, "prompt_logprobs is %d: at most %d are given", r->prompt_logprobs,
                           OPS_MAX_TOP_LOGPROBS);
    return STATUS_OK;
}

/* Hashes the blocks that became known. */
static void hash_blocks(sequence *s)
{
    if (!s->hashes) return;
    for (; (s->n_hashes + 1) * s->block_tokens <= s->n_ids; s->n_hashes++) {
        kv_hash parent = s->n_hashes ? s->hashes[s->n_hashes - 1] : (kv_hash){0, 0};
        s->hashes[s->n_hashes] =
            kv_hash_block(s->hash_key, parent, s->ids + (size_t)s->n_hashes * (size_t)s->block_tokens, s->block_tokens);
    }
}

/* Stop ids outside the vocabulary can never be drawn; the backend need not know them. */
static void fill_suppressed(sequence *s, int vocab)
{
    s->sampling.n_suppressed = 0;
    for (int i = 0; i < s->n_stop_ids; i++)
        if (s->stop_ids[i] >= 0 && s->stop_ids[i] < vocab) s->sampling.suppressed[s->sampling.n_suppressed++] = s->stop_ids[i];
}

status sequence_create(const engine_request *r, const sequence_limits *limits, sequence **out, status_detail *detail)
{
    STATUS_TRY(check_tokens(r, limits, detail));
    STATUS_TRY(check_sampling(&r->sampling, limits->vocab, detail));
    STATUS_TRY(check_outputs(r, detail));

    int room = limits->max_model_len - r->n_prompt;
    int max_tokens = r->max_tokens < room ? r->max_tokens : room;
    size_t most = (size_t)r->n_prompt + (size_t)max_tokens;
    sequence *s = calloc(1, sizeof *s);
    if (!s) goto no_memory;
    s->ids = malloc(most * sizeof *s->ids);
    if (limits->prefix_cache) s->hashes = malloc((most / (size_t)limits->block_tokens + 1) * sizeof *s->hashes);
    if (!s->ids || (limits->prefix_cache && !s->hashes)) goto no_memory;

    s->user = r->user;
    s->priority = r->priority;
    s->n_prompt = s->n_ids = r->n_prompt;
    s->max_tokens = max_tokens;
    s->sampling = r->sampling;
    memcpy(s->stop_ids, r->stop_ids, (size_t)r->n_stop_ids * sizeof *s->stop_ids);
    s->n_stop_ids = r->n_stop_ids;
    s->ignore_stop = r->ignore_stop;
    s->top_logprobs = r->top_logprobs;
    s->prompt_logprobs = r->prompt_logprobs;
    s->constraint = r->constraint;
    memcpy(s->ids, r->prompt, (size_t)r->n_prompt * sizeof *s->ids);
    s->block_tokens = limits->block_tokens;
    s->hash_key = limits->hash_key;
    s->state = SEQUENCE_WAITING;
    s->group = s->slot = s->queue_index = -1;
    fill_suppressed(s, limits->vocab);
    hash_blocks(s);
    *out = s;
    return STATUS_OK;

no_memory:
    sequence_free(s);
    return status_fail(detail, STATUS_BUSY, "no memory for a request of %zu tokens now: try again later", most);
}

void sequence_free(sequence *s)
{
    if (!s) return;
    if (s->constraint.mask) s->constraint.free(s->constraint.user);
    free(s->hashes);
    free(s->ids);
    free(s);
}

int sequence_remaining(const sequence *s)
{
    bool all_drawn = s->max_tokens > 0 && sequence_drawn(s) >= s->max_tokens;
    int end = sequence_total(s) - (all_drawn ? 1 : 0);
    return end > s->computed ? end - s->computed : 0;
}

bool sequence_draws(const sequence *s, int n)
{
    return sequence_drawn(s) < s->max_tokens && s->computed + n == sequence_total(s);
}

int sequence_scores(const sequence *s, int n, int *first_row)
{
    *first_row = 0;
    if (s->prompt_logprobs < 0) return 0;
    int first = s->scored > s->computed ? s->scored : s->computed; /* position p scores token p + 1 */
    int end = s->computed + n < s->n_prompt - 1 ? s->computed + n : s->n_prompt - 1;
    if (end <= first) return 0;
    *first_row = first - s->computed;
    return end - first;
}

int sequence_reusable(const sequence *s)
{
    int most = s->n_ids - 1;
    if (s->prompt_logprobs >= 0 && s->scored < s->n_prompt - 1 && s->scored < most) most = s->scored;
    return most;
}

bool sequence_before(const sequence *a, const sequence *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->id < b->id;
}

void sequence_append(sequence *s, int32_t id)
{
    s->ids[s->n_ids++] = id;
    s->pending--;
    hash_blocks(s);
}

bool sequence_ends(const sequence *s, int32_t id, engine_finish *reason, int32_t *stop_id)
{
    for (int i = 0; i < s->n_stop_ids && !s->ignore_stop; i++) {
        if (s->stop_ids[i] != id) continue;
        *reason = ENGINE_FINISH_STOP;
        *stop_id = id;
        return true;
    }
    if (s->n_ids - s->n_prompt < s->max_tokens) return false;
    *reason = ENGINE_FINISH_LENGTH;
    *stop_id = -1;
    return true;
}

bool sequence_penalised(const sequence *s)
{
    const ops_sampling *p = &s->sampling;
    return p->presence_penalty != 0 || p->frequency_penalty != 0 || p->repetition_penalty != 1;
}

bool sequence_waits(const sequence *s) { return s->constraint.mask && s->pending > 0; }
