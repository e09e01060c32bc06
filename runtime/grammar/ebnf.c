#include "runtime/grammar/ebnf.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/expr_nullable.h"
#include "runtime/grammar/regex_class.h"
#include "runtime/grammar/utf8_ranges.h"
#include "runtime/text/utf8.h"

typedef struct reader {
    expr_pool *p;
    regex_cursor c;
    json_t *rules;   /* name -> number of its rule */
    json_t *defined; /* names that have a body */
    int depth;
    status_detail *detail;
} reader;

/* ---- places ------------------------------------------------------------------------------------------------------ */

static status refuse(const reader *r, size_t at, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < r->c.size; i++) {
        column = r->c.text[i] == '\n' ? 1 : column + 1;
        line += r->c.text[i] == '\n';
    }
    return status_fail(r->detail, STATUS_INVALID, "line %zu, column %zu: %s", line, column, what);
}

static status no_memory(const reader *r)
{
    return status_fail(r->detail, STATUS_INTERNAL, "out of memory while compiling");
}

static void skip_space(regex_cursor *c)
{
    for (; !regex_class_ends(c); c->at++) {
        char here = c->text[c->at];
        if (here == '#') {
            while (c->at + 1 < c->size && c->text[c->at + 1] != '\n') c->at++;
        } else if (here != ' ' && here != '\t' && here != '\n' && here != '\r') {
            return;
        }
    }
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
}

/* At a name ('.' alone is none): its size, 0 if there is none. */
static size_t name_size(const regex_cursor *c)
{
    size_t n = 0;
    if (regex_class_peek(c) == '.') return 0;
    while (c->at + n < c->size && is_name_char(c->text[c->at + n])) n++;
    return n;
}

/* At "name ::=", where the body of a rule ends. */
static bool at_rule(const regex_cursor *c)
{
    regex_cursor ahead = *c;
    size_t n = name_size(&ahead);
    if (n == 0) return false;
    ahead.at += n;
    skip_space(&ahead);
    return ahead.size - ahead.at >= 3 && memcmp(ahead.text + ahead.at, "::=", 3) == 0;
}

/* ---- rules by name ----------------------------------------------------------------------------------------------- */

static status rule_of(reader *r, const char *name, size_t size, uint32_t *out)
{
    json_t *known = json_object_getn(r->rules, name, size);
    if (known) {
        *out = (uint32_t)json_integer_value(known);
        return STATUS_OK;
    }
    *out = expr_rule_new(r->p);
    return json_object_setn_new(r->rules, name, size, json_integer(*out)) == 0 ? STATUS_OK : no_memory(r);
}

/* ---- elements ---------------------------------------------------------------------------------------------------- */

static status read_alternatives(reader *r, uint32_t self, expr *out);

static status read_literal(reader *r, expr *out)
{
    size_t start = r->c.at++;
    char quote = r->c.text[start];
    buffer bytes = {0};
    charset unused = {0};
    status code = STATUS_OK;
    while (code == STATUS_OK && !regex_class_ends(&r->c) && regex_class_peek(&r->c) != quote &&
           regex_class_peek(&r->c) != '\n') {
        uint32_t c;
        uint8_t encoded[4];
        size_t at = r->c.at;
        if (regex_class_peek(&r->c) == '\\') {
            r->c.at++;
            status_detail ignored;
            code = regex_class_escape(&r->c, &unused, &c, &ignored);
            if (code == STATUS_INVALID || (code == STATUS_OK && c == UINT32_MAX))
                code = refuse(r, at, "not an escape of a literal");
        } else {
            c = regex_class_char(&r->c);
        }
        if (code == STATUS_OK && !buffer_append(&bytes, encoded, (size_t)utf8_ranges_encode(c, encoded)))
            code = no_memory(r);
    }
    if (code == STATUS_OK && (regex_class_ends(&r->c) || regex_class_peek(&r->c) != quote))
        code = refuse(r, start, "the literal is not closed on its line");
    if (code == STATUS_OK) {
        r->c.at++;
        *out = expr_bytes(r->p, bytes.data, bytes.size);
    }
    charset_free(&unused);
    buffer_free(&bytes);
    return code;
}

static status read_set(reader *r, expr *out)
{
    size_t start = r->c.at++;
    charset set = {0};
    if (r->c.text[start] == '[') {
        status_detail why;
        status code = regex_class_brackets(&r->c, &set, &why);
        if (code == STATUS_INVALID) return refuse(r, start, why.text);
        if (code != STATUS_OK) return no_memory(r);
    } else if (!charset_add(&set, 0, CHARSET_LAST)) {
        return no_memory(r);
    }
    charset_seal(&set);
    *out = expr_chars(r->p, &set, EXPR_UTF8);
    return STATUS_OK;
}

static status read_group(reader *r, expr *out)
{
    size_t start = r->c.at++;
    if (regex_class_peek(&r->c) == '=') return refuse(r, start, "lookaheads '(=' are not supported");
    if (++r->depth > EBNF_MAX_DEPTH) return refuse(r, start, "groups are nested too deep");
    STATUS_TRY(read_alternatives(r, UINT32_MAX, out));
    r->depth--;
    if (regex_class_ends(&r->c) || regex_class_peek(&r->c) != ')') return refuse(r, start, "'(' is not closed");
    r->c.at++;
    return STATUS_OK;
}

static status read_element(reader *r, expr *out)
{
    uint32_t rule;
    size_t n = name_size(&r->c);
    if (n) {
        STATUS_TRY(rule_of(r, r->c.text + r->c.at, n, &rule));
        r->c.at += n;
        *out = expr_rule_use(r->p, rule);
        return STATUS_OK;
    }
    switch (regex_class_peek(&r->c)) {
    case '"':
    case '\'': return read_literal(r, out);
    case '[':
    case '.': return read_set(r, out);
    case '(': return read_group(r, out);
    case '*':
    case '+':
    case '?':
    case '{': return refuse(r, r->c.at, "nothing to repeat");
    case ':':
        return refuse(r, r->c.at,
                      "':' is not expected here; rules are written as name ::= ... (Lark syntax is not supported)");
    default: return refuse(r, r->c.at, "not expected here");
    }
}

/* ---- repetitions ------------------------------------------------------------------------------------------------- */

static status read_number(reader *r, uint32_t *out, bool *found)
{
    size_t start = r->c.at;
    *out = 0;
    for (; regex_class_peek(&r->c) >= '0' && regex_class_peek(&r->c) <= '9'; r->c.at++) {
        *out = *out * 10 + (uint32_t)(regex_class_peek(&r->c) - '0');
        if (*out > EBNF_MAX_COUNT) return refuse(r, start, "more than 1000000 repetitions are not supported");
    }
    *found = r->c.at > start;
    skip_space(&r->c);
    return STATUS_OK;
}

static status read_braces(reader *r, uint32_t *least, uint32_t *most)
{
    size_t start = r->c.at++;
    bool has_least = false, has_most = true;
    skip_space(&r->c);
    STATUS_TRY(read_number(r, least, &has_least));
    *most = *least;
    if (regex_class_peek(&r->c) == ',') {
        r->c.at++;
        skip_space(&r->c);
        STATUS_TRY(read_number(r, most, &has_most));
        if (!has_most) *most = EXPR_NO_LIMIT;
    } else if (!has_least) {
        return refuse(r, start, "not a number of repetitions");
    }
    if (regex_class_ends(&r->c) || regex_class_peek(&r->c) != '}') return refuse(r, start, "'{' is not closed");
    r->c.at++;
    if (*least > *most) return refuse(r, start, "the least number of repetitions is greater than the most");
    return STATUS_OK;
}

static status read_quantifiers(reader *r, expr *e)
{
    for (;;) {
        uint32_t least = 0, most = EXPR_NO_LIMIT;
        regex_cursor before = r->c;
        skip_space(&r->c);
        switch (regex_class_peek(&r->c)) {
        case '*': r->c.at++; break;
        case '+': r->c.at++, least = 1; break;
        case '?': r->c.at++, most = 1; break;
        case '{': STATUS_TRY(read_braces(r, &least, &most)); break;
        default: r->c = before; return STATUS_OK;
        }
        *e = expr_repeat(r->p, *e, least, most);
    }
}

/* ---- rules ------------------------------------------------------------------------------------------------------- */

static status read_sequence(reader *r, expr *out)
{
    expr_list parts = {0};
    status code = STATUS_OK;
    for (;;) {
        skip_space(&r->c);
        char here = regex_class_peek(&r->c);
        if (regex_class_ends(&r->c) || here == '|' || here == ')' || at_rule(&r->c)) break;
        expr part;
        if ((code = read_element(r, &part)) != STATUS_OK || (code = read_quantifiers(r, &part)) != STATUS_OK) break;
        expr_list_add(r->p, &parts, part);
    }
    if (code == STATUS_OK) *out = expr_cat(r->p, parts.items, parts.n);
    expr_list_free(&parts);
    return code;
}

/* What follows the use of rule `self` at the beginning of `e`; false if it does not begin with that. */
static bool behind_self(expr_pool *p, expr e, uint32_t self, expr *out)
{
    expr_node node = p->nodes[e];
    if (node.kind == EXPR_KIND_RULE && node.a == self) {
        *out = EXPR_EMPTY;
        return true;
    }
    if (node.kind != EXPR_KIND_CAT) return false;
    expr_node first = p->nodes[p->kids[node.a]];
    if (first.kind != EXPR_KIND_RULE || first.a != self) return false;
    expr_list rest = {0};
    for (uint32_t i = 1; i < node.n; i++) expr_list_add(p, &rest, p->kids[node.a + i]);
    *out = expr_cat(p, rest.items, rest.n);
    expr_list_free(&rest);
    return true;
}

/* The alternatives of rule `self`, or of a group (UINT32_MAX). a ::= a x | y is read as a ::= y x*. */
static status read_alternatives(reader *r, uint32_t self, expr *out)
{
    expr_list ways = {0}, tails = {0};
    status code;
    for (;;) {
        expr way = EXPR_FAIL, tail;
        if ((code = read_sequence(r, &way)) != STATUS_OK) break;
        if (self != UINT32_MAX && behind_self(r->p, way, self, &tail)) {
            expr_list_add(r->p, &tails, tail);
        } else {
            expr_list_add(r->p, &ways, way);
        }
        if (regex_class_ends(&r->c) || regex_class_peek(&r->c) != '|') break;
        r->c.at++;
    }
    if (code == STATUS_OK) {
        expr more = expr_repeat(r->p, expr_alt(r->p, tails.items, tails.n), 0, EXPR_NO_LIMIT);
        *out = expr_cat2(r->p, expr_alt(r->p, ways.items, ways.n), more);
    }
    expr_list_free(&ways);
    expr_list_free(&tails);
    return code;
}

static status read_rule(reader *r)
{
    size_t start = r->c.at, n = name_size(&r->c);
    const char *name = r->c.text + start;
    uint32_t rule;
    expr body;
    if (!at_rule(&r->c)) return refuse(r, start, "expected a rule, name ::= ...");
    STATUS_TRY(rule_of(r, name, n, &rule));
    r->c.at += n;
    skip_space(&r->c);
    r->c.at += 3;
    if (json_object_getn(r->defined, name, n)) return refuse(r, start, "this rule is defined twice");
    if (json_object_setn_new(r->defined, name, n, json_true()) != 0) return no_memory(r);
    STATUS_TRY(read_alternatives(r, rule, &body));
    if (!regex_class_ends(&r->c) && regex_class_peek(&r->c) == ')') return refuse(r, r->c.at, "')' without '('");
    expr_rule_define(r->p, rule, body);
    return STATUS_OK;
}

static status check_defined(const reader *r)
{
    const char *name;
    json_t *number;
    json_object_foreach(r->rules, name, number) if (!json_object_get(r->defined, name)) return status_fail(
        r->detail, STATUS_INVALID, "rule '%.100s' is not defined", name);
    if (!json_object_get(r->rules, "root")) return status_fail(r->detail, STATUS_INVALID, "there is no rule 'root'");
    return STATUS_OK;
}

static status check_recursion(const reader *r)
{
    const char *name;
    json_t *number;
    if (!expr_nullable_mark(r->p)) return expr_pool_check(r->p, r->detail);
    uint32_t rule = expr_nullable_left_recursion(r->p);
    json_object_foreach(r->rules, name, number) if (json_integer_value(number) == rule) return status_fail(
        r->detail, STATUS_INVALID,
        "rule '%.100s' begins with itself by way of another rule or of parts that may be empty; "
        "only a ::= a x | y is supported",
        name);
    return expr_pool_check(r->p, r->detail);
}

static status read_rules(reader *r)
{
    skip_space(&r->c);
    while (!regex_class_ends(&r->c)) {
        STATUS_TRY(read_rule(r));
        STATUS_TRY(expr_pool_check(r->p, r->detail));
        skip_space(&r->c);
    }
    STATUS_TRY(check_defined(r));
    return check_recursion(r);
}

status ebnf_parse(expr_pool *p, const char *text, size_t size, uint32_t *root, status_detail *detail)
{
    if (!utf8_valid(text, size)) return status_fail(detail, STATUS_INVALID, "not valid UTF-8");
    reader r = {.p = p, .c = {text, size, 0}, .rules = json_object(), .defined = json_object(), .detail = detail};
    status code = r.rules && r.defined ? read_rules(&r) : no_memory(&r);
    if (code == STATUS_OK) *root = (uint32_t)json_integer_value(json_object_get(r.rules, "root"));
    json_decref(r.rules);
    json_decref(r.defined);
    return code;
}
