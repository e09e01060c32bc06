/* Responses that can be asked for later, and the conversations that lead to them, in a bounded number of bytes.
 *
 * A conversation is a chain of turns, each with the items that came in and those that the model made, as JSON text; a response that goes on
 * from another shares its turns. When the store is full the responses least recently used go, and with them the turns that nobody else goes
 * on from. A response that is still being made never goes, but the events of its stream do, when there is no room for one more.
 *
 * Turns may be looked up on any thread; all else happens on the server's.
 */
#ifndef RUNTIME_SERVER_RESPONSES_STORE_H
#define RUNTIME_SERVER_RESPONSES_STORE_H

#include <jansson.h>

#include "runtime/base/buffer.h"
#include "runtime/server/api_error.h"
#include "runtime/server/responses_log.h"

enum { RESPONSES_STORE_DEFAULT_MIB = 256 };

typedef struct responses_store responses_store;

/* NULL when memory ends. */
responses_store *responses_store_open(size_t max_bytes);
void responses_store_close(responses_store *s); /* NULL is allowed; all turns must have been released */

/* ---- turns ------------------------------------------------------------------------------------------------------- */

/* The end of a conversation. Immutable, except that a response that is being made has no output yet; counted references. */
typedef struct responses_turn responses_turn;

/* The turn of a response that is done; the caller's to release. NULL: *error says 404, or 400 while it is being made. [any thread] */
responses_turn *responses_store_turn(responses_store *s, const char *id, api_error *error);
/* NULL is allowed. [any thread] */
void responses_store_release(responses_store *s, responses_turn *turn);
/* Appends the conversation up to and with `turn` to `list`; without its last output when `input_only`. NULL: an empty one. false when memory
 * ends. [any thread] */
bool responses_store_items(const responses_turn *turn, bool input_only, json_t *list);
/* A new reference to the newest item with this id, in any conversation; NULL: none. [any thread] */
json_t *responses_store_item(responses_store *s, const char *id);

/* ---- responses --------------------------------------------------------------------------------------------------- */

/* A response, as long as it is not removed. */
typedef struct responses_entry {
    void *running;          /* who makes it; NULL: it is done */
    const char *text;       /* the response object, once it is done */
    size_t size;
    bool background;
    bool streamed;          /* the events of its stream were to be kept */
    responses_log *events;  /* they are, by the store; NULL: they are not, or not any more */
    responses_turn *turn;   /* the store's reference */
} responses_entry;

/* Remembers a response that is being made. `before`: the turn it goes on from, or NULL; a reference of its own is taken. `input`: its items,
 * separated by commas; moved. false when memory ends. */
bool responses_store_begin(responses_store *s, const char *id, responses_turn *before, buffer *input, bool background, void *running);
/* From now on the events of this response's stream are kept, as far as memory goes. */
void responses_store_stream(responses_store *s, const char *id);
/* The next event of a stream that is kept; NULL: it could not be made, so that from now on there is none to keep. Those who read on are told. May drop any
 * response that is done, this one too, and this one's events. false: they are not kept. */
bool responses_store_event(responses_store *s, const char *id, const responses_event *event);

/* It is done: `object` is what GET answers, `output` its items, separated by commas; both are moved. Unknown ids are ignored: the response was
 * removed meanwhile. May drop any response that is done, this one too. */
void responses_store_finish(responses_store *s, const char *id, buffer *object, buffer *output);

/* NULL: unknown. Counts as a use. What it points to is valid until the next call. */
const responses_entry *responses_store_find(responses_store *s, const char *id);
/* false: unknown. */
bool responses_store_remove(responses_store *s, const char *id);
/* The 404 of an unknown id. Returns false. */
bool responses_store_unknown(const char *id, api_error *error);

#endif
