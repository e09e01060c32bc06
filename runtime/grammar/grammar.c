#include "runtime/grammar/grammar_internal.h"

#include <stdlib.h>

/* Steps, frames and masks that one grammar remembers. A schema of a dozen properties takes 1 to 3 MiB. */
enum { REMEMBERED_BYTES = 24 << 20 };

status grammar_compile(const grammar_vocab *v, expr_pool *p, uint32_t root, const char *front, grammar **out,
                       status_detail *detail)
{
    program compiled = {0};
    status code = program_compile(p, root, v, &compiled, detail);
    if (code != STATUS_OK) return status_prefix(detail, code, "%s", front);

    grammar *g = calloc(1, sizeof *g);
    if (!g) {
        code = status_fail(detail, STATUS_INTERNAL, "%s: out of memory", front);
        goto failed;
    }
    if ((code = machine_open(&compiled, &g->machine, detail)) != STATUS_OK) goto failed;
    if (pthread_mutex_init(&g->lock, NULL) != 0) {
        code = status_fail(detail, STATUS_INTERNAL, "%s: no mutex", front);
        goto failed;
    }
    g->vocab = v;
    g->collect_at = REMEMBERED_BYTES;
    atomic_init(&g->references, 1);
    *out = g;
    return STATUS_OK;

failed:
    if (g) machine_close(&g->machine);
    free(g);
    program_free(&compiled);
    return code;
}

grammar *grammar_retain(grammar *g)
{
    atomic_fetch_add_explicit(&g->references, 1, memory_order_relaxed);
    return g;
}

void grammar_release(grammar *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->references, 1, memory_order_acq_rel) != 1) return;
    machine_close(&g->machine);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void grammar_make_room(grammar *g)
{
    if (machine_size(&g->machine) < g->collect_at) return;
    size_t n = 0;
    for (grammar_matcher *m = g->matchers; m; m = m->after) n++;
    uint32_t **roots = malloc((n + 1) * sizeof *roots);
    n = 0;
    for (grammar_matcher *m = g->matchers; m && roots; m = m->after) roots[n++] = &m->config;
    /* Where many long stacks are in use they are most of it: collecting again at once would free nothing. */
    if (roots && machine_collect(&g->machine, roots, n))
        g->collect_at = REMEMBERED_BYTES + 2 * machine_size(&g->machine);
    free(roots);
}
