/* Folders, locks, links and space on disk. Internal to runtime/fetch. */
#ifndef RUNTIME_FETCH_FOLDERS_H
#define RUNTIME_FETCH_FOLDERS_H

#include "runtime/base/status.h"
#include "runtime/fetch/fetch.h"

/* Makes the folder and those above it; fine when it is there. With `of_file` all but the last part of the path. */
status folders_make(const char *path, bool of_file, status_detail *detail);

/* Makes `path`, and the folder around it, and holds it against other processes until folders_unlock(); waits for whoever holds it, with a
 * note, while asking events->cancelled (then STATUS_BUSY). The kernel lets go when a process dies. Where the file system has no locks it goes
 * on without, with a note. `fd` is the lock, or -1. */
status folders_lock(const char *path, const fetch_events *events, int *fd, status_detail *detail);
/* Removes the file and lets go; -1 is allowed. */
void folders_unlock(const char *path, int fd);

/* Makes or replaces at once: a link at `path` that says `target`; a file at `path` that holds `text`. */
status folders_link(const char *path, const char *target, status_detail *detail);
status folders_write(const char *path, const char *text, status_detail *detail);

/* STATUS_MACHINE, naming both amounts, when the file system of the folder has less than `wanted` bytes for us. */
status folders_check_space(const char *dir, int64_t wanted, status_detail *detail);

#endif
