#include "comm/watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "comm/watch_gate.h"
#include "comm/watch_note.h"

enum { WAKE = 'W', SIGNAL = 'S', GOODBYE = 'G', FAILED = 'F', LOST = 'L', NOTE = WATCH_NOTE };
enum { NOBODY = -1 };

typedef struct watch_link {
    int rank;         /* who is at the other end */
    int fd;           /* -1: not joined yet, or ended after its goodbye */
    bool goodbye;     /* the other end said it */
    bool failed;      /* the other end said so */
    bool goodbye_due; /* ours is still to be sent, after `owed` */
    unsigned owed;    /* wakes (rank 0) or signal notices (others) still to be sent */
    unsigned noticed; /* [rank 0] signal notices not delivered yet; the thread's alone */
    uint8_t lost[4];  /* [others] the number after 'L', as far as it came */
    int n_lost;       /* bytes of it; -1: no 'L' yet */
    watch_note_out note;    /* [others] */
    watch_note_in received; /* [rank 0] */
} watch_link;

struct watch {
    int rank;
    watch_lost_fn lost;
    void *lost_user;
    watch_card card;
    watch_gate gate; /* [rank 0] the thread's alone */
    int kick;        /* eventfd: the thread shall look around */
    sem_t wakes;     /* [others] not taken by a park yet */
    sem_t joined;    /* [rank 0] posted when the last rank has joined */
    atomic_uint signals; /* [others] not handed to the thread yet */

    pthread_mutex_t lock; /* of links and the six that follow; never held while anything blocks */
    watch_link *links;    /* rank 0: one for each other rank; others: one, to rank 0 */
    int n_links, n_joined;
    bool leaving, stopping;
    bool failed; /* this rank, and it has said so */
    note_board *notes; /* [rank 0] borrowed; NULL: they are not kept */

    pthread_mutex_t signal_lock; /* held while on_signal runs */
    void (*on_signal)(void *user, int from_rank);
    void *signal_user;

    struct pollfd *polls; /* [1 + WATCH_GATE_POLLS + n_links] */
    pthread_t thread;
    bool running; /* the thread is to be joined */
};

static void kick(watch *w)
{
    uint64_t one = 1;
    ssize_t written = write(w->kick, &one, sizeof one);
    (void)written; /* fails only when the counter is full, and then the thread wakes anyway */
}

/* ---- sending; the lock is held ----------------------------------------------------------------------------------- */

static bool is_waiting(const watch_link *l) { return l->fd >= 0 && (l->owed || l->goodbye_due || watch_note_is_due(&l->note)); }

/* Sends what is due as far as the connection takes it. Errors show when the thread reads. What others wait for goes before a note. */
static void flush(const watch *w, watch_link *l)
{
    char bytes[64];
    memset(bytes, w->rank == 0 ? WAKE : SIGNAL, sizeof bytes);
    if (l->fd < 0 || !watch_note_finish(&l->note, l->fd)) return;
    while (l->owed) {
        size_t n = l->owed < sizeof bytes ? l->owed : sizeof bytes;
        ssize_t sent = send(l->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) return;
        l->owed -= (unsigned)sent;
    }
    char goodbye = GOODBYE;
    if (watch_note_send(&l->note, l->fd) && l->goodbye_due && send(l->fd, &goodbye, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
        l->goodbye_due = false;
}

static void tell_of_death(watch *w, int lost_rank)
{
    uint8_t message[5] = {LOST};
    uint32_t number = htonl((uint32_t)lost_rank);
    memcpy(message + 1, &number, sizeof number);
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->n_links; i++) {
        if (w->links[i].fd < 0 || w->links[i].rank == lost_rank) continue;
        ssize_t sent = send(w->links[i].fd, message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent; /* whoever does not get it sees rank 0 leave */
    }
    pthread_mutex_unlock(&w->lock);
}

/* ---- receiving; the lock is held ---------------------------------------------------------------------------------- */

/* Takes one byte in. Returns the rank it reports lost, the sender for a byte that makes no sense, or NOBODY. */
static int take_byte(watch *w, watch_link *l, uint8_t byte)
{
    if (l->n_lost >= 0) {
        l->lost[l->n_lost++] = byte;
        if (l->n_lost < (int)sizeof l->lost) return NOBODY;
        uint32_t number;
        memcpy(&number, l->lost, sizeof number);
        return (int)ntohl(number);
    }
    if (l->received.open) {
        watch_note_result result = watch_note_take(&l->received, byte);
        if (result == WATCH_NOTE_WHOLE && w->notes) note_board_put(w->notes, l->rank, l->received.bytes, l->received.size);
        return result == WATCH_NOTE_NONSENSE ? l->rank : NOBODY;
    }
    bool from_zero = l->rank == 0;
    switch (byte) {
    case GOODBYE: l->goodbye = true; return NOBODY;
    case FAILED: l->failed = true; return NOBODY;
    case WAKE:
        if (from_zero) sem_post(&w->wakes);
        return from_zero ? NOBODY : l->rank;
    case SIGNAL: l->noticed++; return from_zero ? l->rank : NOBODY;
    case LOST: l->n_lost = 0; return from_zero ? NOBODY : l->rank;
    case NOTE: l->received = (watch_note_in){.open = true}; return from_zero ? l->rank : NOBODY;
    default: return l->rank;
    }
}

/* Reads what is there. Returns the rank that is lost, or NOBODY. */
static int receive(watch *w, watch_link *l)
{
    uint8_t bytes[256];
    for (;;) {
        ssize_t got = recv(l->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return NOBODY;
        for (ssize_t i = 0; i < got; i++) {
            int lost = take_byte(w, l, bytes[i]);
            if (lost != NOBODY) return lost;
        }
        if (got > 0) continue;
        bool expected = l->goodbye || (l->failed && w->failed);
        if (!expected) return l->rank;
        l->goodbye = true; /* nobody waits for it any more */
        close(l->fd);
        l->fd = -1;
        return NOBODY;
    }
}

/* ---- the thread --------------------------------------------------------------------------------------------------- */

static void entered(void *user, int rank, int fd)
{
    watch *w = user;
    watch_link *l = &w->links[rank - 1];
    pthread_mutex_lock(&w->lock);
    bool fresh = l->fd < 0;
    if (fresh) {
        l->fd = fd;
        w->n_joined++;
    }
    bool complete = fresh && w->n_joined == w->n_links;
    pthread_mutex_unlock(&w->lock);
    if (!fresh) close(fd);
    if (complete) {
        watch_gate_close(&w->gate);
        sem_post(&w->joined);
    }
}

/* Rank 0 leaves once all want to; the others when it says that it does. The lock is held. */
static bool is_finished(const watch *w)
{
    if (w->stopping) return true;
    bool all = w->leaving;
    for (int i = 0; i < w->n_links; i++) all = all && w->links[i].goodbye;
    return all;
}

/* What the thread does before it sleeps: sends, and fills in what to wait for. False when it is done. */
static bool prepare(watch *w, int *n_polls, int *n_gate, int *timeout_ms)
{
    pthread_mutex_lock(&w->lock);
    bool finished = is_finished(w), farewell = finished && w->rank == 0 && !w->stopping;
    if (w->rank != 0) w->links[0].owed += atomic_exchange(&w->signals, 0);
    w->polls[0] = (struct pollfd){.fd = w->kick, .events = POLLIN};
    *timeout_ms = -1;
    *n_gate = watch_gate_polls(&w->gate, w->polls + 1, timeout_ms);
    int n = 1 + *n_gate;
    for (int i = 0; i < w->n_links; i++) {
        watch_link *l = &w->links[i];
        l->goodbye_due = l->goodbye_due || farewell;
        flush(w, l);
        w->polls[n++] = (struct pollfd){.fd = l->fd, .events = (short)(POLLIN | (is_waiting(l) ? POLLOUT : 0))};
    }
    *n_polls = n;
    pthread_mutex_unlock(&w->lock);
    return !finished;
}

static int receive_all(watch *w, const struct pollfd *polls)
{
    int lost = NOBODY;
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->n_links && lost == NOBODY; i++)
        if (polls[i].revents & (POLLIN | POLLHUP | POLLERR) && w->links[i].fd >= 0) lost = receive(w, &w->links[i]);
    pthread_mutex_unlock(&w->lock);
    return lost;
}

/* Whether this rank is the one that speaks of the death: rank 0, of its own rank 1, and of one that said it had failed none. */
static bool speaks_of(const watch *w, int lost)
{
    if (w->rank == 0) return !w->links[lost - 1].failed;
    return w->rank == 1 && lost == 0 && !w->links[0].failed;
}

static void deliver_signals(watch *w)
{
    if (w->rank != 0) return;
    pthread_mutex_lock(&w->signal_lock);
    for (int i = 0; i < w->n_links && w->on_signal; i++)
        for (; w->links[i].noticed; w->links[i].noticed--) w->on_signal(w->signal_user, w->links[i].rank);
    pthread_mutex_unlock(&w->signal_lock);
}

static void *watch_thread(void *user)
{
    watch *w = user;
    int n_polls, n_gate, timeout_ms;
    while (prepare(w, &n_polls, &n_gate, &timeout_ms)) {
        if (poll(w->polls, (nfds_t)n_polls, timeout_ms) < 0) continue;
        uint64_t count;
        if (w->polls[0].revents && read(w->kick, &count, sizeof count) < 0) continue;
        int lost = receive_all(w, w->polls + 1 + n_gate);
        if (lost != NOBODY) {
            if (w->rank == 0) tell_of_death(w, lost);
            w->lost(w->lost_user, lost, speaks_of(w, lost));
            break;
        }
        watch_gate_step(&w->gate, w->polls + 1, n_gate, entered, w);
        deliver_signals(w);
    }
    return NULL;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------ */

static status start_thread(watch *w, status_detail *detail)
{
    static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t all, before; /* handlers of what comes from outside belong on the main thread */
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own_faults / sizeof *own_faults; i++) sigdelset(&all, own_faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&w->thread, NULL, watch_thread, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code) return status_fail(detail, STATUS_MACHINE, "watch: cannot start a thread: %s", strerror(code));
    w->running = true;
    return STATUS_OK;
}

static status create(int rank, int n_links, const watch_card *card, watch_lost_fn lost, void *user, watch **out,
                     status_detail *detail)
{
    watch *w = calloc(1, sizeof *w);
    watch_link *links = calloc((size_t)n_links, sizeof *links);
    struct pollfd *polls = calloc(1 + WATCH_GATE_POLLS + (size_t)n_links, sizeof *polls);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!w || !links || !polls || fd < 0) {
        status code = status_fail(detail, STATUS_MACHINE, "watch: cannot get memory or an eventfd: %s", strerror(errno));
        if (fd >= 0) close(fd);
        free(polls);
        free(links);
        free(w);
        return code;
    }
    for (int i = 0; i < n_links; i++) links[i] = (watch_link){.rank = rank ? 0 : i + 1, .fd = -1, .n_lost = -1};
    *w = (watch){.rank = rank, .lost = lost, .lost_user = user, .card = *card, .kick = fd};
    w->links = links;
    w->n_links = n_links;
    w->polls = polls;
    sem_init(&w->wakes, 0, 0);
    sem_init(&w->joined, 0, 0);
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->signal_lock, NULL);
    *out = w;
    return STATUS_OK;
}

status watch_listen(int size, bool between_hosts, watch_lost_fn lost, void *user, watch **out, watch_card *card,
                    status_detail *detail)
{
    watch_card made;
    int fds[WATCH_LISTENERS], n_fds;
    STATUS_TRY(watch_socket_listen(size, between_hosts, &made, fds, &n_fds, detail));
    watch *w = NULL;
    status code = create(0, size - 1, &made, lost, user, &w, detail);
    if (code != STATUS_OK) {
        for (int i = 0; i < n_fds; i++) close(fds[i]);
        return code;
    }
    watch_gate_open(&w->gate, &w->card, fds, n_fds);
    code = start_thread(w, detail);
    if (code != STATUS_OK) {
        watch_close(w);
        return code;
    }
    *card = made;
    *out = w;
    return STATUS_OK;
}

status watch_join(int rank, const watch_card *card, bool same_host, int limit_ms, watch_lost_fn lost, void *user,
                  watch **out, status_detail *detail)
{
    watch *w = NULL;
    STATUS_TRY(create(rank, 1, card, lost, user, &w, detail));
    status code = watch_socket_join(card, rank, same_host, limit_ms, &w->links[0].fd, detail);
    if (code == STATUS_OK) code = start_thread(w, detail);
    if (code != STATUS_OK) {
        watch_close(w);
        return code;
    }
    *out = w;
    return STATUS_OK;
}

status watch_wait_joined(watch *w, int limit_ms, status_detail *detail)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += limit_ms / 1000;
    until.tv_nsec += (long)(limit_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (sem_timedwait(&w->joined, &until) != 0) {
        if (errno == EINTR) continue;
        pthread_mutex_lock(&w->lock);
        int missing = w->n_links - w->n_joined;
        pthread_mutex_unlock(&w->lock);
        return status_fail(detail, STATUS_PEER, "%d of %d ranks did not connect to rank 0's watch socket within %d s; "
                           "look for ranks that ended early", missing, w->n_links, (limit_ms + 999) / 1000);
    }
    return STATUS_OK;
}

static void finish(watch *w, bool *reason)
{
    pthread_mutex_lock(&w->lock);
    *reason = true;
    if (w->rank != 0 && w->leaving) w->links[0].goodbye_due = true;
    pthread_mutex_unlock(&w->lock);
    kick(w);
    if (w->running) pthread_join(w->thread, NULL);
    w->running = false;
}

void watch_goodbye(watch *w) { finish(w, &w->leaving); }

void watch_stop(watch *w) { finish(w, &w->stopping); }

void watch_close(watch *w)
{
    if (!w) return;
    if (w->running) watch_stop(w);
    watch_gate_close(&w->gate);
    for (int i = 0; i < w->n_links; i++)
        if (w->links[i].fd >= 0) close(w->links[i].fd);
    pthread_mutex_destroy(&w->signal_lock);
    pthread_mutex_destroy(&w->lock);
    sem_destroy(&w->joined);
    sem_destroy(&w->wakes);
    close(w->kick);
    free(w->polls);
    free(w->links);
    free(w);
}

/* What does not get through for want of room costs a second line in the log, no more. */
void watch_say_failed(watch *w)
{
    char failed = FAILED;
    pthread_mutex_lock(&w->lock);
    w->failed = true;
    for (int i = 0; i < w->n_links; i++) {
        if (w->links[i].fd < 0 || !watch_note_finish(&w->links[i].note, w->links[i].fd)) continue;
        ssize_t sent = send(w->links[i].fd, &failed, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent;
    }
    pthread_mutex_unlock(&w->lock);
}

/* ---- wakes, notes and signals ---------------------------------------------------------------------------------------- */

void watch_wake(watch *w)
{
    bool waiting = false;
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->n_links; i++) {
        w->links[i].owed++;
        flush(w, &w->links[i]);
        waiting = waiting || is_waiting(&w->links[i]);
    }
    pthread_mutex_unlock(&w->lock);
    if (waiting) kick(w);
}

void watch_keep_notes(watch *w, note_board *notes)
{
    pthread_mutex_lock(&w->lock);
    w->notes = notes;
    pthread_mutex_unlock(&w->lock);
}

void watch_post_note(watch *w, const void *note, size_t size)
{
    if (w->rank == 0) return;
    pthread_mutex_lock(&w->lock);
    watch_note_put(&w->links[0].note, note, size);
    flush(w, &w->links[0]);
    bool waiting = is_waiting(&w->links[0]);
    pthread_mutex_unlock(&w->lock);
    if (waiting) kick(w);
}

void watch_park(watch *w)
{
    while (sem_wait(&w->wakes) != 0 && errno == EINTR) continue;
}

void watch_signal_zero(watch *w)
{
    if (w->rank == 0) return;
    int saved = errno;
    atomic_fetch_add(&w->signals, 1);
    kick(w);
    errno = saved;
}

void watch_on_signal(watch *w, void (*fn)(void *user, int from_rank), void *user)
{
    pthread_mutex_lock(&w->signal_lock);
    w->on_signal = fn;
    w->signal_user = user;
    pthread_mutex_unlock(&w->signal_lock);
    kick(w); /* notices that came before are delivered now */
}
