#include "runtime/fetch/checker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/fetch/digest.h"
#include "runtime/fetch/folders.h"

/* First in, first out. */
typedef struct item_queue {
    fetch_item **items; /* [most] a ring */
    size_t first, count;
} item_queue;

struct checker {
    pthread_t thread;
    pthread_mutex_t lock; /* the queues */
    pthread_cond_t more;
    size_t most;
    void (*ready)(void *user);
    void *user;
    item_queue waiting, looked_at;
    atomic_bool stop;
};

static void push(item_queue *q, size_t most, fetch_item *item) { q->items[(q->first + q->count++) % most] = item; }

static fetch_item *pop(item_queue *q, size_t most)
{
    if (q->count == 0) return NULL;
    fetch_item *item = q->items[q->first];
    q->first = (q->first + 1) % most;
    q->count--;
    return item;
}

static void check(checker *c, fetch_item *item)
{
    int own = -1, fd = item->partial ? partial_file_fd(item->partial) : -1;
    item->matches = false;
    if (fd < 0) fd = own = open(item->final, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        item->checked = status_fail(&item->detail, STATUS_MACHINE, "%s: cannot be opened: %s", item->final, strerror(errno));
        return;
    }
    item->checked = digest_file(fd, item->file->size, item->file->kind, item->file->path, &c->stop, item->found, &item->detail);
    if (item->checked == STATUS_OK) item->matches = strcmp(item->found, item->file->digest) == 0;
    if (item->matches && item->partial) {
        item->checked = folders_make(item->final, true, &item->detail);
        if (item->checked == STATUS_OK) item->checked = partial_file_publish(item->partial, item->final, &item->detail);
        partial_file_close(item->partial);
        item->partial = NULL;
    }
    if (own >= 0) close(own);
}

static void *work(void *user)
{
    checker *c = user;
    pthread_mutex_lock(&c->lock);
    while (!atomic_load(&c->stop)) {
        fetch_item *item = pop(&c->waiting, c->most);
        if (!item) {
            pthread_cond_wait(&c->more, &c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        check(c, item);
        pthread_mutex_lock(&c->lock);
        push(&c->looked_at, c->most, item);
        c->ready(c->user);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

status checker_open(size_t most, void (*ready)(void *user), void *user, checker **out, status_detail *detail)
{
    checker *c = calloc(1, sizeof *c);
    if (!c) return status_fail(detail, STATUS_MACHINE, "out of memory");
    c->most = most ? most : 1;
    c->ready = ready;
    c->user = user;
    c->waiting.items = calloc(c->most, sizeof *c->waiting.items);
    c->looked_at.items = calloc(c->most, sizeof *c->looked_at.items);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->more, NULL);
    int error = c->waiting.items && c->looked_at.items ? pthread_create(&c->thread, NULL, work, c) : ENOMEM;
    if (error) {
        pthread_cond_destroy(&c->more);
        pthread_mutex_destroy(&c->lock);
        free(c->looked_at.items);
        free(c->waiting.items);
        free(c);
        return status_fail(detail, STATUS_MACHINE, "a thread cannot be started: %s", strerror(error));
    }
    *out = c;
    return STATUS_OK;
}

void checker_submit(checker *c, fetch_item *item)
{
    item->state = ITEM_CHECKING;
    pthread_mutex_lock(&c->lock);
    push(&c->waiting, c->most, item);
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
}

fetch_item *checker_take(checker *c)
{
    pthread_mutex_lock(&c->lock);
    fetch_item *item = pop(&c->looked_at, c->most);
    pthread_mutex_unlock(&c->lock);
    return item;
}

void checker_close(checker *c)
{
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->stop, true);
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->more);
    pthread_mutex_destroy(&c->lock);
    free(c->looked_at.items);
    free(c->waiting.items);
    free(c);
}
