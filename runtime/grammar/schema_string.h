/* The rules for a string, for those who need more than its expression: names of properties, listed values. */
#ifndef RUNTIME_GRAMMAR_SCHEMA_STRING_H
#define RUNTIME_GRAMMAR_SCHEMA_STRING_H

#include <string.h>

#include "runtime/grammar/regex.h"
#include "runtime/grammar/schema.h"

typedef struct schema_string_rules {
    regex *items; /* [n]: all must match */
    size_t n, capacity;
    uint32_t least, most; /* characters */
} schema_string_rules;

void schema_string_rules_read(schema *s, const json_t *flat, schema_string_rules *out);
void schema_string_rules_free(schema_string_rules *rules);

/* As for regex_alphabet() and regex_dfa(). */
void schema_string_alphabet(schema *s, dfa_alphabet *a, const schema_string_rules *rules);
dfa *schema_string_dfa(schema *s, const dfa_alphabet *a, const schema_string_rules *rules);

#endif
