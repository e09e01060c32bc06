/* The names that an object may have, and the schema for each. */
#ifndef RUNTIME_GRAMMAR_SCHEMA_KEYS_H
#define RUNTIME_GRAMMAR_SCHEMA_KEYS_H

#include "runtime/grammar/schema.h"

/* A property with a name of its own: listed, or required. */
typedef struct schema_key {
    const char *name;
    bool listed; /* in `properties`; otherwise only required */
    bool required;
    json_t *value; /* a reference of ours; NULL: any value. Everything that speaks of the name, merged */
} schema_key;

/* Other names: those of a pattern, or all the rest. */
typedef struct schema_key_class {
    expr name;           /* the literal, quotes included */
    json_t *value;       /* borrowed; NULL: any value */
    const char *pattern; /* NULL: the rest */
} schema_key_class;

typedef struct schema_keys {
    schema_key *keys; /* in the order in which they are written */
    size_t n, capacity;
    schema_key_class *classes;
    size_t n_classes, classes_capacity;
} schema_keys;

/* Fails with an error in `s`; the caller frees in any case. */
void schema_keys_read(schema *s, const json_t *flat, schema_keys *out);
void schema_keys_free(schema_keys *keys);

#endif
