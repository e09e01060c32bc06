/* One step's work: everything that threads reach without a byte. */
#ifndef RUNTIME_GRAMMAR_MACHINE_CLOSURE_H
#define RUNTIME_GRAMMAR_MACHINE_CLOSURE_H

#include "runtime/grammar/machine.h"

typedef struct machine_closure {
    machine_thread *pending;
    size_t n_pending, pending_capacity;
    machine_thread threads[MACHINE_MAX_THREADS]; /* found so far */
    uint32_t n_threads;
    bool done, escapes;
    bool no_memory;
    uint32_t visits;
    /* Pairs (node, stack) seen in this round, by open addressing. */
    struct {
        machine_thread pair;
        uint32_t round;
    } * seen;      /* [n_seen] */
    size_t n_seen; /* a power of two */
    uint32_t round;
} machine_closure;

machine_closure *machine_closure_open(void); /* NULL: no memory */
void machine_closure_close(machine_closure *c);

/* Begins a step with no threads. */
void machine_closure_begin(machine_closure *c);
/* Adds what (node, stack) reaches. */
void machine_closure_add(machine *m, machine_closure *c, uint32_t node, uint32_t stack);
/* Puts the threads into their canonical order. */
void machine_closure_end(machine_closure *c);

#endif
