#include "runtime/server/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "runtime/base/quiet_thread.h"

typedef struct job_list {
    worker_job *first, **end;
} job_list;

struct worker {
    pthread_mutex_t lock; /* of the three that follow */
    job_list waiting, finished;
    bool closing;
    pthread_cond_t more;  /* something waits, or closing */
    int finished_fd;      /* an eventfd: something has finished */
    struct event *finished_event;
    pthread_t thread;
    bool running;         /* the thread is to be joined */
};

static void append(job_list *list, worker_job *job)
{
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
}

static worker_job *take_first(job_list *list)
{
    worker_job *job = list->first;
    if (!job) return NULL;
    list->first = job->next;
    if (!list->first) list->end = &list->first;
    return job;
}

/* ---- the worker's thread ---------------------------------------------------------------------------------------- */

static void *run(void *user)
{
    worker *w = user;
    const uint64_t one = 1;
    pthread_mutex_lock(&w->lock);
    while (!w->closing) {
        worker_job *job = take_first(&w->waiting);
        if (!job) {
            pthread_cond_wait(&w->more, &w->lock);
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        job->run(job);
        pthread_mutex_lock(&w->lock);
        append(&w->finished, job);
        ssize_t written = write(w->finished_fd, &one, sizeof one);
        (void)written; /* fails only when the counter is full, and then it is readable anyway */
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* A job reads `thread` after worker_open() has returned: jobs are added later, under the lock. */
bool worker_is_here(const worker *w) { return w->running && pthread_equal(w->thread, pthread_self()); }

/* ---- the server's ----------------------------------------------------------------------------------------------- */

static worker_job *take_finished(worker *w)
{
    pthread_mutex_lock(&w->lock);
    worker_job *job = take_first(&w->finished);
    pthread_mutex_unlock(&w->lock);
    return job;
}

static void on_finished(evutil_socket_t fd, short what, void *user)
{
    (void)what;
    worker *w = user;
    uint64_t count;
    if (read(fd, &count, sizeof count) != sizeof count) return;
    for (worker_job *job; (job = take_finished(w));) job->done(job);
}

void worker_add(worker *w, worker_job *job)
{
    pthread_mutex_lock(&w->lock);
    append(&w->waiting, job);
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

bool worker_withdraw(worker *w, worker_job *job)
{
    pthread_mutex_lock(&w->lock);
    worker_job **link = &w->waiting.first;
    while (*link && *link != job) link = &(*link)->next;
    bool found = *link != NULL;
    if (found) {
        *link = job->next;
        if (!job->next) w->waiting.end = link;
    }
    pthread_mutex_unlock(&w->lock);
    return found;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

status worker_open(struct event_base *base, worker **out, status_detail *detail)
{
    worker *w = calloc(1, sizeof *w);
    if (!w) return status_fail(detail, STATUS_MACHINE, "no memory for the server's worker");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->waiting.end = &w->waiting.first;
    w->finished.end = &w->finished.first;
    w->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->finished_fd >= 0) w->finished_event = event_new(base, w->finished_fd, EV_READ | EV_PERSIST, on_finished, w);
    int error = w->finished_event && !event_add(w->finished_event, NULL) ? quiet_thread_start(&w->thread, run, w) : errno;
    w->running = w->finished_event && !error;
    if (w->running) {
        *out = w;
        return STATUS_OK;
    }
    worker_close(w);
    return status_fail(detail, STATUS_MACHINE, "cannot start the server's worker: %s", strerror(error));
}

void worker_close(worker *w)
{
    if (!w) return;
    if (w->running) {
        pthread_mutex_lock(&w->lock);
        w->closing = true;
        pthread_cond_signal(&w->more);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    for (worker_job *job; (job = take_first(&w->finished)) || (job = take_first(&w->waiting));) job->done(job);
    if (w->finished_event) event_free(w->finished_event);
    if (w->finished_fd >= 0) close(w->finished_fd);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
