/* The lexical parts of JSON texts (RFC 8259), and values of any shape. */
#ifndef RUNTIME_GRAMMAR_JSON_TEXT_H
#define RUNTIME_GRAMMAR_JSON_TEXT_H

#include <jansson.h>

#include "runtime/grammar/expr.h"

/* Numbers without bounds stay small enough for every parser's double, and end: a model cannot count digits for ever. */
enum { JSON_TEXT_DIGITS = 40, JSON_TEXT_INDENT = 40, JSON_TEXT_TABS = 10 };

/* What most schemas need, built once per pool. */
typedef struct json_text {
    expr_pool *p;
    expr space;    /* what may stand behind { [ , : and before ] } */
    expr any_char; /* one character of a string, in any spelling */
    expr string;
    expr integer, number;
    uint32_t value;  /* rule: any value */
    uint32_t object; /* rule: any object */
} json_text;

void json_text_init(json_text *t, expr_pool *p, bool compact);

/* A string literal of exactly this valid UTF-8, quotes included. */
expr json_text_literal(const json_text *t, const char *text, size_t size);
/* Appends the same without quotes, as bytes. False: no memory. */
bool json_text_escape(buffer *out, const char *text, size_t size);
/* Exactly this value; space as everywhere else. */
expr json_text_constant(const json_text *t, const json_t *value);
/* The parts between brackets with commas: first, then least..most times `more`, which both are rules or leaves. */
expr json_text_list(const json_text *t, const char *open, expr first, expr more, uint32_t least, uint32_t most,
                    const char *close);

#endif
