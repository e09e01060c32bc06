#include "comm/watch_note.h"

#include <string.h>
#include <sys/socket.h>

/* ---- sending ------------------------------------------------------------------------------------------------------ */

void watch_note_put(watch_note_out *o, const void *note, size_t size)
{
    if (size == 0 || size > WORLD_NOTE_SIZE) return;
    memcpy(o->next, note, size);
    o->next_size = size;
}

bool watch_note_is_due(const watch_note_out *o) { return o->sent < o->now_size || o->next_size; }

bool watch_note_finish(watch_note_out *o, int fd)
{
    while (o->sent < o->now_size) {
        ssize_t sent = send(fd, o->now + o->sent, o->now_size - o->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) return false;
        o->sent += (size_t)sent;
    }
    return true;
}

bool watch_note_send(watch_note_out *o, int fd)
{
    if (!watch_note_finish(o, fd)) return false;
    if (!o->next_size) return true;
    o->now[0] = WATCH_NOTE;
    o->now[1] = (uint8_t)o->next_size;
    memcpy(o->now + 2, o->next, o->next_size);
    o->now_size = 2 + o->next_size;
    o->sent = o->next_size = 0;
    return watch_note_finish(o, fd);
}

/* ---- receiving ---------------------------------------------------------------------------------------------------- */

watch_note_result watch_note_take(watch_note_in *i, uint8_t byte)
{
    if (!i->size) {
        if (byte == 0 || byte > WORLD_NOTE_SIZE) return WATCH_NOTE_NONSENSE;
        i->size = byte;
        return WATCH_NOTE_MORE;
    }
    i->bytes[i->got++] = byte;
    if (i->got < i->size) return WATCH_NOTE_MORE;
    i->open = false;
    return WATCH_NOTE_WHOLE;
}
