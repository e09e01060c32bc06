/* Where an assistant's turn stands in harmony, token by token, and which tokens may come next: the structure is forced, what is inside a
 * message is free or a grammar's. Pure: knows no server and no request.
 *
 * A turn, after the prompt's <|start|>assistant, is at most one message of reasoning, then at most one preamble, then a call or an answer:
 *
 *   [ to=functions.NAME]<|channel|>CHANNEL[ json| <|constrain|>json]<|message|>CONTENT END    and, after <|end|>, <|start|>assistant and so on
 *
 *   reasoning  analysis                                        free                      <|end|>
 *   preamble   commentary                                      free                      <|end|>
 *   call       commentary to=functions.NAME (either place)     the function's grammar    <|call|>
 *   answer     final                                           the answer's grammar      <|return|>
 *
 * Source of the forms: openai/harmony docs/format.md; order and what may be left out as vLLM `vllm/parser/harmony.py` forces them.
 */
#ifndef RUNTIME_SERVER_CONSTRAINT_TURN_H
#define RUNTIME_SERVER_CONSTRAINT_TURN_H

#include "runtime/server/constraint_cache.h"

/* What has been said already; decides which messages may follow. */
typedef enum constraint_stage { CONSTRAINT_FRESH, CONSTRAINT_REASONED, CONSTRAINT_ANNOUNCED, CONSTRAINT_STAGES } constraint_stage;

/* Of one request; constant, shared by its sequences. Grammars of header texts are choices among whole texts. */
typedef struct constraint_rules {
    constraint_ids ids;
    const uint32_t *ordinary; /* [words] borrowed: tokens that stand for text */
    size_t words;
    size_t n_functions;
    const char **names;       /* [n_functions] owned copies: the functions that may be called */
    grammar **arguments;      /* [n_functions] references; NULL entry: free */
    grammar *answer;          /* reference; NULL: free */
    grammar *roles[2];        /* recipients in the role's place: behind the prompt, behind <|start|>; [0] NULL: none */
    grammar *channels[CONSTRAINT_STAGES]; /* channel, recipient and content type of what may follow in each stage */
    grammar *called;          /* channel and content type once the recipient is known; NULL: no calls */
    grammar *json;            /* what follows <|constrain|> */
} constraint_rules;

typedef enum constraint_place {
    CONSTRAINT_ROLE,    /* before <|channel|> */
    CONSTRAINT_CHANNEL, /* behind it */
    CONSTRAINT_TYPE,    /* behind <|constrain|> */
    CONSTRAINT_CONTENT,
    CONSTRAINT_BETWEEN, /* behind <|end|> */
    CONSTRAINT_OVER,    /* the turn has ended: everything may come */
    CONSTRAINT_LOST,    /* memory ended, or a token came that was not allowed: the turn shall end */
} constraint_place;

enum { CONSTRAINT_HEADER_TEXT = 192 }; /* bytes of a header's texts; a function's name has at most 128 */

/* Of one sequence. {0} is no beginning: constraint_turn_begin(). */
typedef struct constraint_turn {
    const constraint_rules *rules;
    constraint_place place;
    constraint_stage stage;
    bool first;               /* no message has ended yet */
    int function;             /* that the header names, or -1 */
    int32_t end;              /* CONTENT: the id that ends the message */
    grammar_matcher *matcher; /* of the text at this place; NULL: free, or none may come */
    const tokenizer *tokens;
    char text[CONSTRAINT_HEADER_TEXT]; /* of the header's place so far, and a NUL */
    size_t size;
} constraint_turn;

/* Keeps both pointers. */
void constraint_turn_begin(constraint_turn *t, const constraint_rules *rules, const tokenizer *tokens);
void constraint_turn_end(constraint_turn *t);
/* The ids that may come, into bits [rules->words], all 0 before. false: all may. */
bool constraint_turn_mask(constraint_turn *t, uint32_t *bits);
void constraint_turn_accept(constraint_turn *t, int32_t id);

void constraint_rules_free(constraint_rules *r);

#endif
