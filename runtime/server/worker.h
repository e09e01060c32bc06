/* A thread beside the server's, for work that would hold up everybody else: jobs go in, are run one after the other in that order, and come
 * back to the event loop through an eventfd, as the engine's events do. */
#ifndef RUNTIME_SERVER_WORKER_H
#define RUNTIME_SERVER_WORKER_H

#include <event2/event.h>
#include <stdbool.h>

#include "runtime/base/status.h"

typedef struct worker worker;

/* The first member of what a job is about; belongs to the worker from worker_add() until done(). */
typedef struct worker_job worker_job;
struct worker_job {
    void (*run)(worker_job *job);  /* on the worker's thread; touches nothing that the server's thread may change */
    void (*done)(worker_job *job); /* on the thread of `base`, or inside worker_close() */
    worker_job *next;
};

status worker_open(struct event_base *base, worker **out, status_detail *detail);
/* The job that runs is waited for, the others are not begun; done() is called for each. To be called when `base` is not running. NULL is
 * allowed. */
void worker_close(worker *w);

/* [thread of `base`] */
void worker_add(worker *w, worker_job *job);
/* [any thread] Whether this is the worker's own. */
bool worker_is_here(const worker *w);
/* [thread of `base`] True: the job was not begun, and it is the caller's again. False: done() is still to come. */
bool worker_withdraw(worker *w, worker_job *job);

#endif
