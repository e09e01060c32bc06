#include "runtime/engine/engine_memory.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "runtime/base/quiet_thread.h"

_Static_assert(sizeof(engine_memory) <= WORLD_NOTE_SIZE, "it travels as a note");

struct engine_memory_watch {
    world *world;
    const model *model;
    engine_memory known; /* what does not change */
    int period_ms;
    int stop_fd;         /* an eventfd: the thread shall end */
    pthread_t thread;
};

static void look(const engine_memory_watch *m)
{
    ops_memory now;
    if (!model_get_memory(m->model, &now)) return;
    engine_memory note = m->known;
    note.used = now.used;
    note.total = now.total;
    if (now.device >= 0) snprintf(note.device + strlen(note.device), sizeof note.device - strlen(note.device), ":%d", now.device);
    world_post_note(m->world, &note, sizeof note);
}

static void *run(void *user)
{
    const engine_memory_watch *m = user;
    struct pollfd stop = {.fd = m->stop_fd, .events = POLLIN};
    for (;;) {
        look(m);
        int ready = poll(&stop, 1, m->period_ms);
        if (ready > 0 || (ready < 0 && errno != EINTR)) return NULL;
    }
}

status engine_memory_open(world *w, const model *m, int64_t kv_cache, double seconds, engine_memory_watch **out, status_detail *detail)
{
    ops_caps caps;
    model_get_caps(m, &caps);
    engine_memory_watch *made = calloc(1, sizeof *made);
    if (!made) return status_fail(detail, STATUS_MACHINE, "no memory for the engine");
    made->world = w;
    made->model = m;
    made->period_ms = (int)(seconds * 1e3);
    made->known.weights = shard_plan_bytes(model_get_plan(m));
    made->known.kv_cache = kv_cache;
    snprintf(made->known.device, sizeof made->known.device, "%.20s", caps.name);
    made->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = made->stop_fd < 0 ? errno : quiet_thread_start(&made->thread, run, made);
    if (error) {
        if (made->stop_fd >= 0) close(made->stop_fd);
        free(made);
        return status_fail(detail, STATUS_MACHINE, "cannot start the thread that looks after device memory: %s", strerror(error));
    }
    *out = made;
    return STATUS_OK;
}

void engine_memory_close(engine_memory_watch *m)
{
    if (!m) return;
    uint64_t one = 1;
    ssize_t written = write(m->stop_fd, &one, sizeof one);
    (void)written; /* an eventfd that nobody else writes takes it */
    pthread_join(m->thread, NULL);
    close(m->stop_fd);
    free(m);
}

bool engine_memory_read(world *w, int rank, double most_seconds, engine_memory *out)
{
    engine_memory note;
    double age;
    if (!world_read_note(w, rank, &note, sizeof note, &age) || age > most_seconds) return false;
    *out = note;
    return true;
}
