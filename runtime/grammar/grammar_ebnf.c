#include "runtime/grammar/ebnf.h"
#include "runtime/grammar/grammar_internal.h"

status grammar_from_ebnf(const grammar_vocab *v, const char *text, size_t size, grammar **out, status_detail *detail)
{
    expr_pool p;
    uint32_t root;
    expr_pool_init(&p);
    status code = ebnf_parse(&p, text, size, &root, detail);
    code = code == STATUS_OK ? grammar_compile(v, &p, root, "grammar", out, detail)
                             : status_prefix(detail, code, "grammar");
    expr_pool_free(&p);
    return code;
}
