#include "tests/engine/fake_draw.h"

#include <string.h>

#include "tests/engine/test_random.h"

uint64_t fake_draw_see(uint64_t seen, uint64_t value) { return (seen ^ value) * 0x9e3779b97f4a7c15u + (seen >> 29); }

uint64_t fake_draw_value(int32_t token, int position, uint64_t seen_full, uint64_t seen_sliding)
{
    uint64_t h = test_random_mix((uint64_t)(uint32_t)token << 32 | (uint32_t)position);
    return test_random_mix(h ^ seen_full) + test_random_mix(seen_sliding ^ 0x5bd1e995u);
}

bool fake_draw_penalised(const ops_sampling *s)
{
    return s->presence_penalty != 0 || s->frequency_penalty != 0 || s->repetition_penalty != 1;
}

void fake_draw_remember(fake_history *history, int32_t id, bool generated)
{
    uint64_t h = test_random_mix((uint64_t)(uint32_t)id + 77);
    history->all += h;
    if (generated) history->generated += h;
}

static uint64_t key_of(uint64_t value, const ops_sampling *s, const fake_history *history, int position)
{
    uint64_t key = value;
    if (s->temperature > 0) key = test_random_mix(key ^ s->seed) + (uint64_t)position * 0x2545f4914f6cdd1du;
    if (fake_draw_penalised(s)) key ^= test_random_mix(history->generated + (s->repetition_penalty != 1 ? history->all * 3 : 0));
    for (int i = 0; i < s->n_bias; i++) key += test_random_mix((uint64_t)(uint32_t)s->bias_ids[i]) * (uint64_t)(int64_t)s->bias_values[i];
    return key;
}

static bool suppressed(const ops_sampling *s, int32_t id, int generated)
{
    for (int i = 0; i < s->n_suppressed && generated < s->min_tokens; i++)
        if (s->suppressed[i] == id) return true;
    return false;
}

ops_token fake_draw_token(uint64_t value, const ops_sampling *s, const fake_history *history, int vocab, int position, int32_t target, int top,
                          int generated, const uint32_t *mask)
{
    ops_token out;
    memset(&out, 0x7f, sizeof out); /* nobody may rely on what was not asked for */
    out.id = target;
    if (target < 0) {
        uint64_t key = key_of(value, s, history, position);
        do {
            key = test_random_mix(key + 1);
            out.id = (int32_t)(key % (uint64_t)vocab);
        } while (suppressed(s, out.id, generated) || (mask && !(mask[out.id / 32] >> out.id % 32 & 1)));
    }
    if (top < 0) return out;
    out.logprob = -(float)(test_random_mix(value + (uint64_t)(uint32_t)out.id) % 4096) / 256;
    out.rank = (int32_t)(value % 5);
    out.n_top = top;
    for (int i = 0; i < top; i++) {
        out.top_ids[i] = (int32_t)(test_random_mix(value + (uint64_t)i) % (uint64_t)vocab);
        out.top_logprobs[i] = -(float)i;
    }
    return out;
}
