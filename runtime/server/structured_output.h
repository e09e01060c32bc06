/* What a client says an answer must look like, apart from response_format: vLLM's "structured_outputs", and the older spelling of the same in fields of
 * their own, "guided_json" and so on. Pure: bytes -> checked fields; whether the grammar itself is good shows when it is compiled. */
#ifndef RUNTIME_SERVER_STRUCTURED_OUTPUT_H
#define RUNTIME_SERVER_STRUCTURED_OUTPUT_H

#include "runtime/server/constraint_cache.h"
#include "runtime/server/json_fields.h"

/* {0}: nothing is asked for. */
typedef struct structured_output {
    bool given;
    constraint_source source; /* points into `value` */
    json_t *value;            /* owned */
    char param[64];           /* the field that says it, for errors */
} structured_output;

/* False with *error set (400) when a field is malformed, unknown or one too many. */
bool structured_output_parse(const json_fields *body, structured_output *out);
/* The field "response_format" of a request that is no conversation. In addition to what *out has: both are an error. */
bool structured_output_format(const json_fields *body, structured_output *out);
void structured_output_free(structured_output *s);

#endif
