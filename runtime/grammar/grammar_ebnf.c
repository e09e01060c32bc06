#include "runtime/grammar/dfa.h"
#include "runtime/grammar/ebnf.h"
#include "runtime/grammar/grammar_internal.h"
#include "runtime/text/utf8.h"

/* Literals may be any bytes; automata read characters. */
static bool is_text(const expr_pool *p)
{
    for (size_t i = 0; i < p->n_nodes; i++)
        if (p->nodes[i].kind == EXPR_KIND_BYTES && !utf8_valid(p->bytes.data + p->nodes[i].a, p->nodes[i].n))
            return false;
    return true;
}

/* Small grammars without recursion are regular: with an automaton for the whole, masks come from classes of tokens. */
static void make_automaton(expr_pool *p, uint32_t root)
{
    enum { MOST_RANGES = 1 << 12, MOST_BYTES = 1 << 14 };
    if (p->n_ranges > MOST_RANGES || p->bytes.size > MOST_BYTES || !is_text(p)) return;
    dfa_alphabet a = {0};
    for (size_t i = 0; i < p->n_rules; i++) dfa_alphabet_add(p, &a, p->rules[i].body);
    dfa_alphabet_seal(p, &a);
    dfa *d = dfa_subset_if_small(p, &a, p->rules[root].body);
    dfa_alphabet_free(&a);
    if (d && !dfa_is_empty(d)) {
        d->classify = true;
        expr_rule_define(p, root, expr_dfa(p, d, EXPR_UTF8));
    } else {
        dfa_free(d);
    }
}

status grammar_from_ebnf(const grammar_vocab *v, const char *text, size_t size, grammar **out, status_detail *detail)
{
    expr_pool p;
    uint32_t root;
    expr_pool_init(&p);
    status code = ebnf_parse(&p, text, size, &root, detail);
    if (code == STATUS_OK) make_automaton(&p, root);
    code = code == STATUS_OK ? grammar_compile(v, &p, root, "grammar", out, detail)
                             : status_prefix(detail, code, "grammar");
    expr_pool_free(&p);
    return code;
}
