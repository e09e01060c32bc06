#include "runtime/engine/engine_queue.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct engine_queue {
    pthread_mutex_t lock; /* all below, but what is atomic or fixed */
    int max_open, open;
    uint64_t last_id;
    sequence *inbox, **inbox_end;
    int n_inbox;
    sequence *cancels;
    sequence **by_id;     /* [id_mask + 1] buckets of open requests */
    uint64_t id_mask;
    engine_event *events; /* ring; has room for one FINISH of every open request beyond what is in it */
    size_t first, count, capacity; /* capacity is a power of two */
    engine_stats stats;
    bool sleeping, ended;
    int event_fd, wake_fd;
    atomic_int shutdowns;
    atomic_llong drain_us;
};

_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "engine_queue_shutdown() runs in signal handlers");

/* ---- life ------------------------------------------------------------------------------------------------------- */

status engine_queue_open(int max_open, engine_queue **out, status_detail *detail)
{
    engine_queue *q = calloc(1, sizeof *q);
    if (!q) return status_fail(detail, STATUS_MACHINE, "no memory for the request queue");
    pthread_mutex_init(&q->lock, NULL);
    q->max_open = max_open;
    q->inbox_end = &q->inbox;
    q->stats.alive = true;
    q->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (q->id_mask = 15; q->id_mask < (uint64_t)max_open; q->id_mask = 2 * q->id_mask + 1) {
    }
    q->by_id = calloc(q->id_mask + 1, sizeof(sequence *));
    q->capacity = 256;
    q->events = malloc(q->capacity * sizeof *q->events);
    status result = STATUS_OK;
    if (q->event_fd < 0 || q->wake_fd < 0)
        result = status_fail(detail, STATUS_MACHINE, "cannot make an eventfd: %s: raise the limit of open files", strerror(errno));
    else if (!q->by_id || !q->events)
        result = status_fail(detail, STATUS_MACHINE, "no memory for a queue of %d requests: lower server.max_queue", max_open);
    if (result != STATUS_OK) {
        engine_queue_close(q);
        return result;
    }
    *out = q;
    return STATUS_OK;
}

void engine_queue_close(engine_queue *q)
{
    if (!q) return;
    while (q->inbox) {
        sequence *s = q->inbox;
        q->inbox = s->next_inbox;
        sequence_free(s);
    }
    free(q->events);
    free(q->by_id);
    if (q->wake_fd >= 0) close(q->wake_fd);
    if (q->event_fd >= 0) close(q->event_fd);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* ---- small parts ------------------------------------------------------------------------------------------------ */

/* Adding to an eventfd fails only when its counter is full, and then it is readable already. */
static void signal_fd(int fd)
{
    const uint64_t one = 1;
    int saved = errno;
    ssize_t written = write(fd, &one, sizeof one);
    (void)written;
    errno = saved;
}

static void clear_fd(int fd)
{
    uint64_t value;
    ssize_t got = read(fd, &value, sizeof value);
    (void)got;
}

/* [locked] */
static void wake_loop(engine_queue *q)
{
    if (!q->sleeping) return;
    q->sleeping = false;
    signal_fd(q->wake_fd);
}

/* [locked] Makes the ring hold `wanted` events. */
static bool reserve_events(engine_queue *q, size_t wanted)
{
    size_t capacity = q->capacity;
    while (capacity < wanted) capacity *= 2;
    if (capacity == q->capacity) return true;
    engine_event *grown = malloc(capacity * sizeof *grown);
    if (!grown) return false;
    for (size_t i = 0; i < q->count; i++) grown[i] = q->events[(q->first + i) & (q->capacity - 1)];
    free(q->events);
    q->events = grown;
    q->first = 0;
    q->capacity = capacity;
    return true;
}

static sequence **id_link(engine_queue *q, uint64_t id)
{
    sequence **link = &q->by_id[id & q->id_mask];
    while (*link && (*link)->id != id) link = &(*link)->next_by_id;
    return link;
}

/* [locked] */
static void unlink_cancel(engine_queue *q, sequence *s)
{
    if (!s->in_cancel_list) return;
    if (s->prev_cancel) s->prev_cancel->next_cancel = s->next_cancel;
    else q->cancels = s->next_cancel;
    if (s->next_cancel) s->next_cancel->prev_cancel = s->prev_cancel;
    s->in_cancel_list = false;
}

/* [locked] The request has its FINISH. */
static void forget(engine_queue *q, uint64_t id)
{
    sequence **link = id_link(q, id), *s = *link;
    *link = s->next_by_id;
    unlink_cancel(q, s);
    q->open--;
}

/* ---- any thread ------------------------------------------------------------------------------------------------- */

/* [locked] */
static status enter(engine_queue *q, sequence *s, status_detail *detail)
{
    if (q->ended && !q->stats.alive) return status_fail(detail, STATUS_BUSY, "the engine has failed: see the log");
    if (q->ended || atomic_load(&q->shutdowns) > 0) return status_fail(detail, STATUS_BUSY, "the engine is shutting down");
    if (q->open >= q->max_open)
        return status_fail(detail, STATUS_BUSY, "%d requests run or wait already: try again later, or raise server.max_queue", q->open);
    if (!reserve_events(q, q->count + (size_t)q->open + 1))
        return status_fail(detail, STATUS_BUSY, "no memory for another request now: try again later");
    q->open++;
    s->id = ++q->last_id;
    s->next_by_id = q->by_id[s->id & q->id_mask];
    q->by_id[s->id & q->id_mask] = s;
    s->next_inbox = NULL;
    *q->inbox_end = s;
    q->inbox_end = &s->next_inbox;
    q->n_inbox++;
    wake_loop(q);
    return STATUS_OK;
}

status engine_queue_submit(engine_queue *q, sequence *s, uint64_t *id, status_detail *detail)
{
    pthread_mutex_lock(&q->lock);
    status result = enter(q, s, detail);
    /* Once unlocked, the loop may finish and free `s` at any time. */
    if (result == STATUS_OK) *id = s->id;
    pthread_mutex_unlock(&q->lock);
    return result;
}

void engine_queue_cancel(engine_queue *q, uint64_t id)
{
    pthread_mutex_lock(&q->lock);
    sequence *s = *id_link(q, id);
    if (s && !s->cancelled) {
        s->cancelled = s->in_cancel_list = true;
        s->prev_cancel = NULL;
        s->next_cancel = q->cancels;
        if (q->cancels) q->cancels->prev_cancel = s;
        q->cancels = s;
        wake_loop(q);
    }
    pthread_mutex_unlock(&q->lock);
}

void engine_queue_shutdown(engine_queue *q, double drain_seconds)
{
    const double most = 1e9;
    long long us = (long long)((drain_seconds >= 0 ? drain_seconds < most ? drain_seconds : most : 0) * 1e6), unset = 0;
    /* Kept one more than it is, so that 0 means not set: the first call's time counts. */
    atomic_compare_exchange_strong(&q->drain_us, &unset, us + 1);
    atomic_fetch_add(&q->shutdowns, 1);
    signal_fd(q->wake_fd);
}

int engine_queue_event_fd(const engine_queue *q) { return q->event_fd; }

int engine_queue_poll(engine_queue *q, engine_event *out, int max)
{
    int n = 0;
    pthread_mutex_lock(&q->lock);
    for (; n < max && q->count > 0; n++) {
        out[n] = q->events[q->first];
        q->first = (q->first + 1) & (q->capacity - 1);
        q->count--;
    }
    if (q->count == 0) clear_fd(q->event_fd);
    pthread_mutex_unlock(&q->lock);
    return n;
}

void engine_queue_get_stats(engine_queue *q, engine_stats *out)
{
    pthread_mutex_lock(&q->lock);
    *out = q->stats;
    out->waiting += q->n_inbox;
    out->draining = out->draining || atomic_load(&q->shutdowns) > 0;
    pthread_mutex_unlock(&q->lock);
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

/* [locked] */
static void take(engine_queue *q, sequence **fresh, sequence **cancelled)
{
    *fresh = q->inbox;
    q->inbox = NULL;
    q->inbox_end = &q->inbox;
    q->n_inbox = 0;
    *cancelled = q->cancels;
    for (sequence *s = q->cancels; s; s = s->next_cancel) s->in_cancel_list = false;
    q->cancels = NULL;
}

void engine_queue_take(engine_queue *q, sequence **fresh, sequence **cancelled)
{
    pthread_mutex_lock(&q->lock);
    take(q, fresh, cancelled);
    pthread_mutex_unlock(&q->lock);
}

int engine_queue_shutdowns(const engine_queue *q, double *drain_seconds)
{
    int calls = atomic_load(&q->shutdowns);
    *drain_seconds = calls > 0 ? (double)(atomic_load(&q->drain_us) - 1) * 1e-6 : 0;
    return calls;
}

void engine_queue_wait(engine_queue *q, int shutdowns_seen)
{
    pthread_mutex_lock(&q->lock);
    q->sleeping = !q->inbox && !q->cancels && atomic_load(&q->shutdowns) == shutdowns_seen;
    while (q->sleeping) {
        pthread_mutex_unlock(&q->lock);
        struct pollfd wait = {.fd = q->wake_fd, .events = POLLIN};
        poll(&wait, 1, -1);
        clear_fd(q->wake_fd);
        pthread_mutex_lock(&q->lock);
        if (atomic_load(&q->shutdowns) != shutdowns_seen) q->sleeping = false;
    }
    pthread_mutex_unlock(&q->lock);
}

status engine_queue_emit(engine_queue *q, const engine_event *events, int n, status_detail *detail)
{
    if (n == 0) return STATUS_OK;
    pthread_mutex_lock(&q->lock);
    size_t plain = 0;
    for (int i = 0; i < n; i++) plain += events[i].kind != ENGINE_EVENT_FINISH;
    bool room = plain == 0 || reserve_events(q, q->count + plain + (size_t)q->open);
    if (room) {
        if (q->count == 0) signal_fd(q->event_fd);
        for (int i = 0; i < n; i++) {
            q->events[(q->first + q->count++) & (q->capacity - 1)] = events[i];
            if (events[i].kind == ENGINE_EVENT_FINISH) forget(q, events[i].request);
        }
    }
    pthread_mutex_unlock(&q->lock);
    return room ? STATUS_OK : status_fail(detail, STATUS_MACHINE, "no memory for events that nobody takes: the server does not keep up");
}

void engine_queue_put_stats(engine_queue *q, const engine_stats *stats)
{
    pthread_mutex_lock(&q->lock);
    q->stats = *stats;
    pthread_mutex_unlock(&q->lock);
}

void engine_queue_end(engine_queue *q, sequence **fresh, sequence **cancelled)
{
    pthread_mutex_lock(&q->lock);
    take(q, fresh, cancelled);
    q->ended = true;
    pthread_mutex_unlock(&q->lock);
}
