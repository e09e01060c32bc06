/* What all constraints of a server share: the vocabulary laid out for grammars, and grammars compiled earlier, by their text.
 *
 * Any thread may call; a lock guards what is kept, and is not held while something is compiled. At most CONSTRAINT_CACHE_GRAMMARS grammars
 * are kept, those used last; what runs holds references of its own.
 */
#ifndef RUNTIME_SERVER_CONSTRAINT_CACHE_H
#define RUNTIME_SERVER_CONSTRAINT_CACHE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/grammar/grammar.h"
#include "runtime/text/tokenizer.h"

enum { CONSTRAINT_CACHE_GRAMMARS = 256 };

typedef struct constraint_cache constraint_cache;

/* Ids of harmony's formatting tokens; -1: the vocabulary has none. */
typedef struct constraint_ids {
    int32_t start, end, message, channel, constrain, final_return, call;
} constraint_ids;

typedef enum constraint_kind {
    CONSTRAINT_JSON_OBJECT,
    CONSTRAINT_SCHEMA,  /* json: the schema */
    CONSTRAINT_CHOICE,  /* json: an array of strings */
    CONSTRAINT_REGEX,   /* text */
    CONSTRAINT_EBNF,    /* text */
} constraint_kind;

/* What a grammar is made of. All borrowed. */
typedef struct constraint_source {
    constraint_kind kind;
    const json_t *json;
    const char *text;
    size_t size;
    bool compact; /* JSON without white space between its parts */
} constraint_source;

/* Needs `t` only during the call. A vocabulary that has no token for some byte makes no failure: then every compilation fails. STATUS_MACHINE: no memory. */
status constraint_cache_open(const tokenizer *t, constraint_cache **out, status_detail *detail);
/* After all that was got from it. NULL is allowed. */
void constraint_cache_close(constraint_cache *c);

const constraint_ids *constraint_cache_ids(const constraint_cache *c);
/* Bits of the tokens that stand for text, and the words of every mask. */
const uint32_t *constraint_cache_ordinary(const constraint_cache *c);
size_t constraint_cache_words(const constraint_cache *c);

/* One reference in *out. Without `may_compile` a grammar that is not kept is answered by STATUS_OK and *out NULL, at once. STATUS_INVALID: the
 * source is no grammar, the detail says where and why. */
status constraint_cache_get(constraint_cache *c, const constraint_source *source, bool may_compile, grammar **out, status_detail *detail);

#endif
