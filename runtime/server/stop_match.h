/* Finds the first of several stop strings in a text that arrives in pieces, and holds back what may be the beginning of one.
 *
 * One Knuth-Morris-Pratt automaton per string: each byte costs one step per string however the pieces are cut, and the longest prefix any
 * automaton has matched is exactly the text that must wait. The match that ends first wins; of those that end together, the longest.
 */
#ifndef RUNTIME_SERVER_STOP_MATCH_H
#define RUNTIME_SERVER_STOP_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"

enum { STOP_MATCH_MAX_STRINGS = 64, STOP_MATCH_MAX_SIZE = 4096 };

/* The strings; immutable once filled, shared by all sequences of a request. {0} is the empty set. */
typedef struct stop_set {
    int n;
    buffer strings[STOP_MATCH_MAX_STRINGS];   /* not empty, at most STOP_MATCH_MAX_SIZE bytes */
    uint16_t *failure[STOP_MATCH_MAX_STRINGS]; /* [size]: longest proper border of the first i + 1 bytes */
} stop_set;

/* Copies the string. False when memory ends or the set is full; `size` must be in range. */
bool stop_set_add(stop_set *set, const char *text, size_t size);
void stop_set_free(stop_set *set);

/* The state of one text. {0} is the beginning. */
typedef struct stop_match {
    uint16_t matched[STOP_MATCH_MAX_STRINGS]; /* bytes of each string that the end of the text matches */
    buffer held;                              /* not given out yet */
} stop_match;

void stop_match_free(stop_match *m);
/* Forgets the text; what was held is gone. */
void stop_match_reset(stop_match *m);

/* Takes a piece and appends to `out` all that certainly stands before a stop string. *found: the index of the string that was completed,
 * or -1. After a find `out` ends before the string, or behind it with `include`; do not push again. False when memory ends. */
bool stop_match_push(stop_match *m, const stop_set *set, const char *text, size_t size, bool include, buffer *out, int *found);

/* The end of the text: appends what was held, and resets. */
bool stop_match_flush(stop_match *m, buffer *out);

#endif
