#include "comm/watch_gate.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void watch_gate_open(watch_gate *g, const watch_card *card, const int *listeners, int n_listeners)
{
    *g = (watch_gate){.card = card, .n_listeners = n_listeners};
    for (int i = 0; i < n_listeners; i++) g->listeners[i] = listeners[i];
    for (int i = 0; i < WATCH_PENDING; i++) g->pending[i].fd = -1;
}

int watch_gate_polls(const watch_gate *g, struct pollfd *polls, int *timeout_ms)
{
    int n = 0;
    if (!g->n_listeners) return 0;
    for (int i = 0; i < g->n_listeners; i++) polls[n++] = (struct pollfd){.fd = g->listeners[i], .events = POLLIN};
    for (int i = 0; i < WATCH_PENDING; i++) {
        const watch_pending *p = &g->pending[i];
        if (p->fd < 0) continue;
        polls[n++] = (struct pollfd){.fd = p->fd, .events = POLLIN};
        int64_t left = p->since_ms + WATCH_PATIENCE_MS - now_ms();
        if (left < 0) left = 0;
        if (*timeout_ms < 0 || left < *timeout_ms) *timeout_ms = (int)left;
    }
    return n;
}

static void drop(watch_pending *p)
{
    close(p->fd);
    p->fd = -1;
}

/* A free place; when there is none, that of the connection that has been silent longest, members' last. */
static watch_pending *place_for_newcomer(watch_gate *g)
{
    watch_pending *oldest = NULL;
    for (int i = 0; i < WATCH_PENDING; i++) {
        watch_pending *p = &g->pending[i];
        if (p->fd < 0) return p;
        if (!oldest || (oldest->rank && !p->rank) || (!oldest->rank == !p->rank && p->since_ms < oldest->since_ms))
            oldest = p;
    }
    drop(oldest);
    return oldest;
}

/* The hello's next bytes. False: the connection is no use any more. */
static bool read_hello(watch_gate *g, watch_pending *p)
{
    ssize_t got = recv(p->fd, p->read + p->n_read, WATCH_HELLO_SIZE - p->n_read, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got <= 0) return false;
    p->n_read += (size_t)got;
    switch (watch_card_judge(g->card, p->read, p->n_read, &p->rank)) {
    case WATCH_MORE: return true;
    case WATCH_STRANGER: return false;
    case WATCH_MEMBER: break;
    }
    return send(p->fd, g->card->answer, WATCH_TOKEN_SIZE, MSG_NOSIGNAL) == WATCH_TOKEN_SIZE;
}

static void serve(watch_gate *g, watch_pending *p, watch_gate_entered entered, void *user)
{
    if (!p->rank) {
        if (!read_hello(g, p)) drop(p);
        return;
    }
    uint8_t byte;
    ssize_t got = recv(p->fd, &byte, 1, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got != 1 || byte != WATCH_CONFIRM) {
        drop(p);
        return;
    }
    int fd = p->fd;
    p->fd = -1;
    entered(user, p->rank, fd);
}

void watch_gate_step(watch_gate *g, const struct pollfd *polls, int n_polls, watch_gate_entered entered, void *user)
{
    if (!g->n_listeners) return;
    int64_t now = now_ms();
    for (int i = g->n_listeners; i < n_polls; i++) {
        if (!polls[i].revents) continue;
        for (int j = 0; j < WATCH_PENDING; j++) {
            if (g->pending[j].fd != polls[i].fd) continue;
            serve(g, &g->pending[j], entered, user);
            break;
        }
    }
    for (int i = 0; i < WATCH_PENDING; i++) {
        watch_pending *p = &g->pending[i];
        if (p->fd >= 0 && now - p->since_ms >= WATCH_PATIENCE_MS) drop(p);
    }
    for (int i = 0; i < g->n_listeners && i < n_polls; i++) {
        if (!polls[i].revents) continue;
        int fd = watch_socket_accept(g->listeners[i]);
        if (fd < 0) continue;
        *place_for_newcomer(g) = (watch_pending){.fd = fd, .since_ms = now};
    }
}

void watch_gate_close(watch_gate *g)
{
    for (int i = 0; i < g->n_listeners; i++) close(g->listeners[i]);
    if (g->n_listeners)
        for (int i = 0; i < WATCH_PENDING; i++)
            if (g->pending[i].fd >= 0) drop(&g->pending[i]);
    g->n_listeners = 0;
}
