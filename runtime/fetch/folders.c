#define _GNU_SOURCE /* flock */
#include "runtime/fetch/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/bytes.h"

status folders_make(const char *path, bool of_file, status_detail *detail)
{
    char part[PATH_MAX];
    size_t length = of_file ? (size_t)(strrchr(path, '/') ? strrchr(path, '/') - path : 0) : strlen(path);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && i < length) continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) == 0 || errno == EEXIST) continue;
        struct stat info; /* a folder of a file system that is read-only, or not ours, answers so even though it is there */
        int error = errno;
        if (stat(part, &info) != 0 || !S_ISDIR(info.st_mode))
            return status_fail(detail, STATUS_MACHINE, "%s: the folder cannot be made: %s", part, strerror(error));
    }
    return STATUS_OK;
}

/* Whether `path` still is the file that `fd` opened: its last holder may have removed it in between. */
static bool is_same(const char *path, int fd)
{
    struct stat here, opened;
    return stat(path, &here) == 0 && fstat(fd, &opened) == 0 && here.st_ino == opened.st_ino && here.st_dev == opened.st_dev;
}

static void wait_a_moment(void) { nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); }

/* Opens the lock's file, whose folder the last holder may just have removed. */
static status open_lock(const char *path, int *fd, status_detail *detail)
{
    for (int i = 0; i < 10; i++) {
        status result = folders_make(path, true, detail);
        if (result != STATUS_OK) return result;
        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (*fd >= 0) return STATUS_OK;
        if (errno != ENOENT) break;
    }
    return status_fail(detail, STATUS_MACHINE, "%s: cannot be made: %s", path, strerror(errno));
}

status folders_lock(const char *path, const fetch_events *events, int *fd, status_detail *detail)
{
    char line[PATH_MAX + 128];
    bool told = false;
    for (;;) {
        int lock;
        status result = open_lock(path, &lock, detail);
        if (result != STATUS_OK) return result;
        while (flock(lock, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EINTR) continue;
            if (errno != EWOULDBLOCK) {
                snprintf(line, sizeof line, "%s: this file system has no locks (%s); do not start a second fetch of this model", path,
                         strerror(errno));
                events->note(events->user, line);
                *fd = lock;
                return STATUS_OK;
            }
            if (!told) {
                snprintf(line, sizeof line, "waiting for another fetch of this model, which holds %s", path);
                events->note(events->user, line);
                told = true;
            }
            if (events->cancelled(events->user)) {
                close(lock);
                return status_fail(detail, STATUS_BUSY, "interrupted while waiting for another fetch");
            }
            wait_a_moment();
        }
        if (is_same(path, lock)) {
            *fd = lock;
            return STATUS_OK;
        }
        close(lock);
    }
}

void folders_unlock(const char *path, int fd)
{
    if (fd < 0) return;
    unlink(path);
    close(fd);
}

/* A name beside `path` that no other process uses. */
static bool beside(const char *path, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s.gptoss-%ld", path, (long)getpid());
    return n > 0 && n < PATH_MAX;
}

static status put_in_place(const char *made, const char *path, status_detail *detail)
{
    if (rename(made, path) == 0) return STATUS_OK;
    int error = errno;
    unlink(made);
    return status_fail(detail, STATUS_MACHINE, "%s: cannot be made: %s", path, strerror(error));
}

status folders_link(const char *path, const char *target, status_detail *detail)
{
    char temporary[PATH_MAX], found[PATH_MAX];
    ssize_t n = readlink(path, found, sizeof found);
    if (n > 0 && (size_t)n == strlen(target) && memcmp(found, target, (size_t)n) == 0) return STATUS_OK;
    STATUS_TRY(folders_make(path, true, detail));
    if (!beside(path, temporary)) return status_fail(detail, STATUS_MACHINE, "%.200s...: the path is too long", path);
    unlink(temporary);
    if (symlink(target, temporary) != 0)
        return status_fail(detail, STATUS_MACHINE, "%s: a symbolic link cannot be made: %s; --to DIR makes plain files", path, strerror(errno));
    return put_in_place(temporary, path, detail);
}

status folders_write(const char *path, const char *text, status_detail *detail)
{
    char temporary[PATH_MAX];
    STATUS_TRY(folders_make(path, true, detail));
    if (!beside(path, temporary)) return status_fail(detail, STATUS_MACHINE, "%.200s...: the path is too long", path);
    FILE *file = fopen(temporary, "w");
    if (!file) return status_fail(detail, STATUS_MACHINE, "%s: cannot be made: %s", temporary, strerror(errno));
    bool written = fputs(text, file) >= 0;
    if (fclose(file) != 0 || !written) {
        unlink(temporary);
        return status_fail(detail, STATUS_MACHINE, "%s: cannot be written: %s", path, strerror(errno));
    }
    return put_in_place(temporary, path, detail);
}

status folders_check_space(const char *dir, int64_t wanted, status_detail *detail)
{
    struct statvfs info;
    char needed[32], available[32];
    if (statvfs(dir, &info) != 0) return status_fail(detail, STATUS_MACHINE, "%s: its free space cannot be read: %s", dir, strerror(errno));
    unsigned long long bytes = (unsigned long long)info.f_bavail * info.f_frsize;
    int64_t room = bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
    if (wanted <= room) return STATUS_OK;
    return status_fail(detail, STATUS_MACHINE,
                       "%s: %s (%lld bytes) are wanted, %s (%lld bytes) are free; make room, or choose another disk with --to DIR or HF_HUB_CACHE", dir,
                       bytes_format(wanted, needed), (long long)wanted, bytes_format(room, available), (long long)room);
}
