#include "runtime/grammar/grammar_internal.h"
#include "runtime/grammar/regex.h"

status grammar_from_regex(const grammar_vocab *v, const char *text, size_t size, grammar **out, status_detail *detail)
{
    expr_pool p;
    expr_pool_init(&p);
    uint32_t root = expr_rule_new(&p);
    expr whole;
    status code = regex_expr(&p, text, size, REGEX_WHOLE, EXPR_UTF8, &whole, detail);
    if (code == STATUS_OK) {
        expr_rule_define(&p, root, whole);
        code = grammar_compile(v, &p, root, "regex", out, detail);
    } else {
        code = status_prefix(detail, code, "regex");
    }
    expr_pool_free(&p);
    return code;
}
