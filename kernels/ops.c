#include "kernels/ops.h"

#include "kernels/ops_table.h"

/* Fastest first: "auto" takes the first that this machine can run. */
static const ops *const backends[] = {
    &cpu_ops,
};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

static bool can_open(const ops *backend)
{
    ops_options options = {.backend = backend->name, .threads = 1};
    ops_context *context;
    if (backend->open(&options, &context, NULL) != STATUS_OK) return false;
    backend->close(context);
    return true;
}

const ops *ops_find(const char *name)
{
    bool any = strcmp(name, "auto") == 0;
    for (int i = 0; i < N_BACKENDS; i++)
        if (any ? can_open(backends[i]) : strcmp(name, backends[i]->name) == 0) return backends[i];
    return NULL;
}

const char *ops_names(void) { return "cpu"; }
