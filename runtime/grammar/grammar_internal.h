/* The inside of grammar and grammar_matcher. */
#ifndef RUNTIME_GRAMMAR_GRAMMAR_INTERNAL_H
#define RUNTIME_GRAMMAR_GRAMMAR_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "runtime/grammar/expr.h"
#include "runtime/grammar/grammar.h"
#include "runtime/grammar/grammar_vocab.h"
#include "runtime/grammar/machine.h"

struct grammar {
    const grammar_vocab *vocab;
    atomic_int references;
    pthread_mutex_t lock; /* everything below */
    machine machine;
    size_t collect_at;         /* machine_size() from which to forget what no matcher needs */
    grammar_matcher *matchers; /* all that are open, linked */
};

struct grammar_matcher {
    grammar *g;
    uint32_t config; /* in g->machine; machine_collect() renumbers it */
    bool done, may_continue;
    grammar_matcher *before, *after;
};

/* Compiles rule `root` and takes no part of the pool. `front` is put before the detail: "regex", ... */
status grammar_compile(const grammar_vocab *v, expr_pool *p, uint32_t root, const char *front, grammar **out,
                       status_detail *detail);
/* With the lock held: forgets what no matcher needs when there is much of it. */
void grammar_make_room(grammar *g);

#endif
