/* A verb of the command line: one row of the table in main.c, one file. */
#ifndef LAUNCH_VERB_H
#define LAUNCH_VERB_H

#include <stdbool.h>

#include "runtime/base/status.h"

/* What is left to say after a failure. */
typedef struct verb_failure {
    status_detail detail;
    bool speaks; /* whether this rank prints the line; at first: rank 0 alone */
} verb_failure;

typedef struct verb {
    const char *name;
    const char *synopsis;  /* what follows the name */
    const char *summary;   /* one line */
    const char *flags;     /* --help of its own flags, whole lines; NULL: none */
    bool configured;       /* reads a configuration: --help shows the options as well */
    bool alone;            /* refuses to run under several ranks */
    /* argv[0] is the verb's name. The failure is looked at only when the status is not STATUS_OK. */
    status (*run)(int argc, char **argv, verb_failure *failure);
} verb;

extern const verb verb_serve, verb_batch, verb_plan, verb_synth, verb_fetch, verb_bench, verb_doctor, verb_chat;

#endif
