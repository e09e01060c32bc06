/* The last note of each rank, as rank 0 has them. Any thread may put and get; neither ever waits for more than the other's copy. */
#ifndef COMM_NOTE_BOARD_H
#define COMM_NOTE_BOARD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct note_board note_board;

/* NULL: no memory. */
note_board *note_board_open(int n_ranks);
void note_board_close(note_board *b); /* NULL is allowed */

/* In the place of the rank's last one. `size` at most WORLD_NOTE_SIZE. */
void note_board_put(note_board *b, int rank, const void *note, size_t size);
/* false: there is none, or its size is another. *age: seconds since it was put. Outputs are written on success alone. */
bool note_board_get(note_board *b, int rank, void *note, size_t size, double *age);

#endif
