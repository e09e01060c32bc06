/* One rank's hands: turns its group's part of a step plan into calls of the model, and brings results to rank 0.
 *
 * Keeps what the plans do not repeat: the block table of every slot. Steps in flight are kept in order; the oldest is retired first.
 */
#ifndef RUNTIME_ENGINE_STEP_RUNNER_H
#define RUNTIME_ENGINE_STEP_RUNNER_H

#include "comm/comm.h"
#include "runtime/engine/step_plan.h"
#include "runtime/model/model.h"

typedef struct step_runner step_runner;

/* `depth`: steps that may be in flight when another is launched, 0 or 1. Keeps w and m. */
status step_runner_open(world *w, model *m, const step_plan_limits *limits, int depth, step_runner **out, status_detail *detail);
void step_runner_close(step_runner *r); /* NULL is allowed */

/* Runs a STEP: sets up slots, then one model_forward. Collective. A plan without tokens anywhere does nothing. */
status step_runner_launch(step_runner *r, const step_plan *plan, status_detail *detail);

/* Steps launched and not yet retired. */
int step_runner_in_flight(const step_runner *r);
/* How many of them stay in flight after a plan with that many tokens in its largest group: the rest is to be retired. */
int step_runner_keeps(const step_runner *r, int max_group_tokens);

/* Waits for the oldest step in flight. Collective where there are several groups: rank 0 then gets every group's results, or the status of a
 * rank that failed; on the other ranks a failure is only reported to rank 0, whose next plan says what to do. */
status step_runner_retire(step_runner *r, status_detail *detail);
/* Rank 0: result `i` of `group` in the step last retired. Only the id is set when no row of the step wanted log-probabilities. */
void step_runner_token(const step_runner *r, int group, int i, ops_token *out);

#endif
