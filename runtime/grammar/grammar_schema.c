#include "runtime/grammar/grammar_internal.h"
#include "runtime/grammar/json_text.h"
#include "runtime/grammar/schema.h"

status grammar_from_schema(const grammar_vocab *v, const json_t *of, const grammar_options *options, grammar **out,
                           status_detail *detail)
{
    expr_pool p;
    uint32_t root;
    expr_pool_init(&p);
    status code = schema_rule(&p, of, options && options->compact, &root, detail);
    code =
        code == STATUS_OK ? grammar_compile(v, &p, root, "schema", out, detail) : status_prefix(detail, code, "schema");
    expr_pool_free(&p);
    return code;
}

status grammar_from_json_object(const grammar_vocab *v, const grammar_options *options, grammar **out,
                                status_detail *detail)
{
    expr_pool p;
    json_text text;
    expr_pool_init(&p);
    json_text_init(&text, &p, options && options->compact);
    status code = grammar_compile(v, &p, text.object, "json_object", out, detail);
    expr_pool_free(&p);
    return code;
}
