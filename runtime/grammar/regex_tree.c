#include "runtime/grammar/regex_tree.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/grammar/regex_class.h"

enum { MAX_COUNT = 1000000 };

typedef struct reader {
    expr_pool *p;
    expr_encoding encoding;
    regex_match match;
    regex_cursor c;
    regex_tree *t;
    int depth;
    bool conditional; /* a lookahead was read, or may not come any more */
    status_detail *detail;
} reader;

#define REFUSE(r, position, format, ...)                                                                               \
    status_fail((r)->detail, STATUS_INVALID, "position %zu: " format, (size_t)(position), ##__VA_ARGS__)

static status add_node(reader *r, regex_tree_node node, uint32_t *out)
{
    regex_tree *t = r->t;
    if (t->n == 0) t->n = 1;
    if (!expr_grow(&t->nodes, t->n, &t->capacity, sizeof *t->nodes))
        return status_fail(r->detail, STATUS_INTERNAL, "out of memory while compiling");
    t->nodes[t->n] = node;
    *out = (uint32_t)t->n++;
    return STATUS_OK;
}

static status add_leaf(reader *r, size_t position, expr leaf, uint32_t *out)
{
    return add_node(r, (regex_tree_node){.kind = REGEX_TREE_LEAF, .position = (uint32_t)position, .leaf = leaf}, out);
}

static status read_alternatives(reader *r, uint32_t *out);

/* ---- atoms ------------------------------------------------------------------------------------------------------- */

/* Behind "(?": true and past it when the group only groups. */
static bool skip_group_name(reader *r)
{
    regex_cursor *c = &r->c;
    if (regex_class_peek(c) == ':') {
        c->at++;
        return true;
    }
    size_t at = c->at + (regex_class_peek(c) == 'P');
    if (at + 1 >= c->size || c->text[at] != '<' || c->text[at + 1] == '=' || c->text[at + 1] == '!') return false;
    const char *end = memchr(c->text + at, '>', c->size - at);
    if (!end) return false;
    c->at = (size_t)(end - c->text) + 1;
    return true;
}

static status close_group(reader *r, size_t open)
{
    if (regex_class_peek(&r->c) != ')' || regex_class_ends(&r->c)) return REFUSE(r, open, "'(' is not closed");
    r->c.at++;
    return STATUS_OK;
}

/* Behind "(?=" or "(?!" at the very beginning of the text. */
static status read_condition(reader *r, size_t open, bool negated)
{
    uint32_t root;
    if (r->t->n_conditions == REGEX_MAX_CONDITIONS) return REFUSE(r, open, "too many lookaheads");
    STATUS_TRY(read_alternatives(r, &root));
    STATUS_TRY(close_group(r, open));
    r->t->conditions[r->t->n_conditions++] = (regex_tree_condition){root, negated};
    return STATUS_OK;
}

/* At '('. *out 0: it was a condition. */
static status read_group(reader *r, bool at_beginning, uint32_t *out)
{
    size_t open = r->c.at++;
    status code;
    *out = 0;
    if (++r->depth > REGEX_MAX_DEPTH) return REFUSE(r, open, "groups are nested more than %d deep", REGEX_MAX_DEPTH);
    if (regex_class_peek(&r->c) == '?') {
        r->c.at++;
        char what = regex_class_peek(&r->c);
        if (what == '=' || what == '!') {
            if (!at_beginning) return REFUSE(r, open, "lookaheads are supported only at the beginning, behind '^'");
            r->c.at++;
            code = read_condition(r, open, what == '!');
            r->depth--;
            return code;
        }
        if (!skip_group_name(r))
            return REFUSE(r, open, "groups '(?%c' (lookbehind, flags, atomic) are not supported", what ? what : ' ');
    }
    STATUS_TRY(read_alternatives(r, out));
    r->depth--;
    return close_group(r, open);
}

static status read_escape(reader *r, uint32_t *out)
{
    size_t position = r->c.at++;
    char letter = regex_class_peek(&r->c);
    if (letter == 'A' || letter == 'Z' || letter == 'z') {
        r->c.at++;
        regex_tree_kind kind = letter == 'A' ? REGEX_TREE_BEGIN : REGEX_TREE_END;
        return add_node(r, (regex_tree_node){.kind = kind, .position = (uint32_t)position}, out);
    }
    charset set = {0};
    uint32_t single;
    status code = regex_class_escape(&r->c, &set, &single, r->detail);
    if (code == STATUS_OK && single == UINT32_MAX) {
        charset_seal(&set);
        code = add_leaf(r, position, expr_chars(r->p, &set, r->encoding), out);
    } else if (code == STATUS_OK) {
        code = add_leaf(r, position, expr_char(r->p, single, r->encoding), out);
    }
    charset_free(&set);
    return code;
}

static status read_set(reader *r, uint32_t *out)
{
    size_t position = r->c.at++;
    charset set = {0};
    if (r->c.text[position] == '[') {
        STATUS_TRY(regex_class_brackets(&r->c, &set, r->detail));
    } else if (!regex_class_dot(&set)) {
        return status_fail(r->detail, STATUS_INTERNAL, "out of memory while compiling");
    }
    return add_leaf(r, position, expr_chars(r->p, &set, r->encoding), out);
}

static status read_atom(reader *r, bool at_beginning, uint32_t *out)
{
    size_t position = r->c.at;
    switch (regex_class_peek(&r->c)) {
    case '(': return read_group(r, at_beginning, out);
    case '[':
    case '.': return read_set(r, out);
    case '\\': return read_escape(r, out);
    case '^':
    case '$': {
        regex_tree_kind kind = r->c.text[r->c.at++] == '^' ? REGEX_TREE_BEGIN : REGEX_TREE_END;
        return add_node(r, (regex_tree_node){.kind = kind, .position = (uint32_t)position}, out);
    }
    case '*':
    case '+':
    case '?': return REFUSE(r, position, "nothing to repeat");
    default: return add_leaf(r, position, expr_char(r->p, regex_class_char(&r->c), r->encoding), out);
    }
}

/* ---- repetitions ------------------------------------------------------------------------------------------------- */

static bool read_number(regex_cursor *c, uint32_t *out)
{
    size_t start = c->at;
    uint32_t value = 0;
    while (c->at < c->size && c->text[c->at] >= '0' && c->text[c->at] <= '9') {
        if (value <= MAX_COUNT) value = value * 10 + (uint32_t)(c->text[c->at] - '0');
        c->at++;
    }
    *out = value;
    return c->at > start;
}

/* At '{': false, and nothing read, when it is an ordinary character. */
static bool read_braces(regex_cursor *c, uint32_t *least, uint32_t *most)
{
    size_t start = c->at++;
    bool has_least = read_number(c, least);
    *most = *least;
    if (!has_least) *least = 0;
    if (regex_class_peek(c) == ',') {
        c->at++;
        if (!read_number(c, most)) *most = has_least ? EXPR_NO_LIMIT : 0;
        if (!has_least && *most == 0) goto ordinary;
    } else if (!has_least) {
        goto ordinary;
    }
    if (regex_class_peek(c) != '}') goto ordinary;
    c->at++;
    return true;

ordinary:
    c->at = start;
    return false;
}

/* A quantifier behind an atom, if there is one. */
static status read_quantifier(reader *r, uint32_t *atom)
{
    size_t position = r->c.at;
    uint32_t least = 0, most = EXPR_NO_LIMIT;
    switch (regex_class_peek(&r->c)) {
    case '*': r->c.at++; break;
    case '+': r->c.at++, least = 1; break;
    case '?': r->c.at++, most = 1; break;
    case '{':
        if (!read_braces(&r->c, &least, &most)) return STATUS_OK;
        break;
    default: return STATUS_OK;
    }
    if (least > MAX_COUNT || (most != EXPR_NO_LIMIT && most > MAX_COUNT))
        return REFUSE(r, position, "more than %d repetitions are not supported", MAX_COUNT);
    if (least > most) return REFUSE(r, position, "the least number of repetitions is greater than the most");
    if (regex_class_peek(&r->c) == '?') r->c.at++; /* lazy: the same texts */
    if (regex_class_peek(&r->c) == '+') return REFUSE(r, r->c.at, "possessive quantifiers are not supported");
    regex_tree_node node = {
        .kind = REGEX_TREE_REPEAT, .position = (uint32_t)position, .child = *atom, .least = least, .most = most};
    return add_node(r, node, atom);
}

/* ---- sequences --------------------------------------------------------------------------------------------------- */

static status read_sequence(reader *r, uint32_t *out)
{
    bool top = r->depth == 0;
    bool anchored = r->match == REGEX_WHOLE;
    uint32_t last = 0;
    STATUS_TRY(add_node(r, (regex_tree_node){.kind = REGEX_TREE_CAT, .position = (uint32_t)r->c.at}, out));
    bool only_anchors = true;
    while (!regex_class_ends(&r->c) && regex_class_peek(&r->c) != '|' && regex_class_peek(&r->c) != ')') {
        uint32_t atom;
        STATUS_TRY(read_atom(r, top && anchored && only_anchors && !r->conditional, &atom));
        if (atom == 0) continue;
        regex_tree_kind kind = r->t->nodes[atom].kind;
        anchored |= kind == REGEX_TREE_BEGIN;
        only_anchors &= kind == REGEX_TREE_BEGIN;
        if (kind == REGEX_TREE_LEAF || kind == REGEX_TREE_ALT) STATUS_TRY(read_quantifier(r, &atom));
        if (last) {
            r->t->nodes[last].next = atom;
        } else {
            r->t->nodes[*out].child = atom;
        }
        last = atom;
    }
    return STATUS_OK;
}

static status read_alternatives(reader *r, uint32_t *out)
{
    uint32_t last = 0;
    size_t start = r->c.at;
    STATUS_TRY(add_node(r, (regex_tree_node){.kind = REGEX_TREE_ALT, .position = (uint32_t)start}, out));
    for (;;) {
        uint32_t sequence;
        STATUS_TRY(read_sequence(r, &sequence));
        if (last) {
            r->t->nodes[last].next = sequence;
        } else {
            r->t->nodes[*out].child = sequence;
        }
        last = sequence;
        if (regex_class_peek(&r->c) != '|' || regex_class_ends(&r->c)) return STATUS_OK;
        if (r->depth == 0 && r->t->n_conditions)
            return REFUSE(r, r->c.at, "alternatives beside a lookahead are not supported");
        if (r->depth == 0) r->conditional = true;
        r->c.at++;
    }
}

status regex_tree_read(expr_pool *p, const char *text, size_t size, regex_match match, expr_encoding encoding,
                       regex_tree *out, status_detail *detail)
{
    reader r = {.p = p, .encoding = encoding, .match = match, .c = {text, size, 0}, .t = out, .detail = detail};
    STATUS_TRY(read_alternatives(&r, &out->root));
    if (!regex_class_ends(&r.c)) return REFUSE(&r, r.c.at, "')' without '('");
    return STATUS_OK;
}

void regex_tree_free(regex_tree *t)
{
    free(t->nodes);
    *t = (regex_tree){0};
}
