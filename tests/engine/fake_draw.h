/* The arithmetic of the fake model, apart from its cache: shared by the model and by the reference that checks the engine.
 *
 * A position's value stands for its hidden state: a hash of its token, its place, and the values of all positions that its query sees, in
 * full and in sliding layers. What is drawn after it is a hash of that value and of all that sampling may depend on.
 */
#ifndef TESTS_ENGINE_FAKE_DRAW_H
#define TESTS_ENGINE_FAKE_DRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/ops.h"

/* Folds one more visible value, in order, into a hash of what a query sees; starts at 0. */
uint64_t fake_draw_see(uint64_t seen, uint64_t value);
uint64_t fake_draw_value(int32_t token, int position, uint64_t seen_full, uint64_t seen_sliding);

/* Ids so far, for penalties. */
typedef struct fake_history {
    uint64_t all, generated;
} fake_history;

bool fake_draw_penalised(const ops_sampling *sampling);
void fake_draw_remember(fake_history *history, int32_t id, bool generated);

/* What is drawn (target -1) or scored after a position of that value. `mask`: bits of the ids that may be drawn; NULL: all. */
ops_token fake_draw_token(uint64_t value, const ops_sampling *sampling, const fake_history *history, int vocab, int position, int32_t target,
                          int top, int generated, const uint32_t *mask);

#endif
