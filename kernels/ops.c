#include "kernels/ops.h"

#include "kernels/ops_table.h"

typedef struct backend {
    const ops *table;
    bool (*present)(void); /* whether "auto" may take it; NULL: always */
} backend;

/* Fastest first: "auto" takes the first that this machine can run. */
static const backend backends[] = {
#ifdef GPTOSS_CUDA
    {&cuda_ops, cuda_present},
#endif
    {&cpu_ops, NULL},
};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

const ops *ops_find(const char *name)
{
    bool any = strcmp(name, "auto") == 0;
    for (int i = 0; i < N_BACKENDS; i++) {
        const backend *b = &backends[i];
        if (any ? !b->present || b->present() : strcmp(name, b->table->name) == 0) return b->table;
    }
    return NULL;
}

const char *ops_names(void)
{
#ifdef GPTOSS_CUDA
    return "cuda, cpu";
#else
    return "cpu";
#endif
}
