/* A binary heap of waiting sequences, the first in order (sequence_before) on top; each knows its place, so any can be taken out. */
#ifndef RUNTIME_ENGINE_SEQUENCE_HEAP_H
#define RUNTIME_ENGINE_SEQUENCE_HEAP_H

#include "runtime/engine/sequence.h"

/* `heap` has room for one more than *count. */
void sequence_heap_push(sequence **heap, int *count, sequence *s);
/* `s` is in the heap. */
void sequence_heap_remove(sequence **heap, int *count, sequence *s);

#endif
