/* Where o200k_base.tiktoken lies, the vocabulary that comes with the program. */
#ifndef LAUNCH_VOCABULARY_H
#define LAUNCH_VOCABULARY_H

#include <stddef.h>

#include "runtime/base/status.h"

/* Looks beside the program (../share/gptoss-tp), where it was meant to be installed, and in the source tree it was built from, in this
 * order. STATUS_MACHINE when it is nowhere. */
status vocabulary_find(char *out, size_t size, status_detail *detail);

#endif
