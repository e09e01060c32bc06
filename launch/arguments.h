/* The flags that belong to one verb, beside those of the configuration. */
#ifndef LAUNCH_ARGUMENTS_H
#define LAUNCH_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef enum argument_type {
    ARGUMENT_TEXT,  /* const char *, pointing into argv */
    ARGUMENT_INT,   /* int64_t within least..most */
    ARGUMENT_BYTES, /* int64_t, "80GiB" */
    ARGUMENT_SWITCH, /* bool, set to true; takes no value */
} argument_type;

typedef struct argument {
    const char *flag; /* "--ranks" */
    argument_type type;
    void *to;
    int64_t least, most; /* ARGUMENT_INT */
} argument;

typedef struct arguments {
    const argument *flags;
    size_t n_flags;
    const char *positional_name; /* what the one word without a flag is, for messages: "DIR" */
    const char **positional;     /* set when it is there */
    bool settings_flags;         /* the verb has those of the configuration too: a mistyped one may have been meant */
} arguments;

/* Reads argv[1..]. "--flag value" and "--flag=value" both work; what follows "--" is no flag. STATUS_USAGE for an unknown flag, a second
 * positional word, or a wrong value; destinations may then be written in part. */
status arguments_parse(const arguments *a, int argc, char **argv, status_detail *detail);

#endif
