/* The block tables of a rank's slots, and the rows of them that a step needs.
 *
 * A step wants the tables of its sequences side by side. Most steps hold the same sequences in the same order as the one before, so a row
 * is kept and only what changed is written to it; copying whole tables costs up to megabytes a step at long contexts.
 */
#ifndef RUNTIME_ENGINE_SLOT_TABLES_H
#define RUNTIME_ENGINE_SLOT_TABLES_H

#include "kernels/ops.h"
#include "runtime/base/status.h"
#include "runtime/engine/step_plan.h"

typedef struct slot_tables slot_tables;

status slot_tables_open(const step_plan_limits *limits, slot_tables **out, status_detail *detail);
void slot_tables_close(slot_tables *t); /* NULL is allowed */

/* The slot gets a new sequence, without blocks. */
void slot_tables_begin(slot_tables *t, int slot);
/* Starts a step whose longest table has `most` blocks. */
void slot_tables_start(slot_tables *t, int most);
/* Adds the next sequence of the step. STATUS_INTERNAL when the run does not continue what the slot had. */
status slot_tables_add(slot_tables *t, const step_plan_run *run, status_detail *detail);
/* Points the batch at the rows added since slot_tables_start(); they hold until the next one. */
void slot_tables_rows(const slot_tables *t, ops_batch *batch);

#endif
