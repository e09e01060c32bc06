/* Grammars in the form of llama.cpp's GBNF, which xgrammar's EBNF shares: see README.md for what is read. */
#ifndef RUNTIME_GRAMMAR_EBNF_H
#define RUNTIME_GRAMMAR_EBNF_H

#include "runtime/grammar/expr.h"

enum { EBNF_MAX_DEPTH = 200, EBNF_MAX_COUNT = 1000000 };

/* Reads all rules of `text` into the pool; `root` is the one called root. STATUS_INVALID names line and column, or the
 * rule. */
status ebnf_parse(expr_pool *p, const char *text, size_t size, uint32_t *root, status_detail *detail);

#endif
