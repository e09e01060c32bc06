#include <stdlib.h>

#include "runtime/grammar/grammar_internal.h"
#include "runtime/grammar/mask.h"
#include "runtime/grammar/mask_parts.h"

static void look_at_config(grammar_matcher *m)
{
    const machine_config *config = &m->g->machine.configs[m->config];
    m->done = config->done;
    m->may_continue = config->n > 0;
}

status grammar_matcher_open(grammar *g, grammar_matcher **out, status_detail *detail)
{
    grammar_matcher *m = calloc(1, sizeof *m);
    if (!m) return status_fail(detail, STATUS_INTERNAL, "out of memory for a constrained sequence");
    m->g = grammar_retain(g);
    pthread_mutex_lock(&g->lock);
    m->config = g->machine.start;
    look_at_config(m);
    m->after = g->matchers;
    if (m->after) m->after->before = m;
    g->matchers = m;
    pthread_mutex_unlock(&g->lock);
    *out = m;
    return STATUS_OK;
}

void grammar_matcher_close(grammar_matcher *m)
{
    if (!m) return;
    grammar *g = m->g;
    pthread_mutex_lock(&g->lock);
    if (m->before) {
        m->before->after = m->after;
    } else {
        g->matchers = m->after;
    }
    if (m->after) m->after->before = m->before;
    pthread_mutex_unlock(&g->lock);
    free(m);
    grammar_release(g);
}

status grammar_matcher_mask(grammar_matcher *m, uint32_t *bits, status_detail *detail)
{
    grammar *g = m->g;
    pthread_mutex_lock(&g->lock);
    grammar_make_room(g);
    bool written = mask_write(&g->machine, g->vocab, m->config, bits);
    pthread_mutex_unlock(&g->lock);
    if (!written) return status_fail(detail, STATUS_INTERNAL, "out of memory for the mask of a constrained sequence");
    return STATUS_OK;
}

/* The configuration after all bytes, or MACHINE_DEAD, MACHINE_NO_MEMORY. */
static uint32_t step_all(machine *m, uint32_t config, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size && config != MACHINE_DEAD && config != MACHINE_NO_MEMORY; i++)
        config = machine_step(m, config, bytes[i]);
    return config;
}

static bool is_config(uint32_t config) { return config != MACHINE_DEAD && config != MACHINE_NO_MEMORY; }

/* A mask may have promised a token for some threads, and the bounds of machine.h dropped them among very many others:
 * then those go on alone. */
static uint32_t step_promised(machine *m, const grammar_vocab *v, uint32_t config, const unsigned char *bytes,
                              size_t size)
{
    mask_parts parts;
    uint32_t to = MACHINE_DEAD;
    mask_parts_find(m, v, config, &parts);
    for (uint32_t i = 0; i < parts.n && !is_config(to); i++) {
        uint32_t alone = mask_parts_config(m, config, &parts.items[i]);
        if (is_config(alone) && alone != config) to = step_all(m, alone, bytes, size);
    }
    for (uint32_t i = 0; i < (parts.whole ? 1 : parts.n) && !is_config(to); i++) {
        uint32_t part = parts.whole ? config : mask_parts_config(m, config, &parts.items[i]);
        uint32_t run = is_config(part) ? mask_run_config(m, v, part) : MACHINE_DEAD;
        if (is_config(run) && run != config) to = step_all(m, run, bytes, size);
    }
    return to;
}

bool grammar_matcher_accept(grammar_matcher *m, int32_t id)
{
    size_t size;
    const unsigned char *bytes = grammar_vocab_bytes(m->g->vocab, id, &size);
    if (size == 0) return false;
    machine *runs = &m->g->machine;
    pthread_mutex_lock(&m->g->lock);
    grammar_make_room(m->g);
    uint32_t to = step_all(runs, m->config, bytes, size);
    if (to == MACHINE_DEAD) to = step_promised(runs, m->g->vocab, m->config, bytes, size);
    bool accepted = is_config(to);
    if (accepted) {
        m->config = to;
        look_at_config(m);
    }
    pthread_mutex_unlock(&m->g->lock);
    return accepted;
}

bool grammar_matcher_is_done(const grammar_matcher *m) { return m->done; }
bool grammar_matcher_may_continue(const grammar_matcher *m) { return m->may_continue; }
