#include "launch/shutdown.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "launch/main.h"
#include "runtime/base/log.h"

struct shutdown_watch {
    pthread_t thread;
    pthread_mutex_t lock; /* all below */
    bool closing;
    world *world;         /* NULL until attached */
    engine *engine;       /* rank 0, while it runs */
    double drain_seconds;
    int own;              /* signals this process had */
    int *others;          /* [world size] rank 0: signals each rank had; NULL until attached */
    int level;            /* the largest count */
};

/* Shells report a process that a signal ended as 128 + signal. */
enum { LEAVE_CODE = 128 + SIGTERM };

static void watched_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR1);
}

/* [locked] A rank had its count-th signal. */
static void raise_level(shutdown_watch *s, int count)
{
    if (count <= s->level) return;
    s->level = count;
    if (count > 2 || (count == 2 && !s->engine)) main_leave(LEAVE_CODE);
    bool here = !s->world || world_rank(s->world) == 0;
    if (here && count == 1 && s->engine) log_info("draining: no new requests; what runs may go on for %g s", s->drain_seconds);
    if (here && count == 1 && !s->engine) log_info("leaving as soon as loading is done; a second signal leaves at once");
    if (s->engine) engine_shutdown(s->engine, s->drain_seconds);
}

/* On the watch's thread of rank 0. */
static void told(void *user, int from_rank)
{
    shutdown_watch *s = user;
    pthread_mutex_lock(&s->lock);
    raise_level(s, ++s->others[from_rank]);
    pthread_mutex_unlock(&s->lock);
}

static void had_signal(shutdown_watch *s)
{
    s->own++;
    bool leads = !s->world || world_rank(s->world) == 0;
    if (leads) {
        raise_level(s, s->own);
    } else {
        /* Rank 0 decides what a second one means; a third leaves even when rank 0 does not answer any more. */
        if (s->own > 2) main_leave(LEAVE_CODE);
        if (s->own > s->level) s->level = s->own;
        world_signal_zero(s->world);
    }
}

static void *wait_for_signals(void *user)
{
    shutdown_watch *s = user;
    sigset_t set;
    int number;
    watched_signals(&set);
    for (;;) {
        if (sigwait(&set, &number) != 0) continue;
        pthread_mutex_lock(&s->lock);
        bool closing = s->closing;
        if (!closing) had_signal(s);
        pthread_mutex_unlock(&s->lock);
        if (closing) return NULL;
    }
}

status shutdown_open(shutdown_watch **out, status_detail *detail)
{
    sigset_t set;
    shutdown_watch *s = calloc(1, sizeof *s);
    if (!s) return status_fail(detail, STATUS_MACHINE, "out of memory");
    pthread_mutex_init(&s->lock, NULL);
    watched_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int error = pthread_create(&s->thread, NULL, wait_for_signals, s);
    if (error) {
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return status_fail(detail, STATUS_MACHINE, "cannot start a thread: %s", strerror(error));
    }
    *out = s;
    return STATUS_OK;
}

status shutdown_attach(shutdown_watch *s, world *w, status_detail *detail)
{
    int *others = calloc((size_t)world_size(w), sizeof *others);
    if (!others) return status_fail(detail, STATUS_MACHINE, "out of memory");
    pthread_mutex_lock(&s->lock);
    s->world = w;
    s->others = others;
    for (int i = 0; i < s->own && world_rank(w) > 0; i++) world_signal_zero(w); /* came before there was a rank 0 to tell */
    pthread_mutex_unlock(&s->lock);
    /* Outside the lock: notices that came early are delivered now, perhaps on this thread. */
    if (world_rank(w) == 0) world_on_signal(w, told, s);
    return STATUS_OK;
}

bool shutdown_asked(shutdown_watch *s)
{
    pthread_mutex_lock(&s->lock);
    bool asked = s->level > 0;
    pthread_mutex_unlock(&s->lock);
    return asked;
}

void shutdown_serve(shutdown_watch *s, engine *e, double drain_seconds)
{
    pthread_mutex_lock(&s->lock);
    s->engine = e;
    s->drain_seconds = drain_seconds;
    if (e && s->level > 0) engine_shutdown(e, 0);
    pthread_mutex_unlock(&s->lock);
}

void shutdown_detach(shutdown_watch *s)
{
    /* Outside the lock, which told() may be waiting for. */
    if (s->world && world_rank(s->world) == 0) world_on_signal(s->world, NULL, NULL);
    pthread_mutex_lock(&s->lock);
    s->world = NULL;
    pthread_mutex_unlock(&s->lock);
}

void shutdown_close(shutdown_watch *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_mutex_unlock(&s->lock);
    pthread_kill(s->thread, SIGUSR1); /* ends its wait */
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    free(s->others);
    free(s);
}
