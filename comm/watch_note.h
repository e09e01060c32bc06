/* Notes on a watch connection: 'N', their size in one byte, their bytes. A newer note takes the place of one that waits to be sent, never of one that is half sent:
 * what is on the connection between two of these bytes belongs to the note. */
#ifndef COMM_WATCH_NOTE_H
#define COMM_WATCH_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/comm.h"

#define WATCH_NOTE 'N'
_Static_assert(WORLD_NOTE_SIZE <= UINT8_MAX, "a note's size is one byte");

/* The sender's half. Zeroed at first. */
typedef struct watch_note_out {
    uint8_t now[2 + WORLD_NOTE_SIZE]; /* on its way, marks included */
    size_t now_size, sent;            /* equal: none is */
    uint8_t next[WORLD_NOTE_SIZE];
    size_t next_size;                 /* 0: none waits */
} watch_note_out;

void watch_note_put(watch_note_out *o, const void *note, size_t size);
/* Whether there is anything to send. */
bool watch_note_is_due(const watch_note_out *o);
/* Sends the rest of a note that is half sent, as far as the connection takes it, without waiting. true: nothing of one is left, other bytes may follow. */
bool watch_note_finish(watch_note_out *o, int fd);
/* The same, and then the note that waits. */
bool watch_note_send(watch_note_out *o, int fd);

/* The receiver's half: what came of a note after its mark. Zeroed at first, and when a note has been taken. */
typedef struct watch_note_in {
    bool open; /* the mark has come, the note is not whole */
    uint8_t size, got;
    uint8_t bytes[WORLD_NOTE_SIZE];
} watch_note_in;

typedef enum watch_note_result { WATCH_NOTE_MORE, WATCH_NOTE_WHOLE, WATCH_NOTE_NONSENSE } watch_note_result;

/* The next byte of an open note; not open any more when it is whole. */
watch_note_result watch_note_take(watch_note_in *i, uint8_t byte);

#endif
