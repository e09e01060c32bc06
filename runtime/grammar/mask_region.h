/* Masks of threads that stand in regions (program.h): without a walk, from the classes of tokens. */
#ifndef RUNTIME_GRAMMAR_MASK_REGION_H
#define RUNTIME_GRAMMAR_MASK_REGION_H

#include "runtime/grammar/grammar_vocab.h"
#include "runtime/grammar/mask_parts.h"

/* The tokens that a part with a region allows, into `bits`; `add`: besides those that are there. False: no memory. */
bool mask_region_write(machine *m, const grammar_vocab *v, const mask_part *part, bool add, uint32_t *bits);

#endif
