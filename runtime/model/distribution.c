#include "runtime/model/distribution.h"

#include <math.h>

/* `by_columns`: the deviation is divided by the root of the row's length. */
typedef struct rule {
    float mean, deviation;
    bool by_columns;
} rule;

static const rule rules[CHECKPOINT_ROLES] = {
    [CHECKPOINT_EMBEDDING] = {0, 1, false},
    [CHECKPOINT_FINAL_NORM] = {1, 0.1f, false},
    [CHECKPOINT_HEAD] = {0, 2, true}, /* logits of deviation 2: some tokens are likelier, none certain */
    [CHECKPOINT_ATTN_NORM] = {1, 0.1f, false},
    [CHECKPOINT_Q] = {0, 1, true},
    [CHECKPOINT_Q_BIAS] = {0, 0.1f, false},
    [CHECKPOINT_K] = {0, 1, true},
    [CHECKPOINT_K_BIAS] = {0, 0.1f, false},
    [CHECKPOINT_V] = {0, 1, true},
    [CHECKPOINT_V_BIAS] = {0, 0.1f, false},
    [CHECKPOINT_SINKS] = {0, 1, false},
    [CHECKPOINT_O] = {0, 1, true},
    [CHECKPOINT_O_BIAS] = {0, 0.1f, false},
    [CHECKPOINT_MLP_NORM] = {1, 0.1f, false},
    [CHECKPOINT_ROUTER] = {0, 1, true},
    [CHECKPOINT_ROUTER_BIAS] = {0, 0.1f, false},
    [CHECKPOINT_GATE_UP_BIAS] = {0, 0.1f, false},
    [CHECKPOINT_DOWN_BIAS] = {0, 0.1f, false},
};

distribution distribution_of(checkpoint_role role, int64_t columns)
{
    const rule *r = &rules[role];
    return (distribution){r->mean, r->by_columns ? r->deviation / sqrtf((float)columns) : r->deviation};
}
