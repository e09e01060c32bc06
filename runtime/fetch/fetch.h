/* Brings a checkpoint from a hub onto this machine: parallel, resumable, every file checked against the hub's checksum.
 *
 * Into the local Hugging Face cache (runtime/base/hub_cache.h), where `model.path: ORG/NAME` and other tools find it, or into a folder of
 * plain files. Whatever ends a fetch, kill -9 included, the next one goes on from the bytes that are there.
 */
#ifndef RUNTIME_FETCH_FETCH_H
#define RUNTIME_FETCH_FETCH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/status.h"

/* What the caller is told, always on the thread that called fetch_run(). */
typedef struct fetch_events {
    void *user;
    /* Asked about ten times a second; true ends the fetch. */
    bool (*cancelled)(void *user);
    /* Bytes that are here, of all that are wanted; what an earlier fetch brought counts. `done` falls when a file is wrong and begins anew. */
    void (*progress)(void *user, int64_t done, int64_t total);
    /* One line that is no error: a wait, a file fetched again. */
    void (*note)(void *user, const char *line);
} fetch_events;

typedef struct fetch_options {
    const char *repository; /* "openai/gpt-oss-20b" */
    const char *revision;   /* branch, tag or commit; NULL: the source's default branch */
    const char *source;     /* a name of fetch_sources(); NULL: the first */
    const char *to;         /* a folder for plain files; NULL: the Hugging Face cache */
    bool original;          /* the folder original/ instead of the files of the root */
    int connections;        /* at most this many at once, 1..FETCH_MOST_CONNECTIONS */
    int64_t part_bytes;     /* of one range request, >= 1 */
    int retries;            /* tries without a byte in between before giving up, >= 0 */
    fetch_events events;
} fetch_options;

enum { FETCH_MOST_CONNECTIONS = 64 };

typedef struct fetch_result {
    char dir[PATH_MAX]; /* the folder that holds the files; absolute only if `to` or the cache's is */
    bool by_name;       /* `repository` as model.path finds it */
    bool cancelled;     /* set on failure too: the failure is that `cancelled` said so */
    int files;
    int64_t bytes;      /* of all files */
} fetch_result;

/* STATUS_USAGE: a name, revision or token is wrong. STATUS_MACHINE: no room, or a file cannot be written. STATUS_PEER: the hub cannot be
 * reached, or stopped answering. STATUS_MODEL: what it sends is wrong. STATUS_BUSY: cancelled. On failure `out` holds only `cancelled`. */
status fetch_run(const fetch_options *options, fetch_result *out, status_detail *detail);

/* "huggingface|modelscope" */
const char *fetch_sources(void);

#endif
