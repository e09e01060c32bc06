/* Items of a conversation -> harmony messages. Pure.
 *
 * | item | harmony |
 * | message of system, developer | instructions, as in a chat |
 * | message of user | user |
 * | message of assistant | final; commentary when its phase says so, or when it has no phase and a call follows in the same turn |
 * | reasoning | analysis: its content, or its summary where there is no content |
 * | function_call | a call on commentary |
 * | function_call_output | the tool's answer; its call must stand before it |
 */
#ifndef RUNTIME_SERVER_RESPONSES_PROMPT_H
#define RUNTIME_SERVER_RESPONSES_PROMPT_H

#include "runtime/server/prompt.h"
#include "runtime/server/responses_request.h"

/* `items`: an array; those from `own` on are the request's, and errors name them by their place in it. `skip`: how many of the oldest items
 * that are no instructions are left out, and with them outputs whose calls are gone. `today` is YYYY-MM-DD. Keeps pointers into all of them.
 * On failure *out is empty. */
bool responses_prompt_build(const responses_request *request, const json_t *items, size_t own, size_t skip, const char *today,
                            prompt_messages *out, api_error *error);

/* How many items `skip` can leave out: all but the last that is no instruction. */
size_t responses_prompt_most(const json_t *items);

#endif
