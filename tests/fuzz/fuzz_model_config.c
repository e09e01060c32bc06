/* Any bytes as a config.json and as a generation_config.json: a config that is accepted keeps its promises. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "runtime/model/checkpoint_names.h"
#include "runtime/model/model_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const model_config *c)
{
    static float cosine[4 * 512], sine[4 * 512];
    checkpoint_cursor cursor = {0};
    checkpoint_spec spec;
    if (c->layers < 1 || c->layers > MODEL_MAX_LAYERS || c->kv_heads < 1 || c->q_heads % c->kv_heads ||
        c->head_dim % 2 || c->head_dim > 1024)
        abort();
    if (c->hidden % 32 || c->intermediate % 32 || c->experts_per_token > c->experts || c->n_eos < 0 ||
        c->n_eos > MODEL_MAX_EOS)
        abort();
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] < 0 || c->eos[i] >= c->vocab) abort();
    while (checkpoint_names_next(c, &cursor, &spec))
        if (spec.bytes <= 0) abort(); /* no product overflowed */
    model_config_rope(c, 4, cosine, sine);
    for (int i = 0; i < 4 * (c->head_dim / 2); i++)
        if (!isfinite(cosine[i]) || !isfinite(sine[i])) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model_config config;
    status_detail detail = {""};
    if (model_config_parse((const char *)data, size, "fuzz", &config, &detail) == STATUS_OK)
        check(&config);
    else if (!detail.text[0])
        abort();
    if (!model_config_published("gpt-oss-20b", &config)) abort();
    if (model_config_parse_generation((const char *)data, size, "fuzz", &config, &detail) == STATUS_OK) check(&config);
    return 0;
}
