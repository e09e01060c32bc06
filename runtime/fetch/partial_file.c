#include "runtime/fetch/partial_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct partial_file {
    const char *data_path, *record_path;
    int data, record; /* file descriptors */
    part_plan plan;
    int64_t *done;    /* [plan.count] bytes that are here */
    int64_t total;    /* their sum */
};

static status disk_failed(const char *path, status_detail *detail)
{
    return status_fail(detail, STATUS_MACHINE, "%s: cannot be written: %s%s", path, strerror(errno),
                       errno == ENOSPC || errno == EDQUOT ? "; make room and run the same command again: it goes on from here" : "");
}

static bool write_all(int fd, const uint8_t *bytes, size_t size, int64_t at, size_t *written)
{
    for (*written = 0; *written < size;) {
        ssize_t n = pwrite(fd, bytes + *written, size - *written, at + (int64_t)*written);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC;
        if (n <= 0) return false;
        *written += (size_t)n;
    }
    return true;
}

static status write_entry(partial_file *p, uint32_t part, status_detail *detail)
{
    uint8_t entry[PART_RECORD_ENTRY];
    size_t written;
    part_record_entry(p->done[part], entry);
    if (!write_all(p->record, entry, sizeof entry, PART_RECORD_HEADER + (int64_t)part * PART_RECORD_ENTRY, &written))
        return disk_failed(p->record_path, detail);
    return STATUS_OK;
}

status partial_file_restart(partial_file *p, int64_t part_bytes, status_detail *detail)
{
    uint8_t header[PART_RECORD_HEADER];
    size_t written;
    part_plan plan = part_plan_make(p->plan.size, part_bytes);
    int64_t *done = calloc((size_t)plan.count + 1, sizeof *done);
    if (!done) return status_fail(detail, STATUS_MACHINE, "out of memory");
    free(p->done);
    p->done = done;
    p->plan = plan;
    p->total = 0;
    part_record_header(&plan, header);
    /* The record is emptied first: cut off in between, it is of the wrong length and so begins anew. */
    if (ftruncate(p->record, 0) != 0 || ftruncate(p->data, 0) != 0) return disk_failed(p->data_path, detail);
    if (!write_all(p->record, header, sizeof header, 0, &written) || ftruncate(p->record, (off_t)part_record_size(&plan)) != 0)
        return disk_failed(p->record_path, detail);
    return STATUS_OK;
}

/* Whether the record was read and the bytes it tells of are there. */
static bool read_record(partial_file *p, int64_t size)
{
    struct stat data, record;
    bool good = false;
    uint8_t *bytes = NULL;
    part_plan plan;
    if (fstat(p->data, &data) != 0 || fstat(p->record, &record) != 0) return false;
    if (record.st_size > PART_RECORD_HEADER + (off_t)PART_PLAN_MOST * PART_RECORD_ENTRY) return false;
    bytes = malloc((size_t)record.st_size + 1);
    if (!bytes || pread(p->record, bytes, (size_t)record.st_size, 0) != record.st_size) goto done;
    if (!part_record_parse(bytes, (size_t)record.st_size, size, &plan)) goto done;
    int64_t *each = calloc((size_t)plan.count + 1, sizeof *each), total = 0;
    if (!each) goto done;
    good = true;
    for (uint32_t i = 0; i < plan.count; i++) {
        each[i] = part_record_done(bytes, i);
        total += each[i];
        if (each[i] && part_plan_start(&plan, i) + each[i] > data.st_size) good = false;
    }
    if (good) {
        p->plan = plan;
        p->done = each;
        p->total = total;
    } else {
        free(each);
    }
done:
    free(bytes);
    return good;
}

status partial_file_open(const char *data_path, const char *record_path, int64_t size, int64_t part_bytes, partial_file **out,
                         status_detail *detail)
{
    status result = STATUS_OK;
    partial_file *p = calloc(1, sizeof *p);
    if (!p) return status_fail(detail, STATUS_MACHINE, "out of memory");
    *p = (partial_file){.data_path = data_path, .record_path = record_path, .data = -1, .record = -1, .plan.size = size};
    p->data = open(data_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (p->data >= 0) p->record = open(record_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (p->record < 0) {
        result = disk_failed(p->data < 0 ? data_path : record_path, detail);
        goto failed;
    }
    if (!read_record(p, size)) result = partial_file_restart(p, part_bytes, detail);
    if (result != STATUS_OK) goto failed;
    *out = p;
    return STATUS_OK;
failed:
    partial_file_close(p);
    return result;
}

void partial_file_close(partial_file *p)
{
    if (!p) return;
    if (p->record >= 0) close(p->record);
    if (p->data >= 0) close(p->data);
    free(p->done);
    free(p);
}

const part_plan *partial_file_plan(const partial_file *p) { return &p->plan; }
int64_t partial_file_done(const partial_file *p) { return p->total; }
int64_t partial_file_part_done(const partial_file *p, uint32_t part) { return p->done[part]; }
bool partial_file_complete(const partial_file *p) { return p->total == p->plan.size; }
int partial_file_fd(const partial_file *p) { return p->data; }

status partial_file_write(partial_file *p, uint32_t part, const void *bytes, size_t size, status_detail *detail)
{
    size_t written;
    bool good = write_all(p->data, bytes, size, part_plan_start(&p->plan, part) + p->done[part], &written);
    status result = good ? STATUS_OK : disk_failed(p->data_path, detail);
    p->done[part] += (int64_t)written;
    p->total += (int64_t)written;
    status recorded = write_entry(p, part, good ? detail : NULL);
    return result != STATUS_OK ? result : recorded;
}

status partial_file_rewind(partial_file *p, uint32_t part, status_detail *detail)
{
    p->total -= p->done[part];
    p->done[part] = 0;
    return write_entry(p, part, detail);
}

int64_t partial_file_stored(const char *data_path)
{
    struct stat info;
    return stat(data_path, &info) == 0 ? (int64_t)info.st_blocks * 512 : 0; /* st_blocks counts 512 bytes: stat(3) */
}

status partial_file_publish(partial_file *p, const char *final, status_detail *detail)
{
    if (fsync(p->data) != 0) return disk_failed(p->data_path, detail);
    if (rename(p->data_path, final) != 0)
        return status_fail(detail, STATUS_MACHINE, "%s: cannot be moved to %s: %s", p->data_path, final, strerror(errno));
    unlink(p->record_path);
    return STATUS_OK;
}
