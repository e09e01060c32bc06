#include "launch/batch_output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "launch/batch_input.h"
#include "launch/batch_line.h"

static const double LOCK_SECONDS = 2, LOCK_EVERY = 0.1;
static const size_t LONGEST_LINE = (size_t)1 << 30;

static status lock(const batch_output *o, status_detail *detail)
{
    for (double waited = 0; flock(o->fd, LOCK_EX | LOCK_NB); waited += LOCK_EVERY) {
        if (errno != EWOULDBLOCK && errno != EINTR) return STATUS_OK; /* a file system without locks */
        if (waited >= LOCK_SECONDS)
            return status_fail(detail, STATUS_USAGE, "%s: another batch writes it; choose another file, or end that one", o->path);
        nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * LOCK_EVERY)}, NULL);
    }
    return STATUS_OK;
}

status batch_output_open(const char *path, batch_output *out, status_detail *detail)
{
    struct stat info;
    batch_output o = {.path = path, .fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666)};
    if (o.fd < 0) return status_fail(detail, STATUS_USAGE, "cannot write %s: %s", path, strerror(errno));
    status result = fstat(o.fd, &info) || !S_ISREG(info.st_mode)
                        ? status_fail(detail, STATUS_USAGE, "cannot write %s: allowed is a regular file", path)
                        : lock(&o, detail);
    if (result == STATUS_OK) *out = o;
    else close(o.fd);
    return result;
}

static status refuse(const batch_output *o, int64_t line, status_detail *detail)
{
    return status_fail(detail, STATUS_USAGE, "%s:%" PRId64 ": no line that a batch wrote; choose another file, or move this one away", o->path, line);
}

/* What a write that did not come to its end can leave: the beginning of a line, or zeros that a file system put there. */
static bool is_torn(const char *line, size_t size)
{
    const char start[] = BATCH_LINE_START;
    size_t known = size < sizeof start - 1 ? size : sizeof start - 1;
    return !memcmp(line, start, known) || !line[0];
}

static status keep(batch_ids *ids, const batch_record *r)
{
    kv_hash id = r->by_number ? batch_ids_number(ids, r->line) : batch_ids_name(ids, r->custom_id.data, r->custom_id.size);
    return batch_ids_keep(ids, id) ? STATUS_OK : STATUS_MACHINE;
}

static status read_all(const batch_output *o, batch_input *in, batch_ids *ids, int64_t *records, int64_t *whole, status_detail *detail)
{
    batch_record record = {0};
    char *line;
    size_t size;
    status result = STATUS_OK;
    batch_input_found found = BATCH_INPUT_LINE;
    while (result == STATUS_OK) {
        found = batch_input_next(in, &line, &size);
        if (found == BATCH_INPUT_WAIT) continue;
        if (found != BATCH_INPUT_LINE || in->torn) break;
        if (!batch_record_read(line, size, &record)) {
            result = refuse(o, in->line, detail);
        } else if (keep(ids, &record) != STATUS_OK) {
            result = status_fail(detail, STATUS_MACHINE, "out of memory");
        } else {
            *whole = in->offset + (int64_t)size + 1;
            ++*records;
        }
    }
    buffer_free(&record.custom_id);
    if (result != STATUS_OK) return result;
    if (found == BATCH_INPUT_FAILED) return status_fail(detail, STATUS_MACHINE, "cannot read %s: %s", o->path, strerror(errno));
    if (found == BATCH_INPUT_LONG || (found == BATCH_INPUT_LINE && !is_torn(line, size))) return refuse(o, in->line, detail);
    return STATUS_OK;
}

status batch_output_resume(batch_output *o, batch_ids *ids, int64_t *records, status_detail *detail)
{
    struct stat info;
    int64_t found = 0, whole = 0;
    batch_input in = {.fd = o->fd, .limit = LONGEST_LINE};
    status result = read_all(o, &in, ids, &found, &whole, detail);
    batch_input_free(&in);
    STATUS_TRY(result);
    if (fstat(o->fd, &info) || (info.st_size > whole && ftruncate(o->fd, whole)))
        return status_fail(detail, STATUS_MACHINE, "cannot cut off what was not written to its end in %s: %s", o->path, strerror(errno));
    *records += found;
    return STATUS_OK;
}

status batch_output_add(batch_output *o, const char *line, size_t size, status_detail *detail)
{
    o->dirty = true;
    while (size) {
        ssize_t n = write(o->fd, line, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return status_fail(detail, STATUS_MACHINE, "cannot write %s: %s; what is there stays, and the same command goes on from it", o->path,
                               strerror(errno));
        line += n;
        size -= (size_t)n;
    }
    return STATUS_OK;
}

status batch_output_sync(batch_output *o, status_detail *detail)
{
    if (!o->dirty) return STATUS_OK;
    o->dirty = false;
    if (fdatasync(o->fd) && errno != EINVAL) return status_fail(detail, STATUS_MACHINE, "cannot write %s: %s", o->path, strerror(errno));
    return STATUS_OK;
}

void batch_output_close(batch_output *o, bool only_if_filled)
{
    struct stat info;
    if (o->fd < 0) return;
    if (only_if_filled && !fstat(o->fd, &info) && info.st_size == 0) unlink(o->path);
    close(o->fd);
    o->fd = -1;
}
