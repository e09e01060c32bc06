/* What limits the tokens that a request's sequences may draw: an answer's format, functions that must be called, and how their arguments look,
 * "allowed_token_ids", "bad_words". Made once for a request, from fields that are checked; then one engine_constraint for each of its sequences.
 *
 * For an endpoint: constraint_of_chat() (or constraint_of_text()) in prepare(), before rendering; its result goes into generation.constraint (by way of
 * message_generation_make()), and the rest is generation.c's. It never compiles on the server's thread: what is not known there yet is answered by ROUTE_LATER (server_internal.h),
 * which prepare() passes on like any error, and routes_work() then asks the worker.
 */
#ifndef RUNTIME_SERVER_CONSTRAINT_H
#define RUNTIME_SERVER_CONSTRAINT_H

#include <stdatomic.h>

#include "runtime/server/chat_request.h"
#include "runtime/server/constraint_turn.h"
#include "runtime/server/server_internal.h"

/* Constant; counted, because the engine may keep a sequence's a moment longer than the request lives. */
typedef struct constraint constraint;

/* The turn of an assistant in harmony: chat completions and responses. Reads tools, tool_choice, the response format and the parameters; reasoning
 * stays free, the format is the answer's alone. Sets request->constraint, NULL where nothing limits it. Errors name the field: 400 for a grammar that
 * is none. */
bool constraint_of_chat(const server *s, chat_request *request, api_error *error);
/* The whole text, without harmony. */
bool constraint_of_text(const server *s, const sampling_params *params, constraint **out, api_error *error);
/* NULL is allowed. [any thread] */
void constraint_release(constraint *c);

/* For one sequence; the caller owns it until engine_submit() takes it. False: no memory. */
bool constraint_open(constraint *c, engine_constraint *out);

/* ---- internal to constraint*.c ------------------------------------------------------------------------------------- */

typedef enum constraint_shape {
    CONSTRAINT_ANY,  /* no structure */
    CONSTRAINT_TEXT, /* the whole text is a sentence of `text` */
    CONSTRAINT_TURN, /* harmony by `rules` */
} constraint_shape;

struct constraint {
    atomic_int references;
    constraint_shape shape;
    const tokenizer *tokens;
    size_t words;          /* of a mask, by the tokenizer */
    constraint_rules rules;
    grammar *text;
    uint32_t *allowed;     /* [words] owned; NULL: all */
    id_list *bad;          /* [n_bad] owned: runs of ids whose last may not follow the others */
    size_t n_bad, longest_bad;
    int min_tokens;        /* while fewer were generated, stop ids are drawn only when nothing else can be */
    int32_t stop_ids[ENGINE_MAX_STOP_IDS]; /* what ends generation */
    int n_stop_ids;
    int32_t closing_ids[ENGINE_MAX_STOP_IDS]; /* TEXT: what may stand behind a whole sentence */
    int n_closing_ids;
};

#endif
