/* JSON Schema to expressions. Read schema.c first: it takes a schema apart; each type has a file of its own.
 *
 * Every function that returns an expr leaves errors of the schema in the compiler (schema_failed()), says them once,
 * and returns EXPR_FAIL from then on; EXPR_FAIL without an error means that no value is valid.
 */
#ifndef RUNTIME_GRAMMAR_SCHEMA_H
#define RUNTIME_GRAMMAR_SCHEMA_H

#include <jansson.h>

#include "runtime/grammar/decimal.h"
#include "runtime/grammar/json_text.h"

enum {
    SCHEMA_MAX_DEPTH = 500,     /* steps of a path within the schema, references not counted */
    SCHEMA_MAX_BRANCHES = 256,  /* of anyOf and oneOf that are multiplied with what stands beside them */
    SCHEMA_MAX_WORK = 32 << 20, /* bytes of schemas that are written out to be compared or merged */
    SCHEMA_MAX_STATES = 20000,  /* of an object whose properties are counted */
};

typedef enum schema_type {
    SCHEMA_NULL = 1,
    SCHEMA_BOOLEAN = 2,
    SCHEMA_INTEGER = 4,
    SCHEMA_NUMBER = 8, /* implies SCHEMA_INTEGER */
    SCHEMA_STRING = 16,
    SCHEMA_ARRAY = 32,
    SCHEMA_OBJECT = 64,
    SCHEMA_ALL = 127,
} schema_type;

typedef struct schema {
    expr_pool *p;
    json_text text;
    const json_t *root;
    json_t *rules; /* what was compiled already: "$ref" target or text of a schema -> its rule; also texts of bounded
                      numbers */
    json_t *made;  /* schemas that merging made: they live as long as the compiler */
    struct schema_later *later; /* [n_later] rules without a body yet (schema.c) */
    size_t n_later, later_capacity;
    buffer path;               /* JSON pointer of where we are */
    const char *discriminator; /* a property to be taken as required, or NULL (schema_disjoint.c) */
    int depth;
    size_t work;
    status code;
    status_detail *detail;
} schema;

/* ---- errors and places (schema_path.c) --------------------------------------------------------------------------- */

static inline bool schema_failed(const schema *s) { return s->code != STATUS_OK; }
/* The first error counts: "PATH: ..." */
expr schema_path_fail(schema *s, status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
expr schema_path_no_memory(schema *s);
/* Enters a member or item; give the result to schema_path_leave(). Refuses when too deep. */
size_t schema_path_enter(schema *s, const char *key);
size_t schema_path_enter_index(schema *s, size_t index);
void schema_path_leave(schema *s, size_t before);
/* Spends some of SCHEMA_MAX_WORK. */
bool schema_path_work(schema *s, size_t bytes);
/* Keeps a new schema alive; takes the reference. NULL, and an error, when `made` is NULL. */
json_t *schema_path_keep(schema *s, json_t *made);

/* ---- keywords (schema_keywords.c) -------------------------------------------------------------------------------- */

typedef enum schema_keyword {
    SCHEMA_KEYWORD_UNKNOWN,
    SCHEMA_KEYWORD_ANNOTATION, /* says nothing about values */
    SCHEMA_KEYWORD_PLAIN,      /* about values of one type, or enum and const */
    SCHEMA_KEYWORD_COMPOSED,   /* $ref, allOf, anyOf, oneOf, nullable */
} schema_keyword;

/* `types`, if not NULL: which types a plain keyword speaks of; 0: all. */
schema_keyword schema_keywords_find(const char *name, unsigned *types);
/* Fails, and says false, when the schema has a keyword that is not supported. */
bool schema_keywords_check(schema *s, const json_t *schema_object);
/* Bits of schema_type for a `type`; 0 and an error when malformed. Without `type` (NULL): all. */
unsigned schema_keywords_types(schema *s, const json_t *type);
unsigned schema_keywords_type_of(const json_t *value);
/* A count such as minLength; `otherwise` when absent. Fails when it is no integer >= 0. Above 2^31: EXPR_NO_LIMIT - 1.
 */
uint32_t schema_keywords_count(schema *s, const json_t *schema_object, const char *name, uint32_t otherwise);

/* ---- taking apart ------------------------------------------------------------------------------------------------ */

/* All of a schema: `out` is the rule for its values. STATUS_INVALID names the place. (schema.c) */
status schema_rule(expr_pool *p, const json_t *root, bool compact, uint32_t *out, status_detail *detail);
/* Any schema within it. */
expr schema_compile(schema *s, const json_t *any);
/* The same behind a rule unless it is small: for parts that are used more than once. */
expr schema_shared(schema *s, const json_t *any);

/* The schema that a $ref names, or NULL and an error. (schema_ref.c) */
const json_t *schema_ref_find(schema *s, const json_t *ref);

/* Flat schemas: objects without composed keywords and annotations. `type` is always there, an integer of schema_type
 * bits; `const` has become `enum`; `pattern` and `format` are arrays; tuples are `prefixItems`.
 *
 * The flat schemas of which a value must satisfy one: an array, empty when no value is valid; NULL after an error. It
 * lives as long as the compiler. (schema_flat.c) */
json_t *schema_flat(schema *s, const json_t *any);
/* That of an object without composed keywords; the same lifetime. */
json_t *schema_flat_plain(schema *s, const json_t *schema_object);

/* Both of two flat schemas as one, a new reference; json_null() when no value satisfies both; NULL after an error.
 * (schema_merge.c) */
json_t *schema_merge(schema *s, const json_t *a, const json_t *b);
/* {"allOf": [a, b]}, simplified; a new reference. */
json_t *schema_merge_both(schema *s, json_t *a, json_t *b);

/* Provably no value satisfies both. (schema_disjoint.c) */
bool schema_disjoint(schema *s, const json_t *a, const json_t *b);
/* The branches of the `oneOf` of a schema, of which no two may match at once; where only the discriminator's property
 * tells them apart, they require it. NULL, and an error, when they may. */
const json_t *schema_disjoint_branches(schema *s, const json_t *of);

/* ---- types: `flat` is a flat schema -------------------------------------------------------------------------------
 */

expr schema_enum(schema *s, const json_t *flat, unsigned types);
expr schema_number(schema *s, const json_t *flat, bool integer);
expr schema_string(schema *s, const json_t *flat);
expr schema_array(schema *s, const json_t *flat);
expr schema_object(schema *s, const json_t *flat);

/* The tightest of minimum and exclusiveMinimum (`lower`), or maximum and exclusiveMaximum. False: none.
 * (schema_number.c) */
bool schema_number_bound(schema *s, const json_t *flat, bool lower, decimal *out, bool *strict);

#endif
