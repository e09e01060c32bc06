/* The events of a streamed response, kept so that a client can take the stream up again behind any of them.
 *
 * An event is three texts: its type, its fields as far as they are the same in the next event of the kind, and the rest. Events that add to a text differ in
 * nothing but that rest, and then it alone is kept: about 25 bytes a token, where the stream has 200. What is sent is
 *
 *     event: TYPE
 *     data: {"type":"TYPE","sequence_number":N FIELDS REST}
 *
 * Knows no HTTP, and no JSON but this frame. Everything runs on one thread.
 */
#ifndef RUNTIME_SERVER_RESPONSES_LOG_H
#define RUNTIME_SERVER_RESPONSES_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/server/json_write.h"

typedef struct responses_log responses_log;

typedef struct responses_event {
    const char *type;
    const char *fields, *rest; /* together nothing, or what follows from a comma on */
    size_t fields_size, rest_size;
    bool last;                 /* no event follows */
} responses_event;

/* The frame around an event: what stands before its fields, and behind its rest. */
void responses_log_frame(const char *type, size_t type_size, long long number, json_writer *out);
#define RESPONSES_LOG_FRAME_END "}\n\n"

/* NULL when memory ends. */
responses_log *responses_log_open(void);
/* Readers are told, and have no log from then on. NULL is allowed. */
void responses_log_close(responses_log *l);

/* Appends an event, whose number is how many there were before, and tells the readers. false when memory ends: the log is as it was. */
bool responses_log_add(responses_log *l, const responses_event *event);
/* Of memory, all told. */
size_t responses_log_bytes(const responses_log *l);

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* One who reads on as events come. The caller's memory; all but `changed` is set by joining. */
typedef struct responses_log_reader {
    /* There is more to read, or the log is gone (`log` is NULL then, and the reader need not leave). May leave and be freed; must neither add nor close. */
    void (*changed)(struct responses_log_reader *r);
    responses_log *log;
    size_t at, head;         /* offsets of the next record, and of the one whose fields hold */
    long long number, first; /* of the next event; of the first that is wanted */
    struct responses_log_reader *previous, *next;
} responses_log_reader;

/* Begins with event number `first`, which may be yet to come. */
void responses_log_join(responses_log *l, responses_log_reader *r, long long first);
void responses_log_leave(responses_log_reader *r);
/* Appends the next event as it is sent; false: there is none now. */
bool responses_log_next(responses_log_reader *r, json_writer *out);
/* All events were read, the last one too. */
bool responses_log_is_over(const responses_log_reader *r);

#endif
