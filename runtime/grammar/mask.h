/* Which tokens a configuration allows. */
#ifndef RUNTIME_GRAMMAR_MASK_H
#define RUNTIME_GRAMMAR_MASK_H

#include "runtime/grammar/grammar_vocab.h"
#include "runtime/grammar/machine.h"

/* Writes v->words words. Remembered with the configuration, so the second time is a copy. A grammar whose steps cost
 * too much gets a mask that may lack tokens of several bytes, never one that has too many. False: no memory. */
bool mask_write(machine *m, const grammar_vocab *v, uint32_t config, uint32_t *bits);

/* The threads of `config` that are in the run whose slice its mask has: a configuration, MACHINE_DEAD if there is none,
 * MACHINE_NO_MEMORY. By itself it takes every token of that slice. */
uint32_t mask_run_config(machine *m, const grammar_vocab *v, uint32_t config);

#endif
