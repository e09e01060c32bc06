/* "Did you mean ...": how far one word is from another. */
#ifndef RUNTIME_BASE_NEAREST_H
#define RUNTIME_BASE_NEAREST_H

#include <stdbool.h>

/* Edits (insert, delete, replace, swap of neighbours: optimal string alignment) from `a` to `b`; only the first 63 bytes of each count. */
int nearest_distance(const char *a, const char *b);

/* Whether `distance` is small enough for a word of that length to be a slip of the pen: at most a third of it, and at least two. */
bool nearest_plausible(const char *word, int distance);

#endif
