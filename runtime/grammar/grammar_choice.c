#include <stdlib.h>

#include "runtime/grammar/expr_strings.h"
#include "runtime/grammar/grammar_internal.h"

status grammar_from_choice(const grammar_vocab *v, const char *const *texts, const size_t *sizes, size_t n,
                           grammar **out, status_detail *detail)
{
    if (n == 0) return status_fail(detail, STATUS_INVALID, "choice: there is nothing to choose from");
    expr_pool p;
    expr_pool_init(&p);
    expr_strings_item *items = malloc(n * sizeof *items);
    for (size_t i = 0; items && i < n; i++) items[i] = (expr_strings_item){texts[i], sizes[i], EXPR_EMPTY};
    uint32_t root = expr_rule_new(&p);
    expr_rule_define(&p, root, items ? expr_strings(&p, items, n) : expr_pool_no_memory(&p));
    status code = grammar_compile(v, &p, root, "choice", out, detail);
    free(items);
    expr_pool_free(&p);
    return code;
}
