/* What every front end builds: expressions over bytes and characters, and named rules of them.
 *
 * An expr is an index into its pool; expressions are immutable, share parts freely and are freed with the pool.
 * Building never fails at once: when memory or the budget ends, the pool remembers it, every further constructor
 * returns EXPR_FAIL, and expr_pool_check() tells. So front ends read straight on, and loops over input stay bounded by
 * the input.
 */
#ifndef RUNTIME_GRAMMAR_EXPR_H
#define RUNTIME_GRAMMAR_EXPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buffer.h"
#include "runtime/base/status.h"
#include "runtime/grammar/charset.h"

typedef uint32_t expr;

enum {
    EXPR_FAIL = 0,  /* no text */
    EXPR_EMPTY = 1, /* the empty text */
    EXPR_MAX_NODES = 1 << 20,
    EXPR_MAX_BYTES = 1 << 23,  /* of all literals */
    EXPR_MAX_RANGES = 1 << 21, /* of all character sets */
    EXPR_MAX_CELLS = 1 << 22,  /* of the tables of all automata */
};
#define EXPR_NO_LIMIT UINT32_MAX

typedef enum expr_kind {
    EXPR_KIND_FAIL,
    EXPR_KIND_EMPTY,
    EXPR_KIND_BYTES,
    EXPR_KIND_CHARS,
    EXPR_KIND_CAT,
    EXPR_KIND_ALT,
    EXPR_KIND_REPEAT,
    EXPR_KIND_RULE,
    EXPR_KIND_DFA,
} expr_kind;

/* How a character becomes bytes. */
typedef enum expr_encoding {
    EXPR_UTF8,
    EXPR_JSON,     /* inside a JSON string: UTF-8, escapes only where JSON needs them */
    EXPR_JSON_ANY, /* and every other escape as well; for the set of all characters only */
} expr_encoding;

typedef struct expr_node {
    uint8_t kind;     /* expr_kind */
    uint8_t encoding; /* expr_encoding; CHARS and DFA */
    uint32_t a;       /* BYTES: start in `bytes`; CHARS: set; CAT, ALT: start in `kids`; REPEAT: body; RULE: rule; DFA:
                         automaton */
    uint32_t n;       /* BYTES: size; CAT, ALT: number of kids; REPEAT: least */
    uint32_t max;     /* REPEAT: most, or EXPR_NO_LIMIT */
} expr_node;

typedef struct expr_rule {
    expr body; /* EXPR_FAIL until defined */
    bool nullable;
} expr_rule;

typedef struct dfa dfa;

/* Starts with expr_pool_init(). */
typedef struct expr_pool {
    expr_node *nodes;
    size_t n_nodes, nodes_capacity;
    expr *kids;
    size_t n_kids, kids_capacity;
    buffer bytes;
    charset *sets;
    size_t n_sets, sets_capacity;
    size_t n_ranges; /* of all sets together */
    dfa **dfas;
    size_t n_dfas, dfas_capacity;
    size_t n_cells; /* of all automata together */
    expr_rule *rules;
    size_t n_rules, rules_capacity;
    bool no_memory, too_large;
} expr_pool;

void expr_pool_init(expr_pool *p);
void expr_pool_free(expr_pool *p);
/* STATUS_INTERNAL: no memory. STATUS_INVALID: "the grammar is too large ...". */
status expr_pool_check(const expr_pool *p, status_detail *detail);
/* For builders outside of expr.c that ran out of either. */
expr expr_pool_no_memory(expr_pool *p);
expr expr_pool_too_large(expr_pool *p);

expr expr_bytes(expr_pool *p, const void *bytes, size_t size);
expr expr_text(expr_pool *p, const char *text);
/* Takes the sealed set over, which is empty afterwards. */
expr expr_chars(expr_pool *p, charset *set, expr_encoding encoding);
/* One character of these ranges. */
expr expr_ranges(expr_pool *p, const charset_range *ranges, size_t n, expr_encoding encoding);
expr expr_char(expr_pool *p, uint32_t c, expr_encoding encoding);
/* Any of a-z, '0', ... as "a-z0"; UTF-8. */
expr expr_class(expr_pool *p, const char *class);
expr expr_cat(expr_pool *p, const expr *parts, size_t n);
expr expr_cat2(expr_pool *p, expr a, expr b);
expr expr_cat3(expr_pool *p, expr a, expr b, expr c);
expr expr_alt(expr_pool *p, const expr *parts, size_t n);
expr expr_alt2(expr_pool *p, expr a, expr b);
/* least <= most; most may be EXPR_NO_LIMIT. */
expr expr_repeat(expr_pool *p, expr body, uint32_t least, uint32_t most);
expr expr_optional(expr_pool *p, expr body);
/* Takes the automaton over, also when it fails. */
expr expr_dfa(expr_pool *p, dfa *d, expr_encoding encoding);

/* A new rule without a body, and a use of it. */
uint32_t expr_rule_new(expr_pool *p);
expr expr_rule_use(expr_pool *p, uint32_t rule);
void expr_rule_define(expr_pool *p, uint32_t rule, expr body);
/* `body` behind a rule of its own: keeps expressions shallow. */
expr expr_as_rule(expr_pool *p, expr body);

/* A growing list of parts for expr_cat() and expr_alt(). Starts as {0}. */
typedef struct expr_list {
    expr *items;
    size_t n, capacity;
} expr_list;

void expr_list_add(expr_pool *p, expr_list *list, expr item);
void expr_list_free(expr_list *list);

/* Grows `*array` of `size`-byte elements so that one more fits behind `n`. False: no memory. */
bool expr_grow(void *array, size_t n, size_t *capacity, size_t size);

#endif
