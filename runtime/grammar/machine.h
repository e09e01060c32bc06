/* Runs a program: configurations, and the steps between them, found once and remembered.
 *
 * A configuration is all that can be told apart about the text so far: the set of threads (node, stack) that it leaves.
 * Stacks are linked lists of frames; frames and configurations are stored once each, so equal ones have equal numbers,
 * and a step (configuration, class of byte) is a table look-up from its second time on. This is the subset construction
 * done lazily over a pushdown automaton; sharing of stack tails is that of a graph-structured stack (Tomita).
 *
 * Bounds, so that no grammar can take the process down: a configuration holds at most MACHINE_MAX_THREADS threads and a
 * step visits at most MACHINE_MAX_VISITS nodes once it has a thread. What is beyond is dropped, which only ever narrows
 * what may come: each thread that stays can reach the end of the text by itself.
 */
#ifndef RUNTIME_GRAMMAR_MACHINE_H
#define RUNTIME_GRAMMAR_MACHINE_H

#include "runtime/grammar/program.h"

enum {
    MACHINE_UNKNOWN = 0, /* in a row: not found yet */
    MACHINE_DEAD = 1,    /* the byte may not come */
    MACHINE_FIRST = 2,   /* configurations count from here */
    MACHINE_MAX_THREADS = 1024,
    MACHINE_MAX_VISITS = 16384,
    MACHINE_HOLE = 1, /* the frame that stands for a stack nobody looked at: see machine_local() */
    MACHINE_HOLE_DEPTH = 800,
};
/* Set in the number of a configuration, in rows and what machine_step() returns: a thread got to the hole. */
#define MACHINE_ESCAPES (UINT32_C(1) << 31)
#define MACHINE_NO_MEMORY UINT32_MAX
#define MACHINE_CALL UINT32_MAX

typedef struct machine_thread {
    uint32_t node;  /* a RANGE or SWITCH */
    uint32_t stack; /* top frame, 0: none */
} machine_thread;

typedef struct machine_frame {
    uint32_t node;  /* where a call goes on, or the REPEAT */
    uint32_t count; /* MACHINE_CALL, or repetitions finished */
    uint32_t parent;
    uint32_t depth; /* frames from here down */
} machine_frame;

typedef struct machine_config {
    size_t first; /* in `threads` */
    uint32_t n;
    bool done;    /* the text so far is whole */
    bool escapes; /* a thread returned to the hole */
    bool masked;  /* its mask was asked for before */
    uint32_t hash;
    void *mask; /* of mask.c; one allocation, or NULL */
} machine_config;

typedef struct machine {
    program g;
    machine_frame *frames; /* 0 stands for the empty stack, 1 for the hole */
    size_t n_frames, frames_capacity;
    uint32_t *frame_slots;
    size_t n_frame_slots;
    machine_config *configs; /* [n_configs], the first MACHINE_FIRST unused */
    size_t n_configs, configs_capacity;
    uint32_t *config_slots;
    size_t n_config_slots;
    machine_thread *threads;
    size_t n_threads, threads_capacity;
    uint32_t *
        rows; /* [n_configs][g.n_classes] the configuration after a byte of a class, or MACHINE_UNKNOWN, MACHINE_DEAD */
    size_t rows_capacity; /* configurations */
    size_t mask_bytes;
    uint64_t work;  /* nodes visited so far */
    uint32_t start; /* the configuration before the first byte */
    uint32_t gone;  /* the one without threads that escapes */

    struct machine_closure *closure; /* scratch of a step */
    void *scratch;                   /* of mask.c; one allocation, or NULL */
    struct mask_memo *memo;          /* of mask_region.c, or NULL */
} machine;

/* Takes the program over on success. STATUS_INTERNAL: no memory. */
status machine_open(program *g, machine *out, status_detail *detail);
void machine_close(machine *m);

/* The configuration after `byte`: MACHINE_DEAD, MACHINE_NO_MEMORY or a number, with MACHINE_ESCAPES where it has a
 * hole. */
uint32_t machine_step(machine *m, uint32_t config, unsigned byte);

/* What all threads of a configuration have at the bottom of their stacks, cut off and replaced by a hole: what such a
 * local configuration allows up to where threads return to the hole is the same under any stack, and so is worth
 * remembering. *below is the frame that the hole stands for. 0: there is none to cut off, or too deep;
 * MACHINE_NO_MEMORY. (machine_local.c) */
uint32_t machine_local(machine *m, uint32_t config, uint32_t *below);
/* The configuration right after getting to `node` with frame `stack` on top; at PROGRAM_RETURN, after returning to it:
 * MACHINE_DEAD, MACHINE_NO_MEMORY or a number. */
uint32_t machine_enter(machine *m, uint32_t node, uint32_t stack);

/* Bytes held by everything that machine_collect() could free. */
size_t machine_size(const machine *m);
/* Forgets all configurations but roots[] (numbers are updated in place, and m->start), and all steps and masks. False:
 * no memory, and nothing was changed. */
bool machine_collect(machine *m, uint32_t *const *roots, size_t n);

/* For machine_collect.c and machine.c: the number of a frame or of the last `n` threads; 0: no memory. */
uint32_t machine_frame_number(machine *m, uint32_t node, uint32_t count, uint32_t parent);
uint32_t machine_config_number(machine *m, uint32_t n, bool done, bool escapes);

#endif
