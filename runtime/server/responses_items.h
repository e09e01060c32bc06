/* The items of a conversation as JSON: what a request brings, and the form in which they are kept. */
#ifndef RUNTIME_SERVER_RESPONSES_ITEMS_H
#define RUNTIME_SERVER_RESPONSES_ITEMS_H

#include "runtime/server/json_write.h"
#include "runtime/server/responses_request.h"

/* "msg_", "rs_" or "fc_" and random digits. */
enum { RESPONSES_ITEMS_ID = 4 + 48 + 1 };
void responses_items_id(const char *prefix, char out[RESPONSES_ITEMS_ID]);

/* Whether `key` of an item is the string `text`. */
bool responses_items_is(const json_t *item, const char *key, const char *text);

/* Appends the request's own items to `list`: an array's elements as they are, a string as one user message. */
bool responses_items_append(const responses_request *request, json_t *list, api_error *error);

/* Replaces each item of type item_reference, from `first` on, by what `find` knows under its id (a new reference; NULL: nothing). An id that
 * is not known is an error 404. */
typedef json_t *(*responses_items_finder)(void *user, const char *id);
bool responses_items_resolve(json_t *list, size_t first, responses_items_finder find, void *user, api_error *error);

/* Writes the items from `first` on as OpenAI gives them out, separated by commas: with an id, a status, and content in parts. They must
 * have passed responses_prompt_build(). */
void responses_items_write(const json_t *list, size_t first, json_writer *out);

#endif
