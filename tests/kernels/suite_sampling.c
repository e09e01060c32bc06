#include "tests/kernels/suite_sampling.h"

#include <math.h>
#include <string.h>

void suite_open_sampler(suite *s, void *backend, int vocab, int shards, int threads)
{
    ops_shape shape = suite_shape();
    shape.vocab = vocab;
    shape.logit_shards = shards;
    shape.logit_shard_cols = (vocab + shards - 1) / shards;
    shape.logit_first = 0;
    shape.logit_count = shape.logit_shard_cols;
    shape.max_sequences = shape.max_logit_rows = SUITE_SLOTS;
    suite_open(s, backend, &shape, threads);
}

ops_sampling suite_sampling(float temperature)
{
    return (ops_sampling){.temperature = temperature, .top_p = 1, .repetition_penalty = 1, .seed = 1};
}

float *suite_logits(suite *s, int rows, double spread)
{
    size_t n = (size_t)rows * (size_t)s->shape.vocab;
    float *logits = suite_host(s, n * sizeof *logits);
    for (size_t i = 0; i < n; i++) logits[i] = (float)suite_uniform(s, -spread, spread);
    return logits;
}

void suite_slot_history(suite *s, int slot, const ops_sampling *sampling, const reference_history *h)
{
    status_detail detail = {""};
    if (s->ops->slot_begin(s->c, slot, sampling, h->ids, h->n, h->n_generated, &detail) != STATUS_OK) fail_msg("slot_begin: %s", detail.text);
}

void suite_slot(suite *s, int slot, const ops_sampling *sampling) { suite_slot_history(s, slot, sampling, &(reference_history){NULL, 0, 0}); }

void suite_sample(suite *s, const float *logits, const ops_logit_row *rows, int n, ops_token *out)
{
    size_t cols = (size_t)s->shape.logit_shard_cols, vocab = (size_t)s->shape.vocab, count = (size_t)s->shape.logit_shards * (size_t)n * cols;
    float *sharded = suite_host(s, count * sizeof *sharded);
    memset(sharded, 0xff, count * sizeof *sharded);
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t id = 0; id < vocab; id++) sharded[(id / cols * (size_t)n + i) * cols + id % cols] = logits[i * vocab + id];
    const float *device = suite_upload(s, sharded, count * sizeof *sharded);
    status_detail detail = {""};
    suite_begin(s, (suite_run[]){{0, 0, 1}}, 1, NULL);
    s->ops->sample(s->c, device, rows, n, 0);
    if (s->ops->results(s->c, 0, 0, n, out, &detail) != STATUS_OK) fail_msg("results: %s", detail.text);
}

int32_t suite_draw(suite *s, const float *logits, int slot, int position, int generated)
{
    ops_token token;
    suite_sample(s, logits, &(ops_logit_row){.slot = slot, .position = position, .target = -1, .top = -1, .generated = generated}, 1, &token);
    return token.id;
}
