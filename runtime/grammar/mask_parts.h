/* Configurations taken apart: a mask is what any of the threads allows, so where that is less work it is found for some
 * threads at a time. */
#ifndef RUNTIME_GRAMMAR_MASK_PARTS_H
#define RUNTIME_GRAMMAR_MASK_PARTS_H

#include "runtime/grammar/grammar_vocab.h"
#include "runtime/grammar/machine.h"

enum { MASK_PARTS_THREADS = 16 }; /* a configuration of more stays whole */

typedef struct mask_part {
    const program_region *region; /* where its first thread is, at the beginning of a character; NULL: to be walked */
    uint32_t state;               /* in the region */
    uint32_t stack;               /* of that thread */
    uint32_t threads;             /* bit i: thread i of the configuration */
} mask_part;

typedef struct mask_parts {
    mask_part items[MASK_PARTS_THREADS];
    uint32_t n;
    bool whole; /* one part, and it is walked */
} mask_parts;

/* Every thread gets into one part. Parts of a region come first. */
void mask_parts_find(const machine *m, const grammar_vocab *v, uint32_t config, mask_parts *out);
/* The configuration of the part's threads alone. MACHINE_NO_MEMORY. */
uint32_t mask_parts_config(machine *m, uint32_t config, const mask_part *part);

/* The characters that a marker's `least` or `most` stands for where the top frame is `stack`; at most SLICE_CHARS. */
uint8_t mask_parts_limit(const machine *m, uint8_t limit, uint32_t stack);

#endif
