/* Which expressions have the empty text, and what is left of them without it; which rules begin with themselves. */
#ifndef RUNTIME_GRAMMAR_EXPR_NULLABLE_H
#define RUNTIME_GRAMMAR_EXPR_NULLABLE_H

#include "runtime/grammar/expr.h"

/* Fills rules[].nullable for all rules. False: the pool is broken (too complex, no memory). */
bool expr_nullable_mark(expr_pool *p);
/* After expr_nullable_mark(). */
bool expr_nullable(const expr_pool *p, expr e);

/* Expressions without their empty text, remembered so that recursion ends. Starts as {0}. */
typedef struct expr_nullable_memo {
    uint32_t *rules; /* [n] by rule: the rule that is the same without the empty text, + 1 */
    size_t n;
} expr_nullable_memo;

/* All texts of `e` but the empty one. May add rules. */
expr expr_nullable_strip(expr_pool *p, expr_nullable_memo *memo, expr e);
void expr_nullable_free(expr_nullable_memo *memo);

/* A rule whose text may begin with that rule again before anything was read, or UINT32_MAX. After expr_nullable_mark().
 */
uint32_t expr_nullable_left_recursion(expr_pool *p);

#endif
