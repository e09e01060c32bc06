/* A job that loads the model and answers requests over HTTP until it is told to end: what serve and batch share.
 *
 * Every rank calls serving_run(); rank 0 alone has a server. Ranks can fail apart from each other, so after every step that may fail they
 * agree (world_agree) before the next collective one.
 */
#ifndef LAUNCH_SERVING_H
#define LAUNCH_SERVING_H

#include "comm/comm.h"
#include "launch/arguments.h"
#include "launch/verb.h"
#include "runtime/base/settings.h"
#include "runtime/engine/engine.h"
#include "runtime/model/model.h"
#include "runtime/server/server.h"

/* What a verb sees of the job. */
typedef struct serving_view {
    const settings *settings;
    engine *engine;      /* the rest: from `begin` on */
    int groups;          /* data-parallel groups */
    int port;            /* of the server */
} serving_view;

/* What a verb adds. All of it is called on rank 0 alone; each may be NULL. */
typedef struct serving_verb {
    const argument *flags; /* its own, beside those of the configuration; on all ranks */
    size_t n_flags;
    /* The configuration is read, nothing is loaded. */
    status (*prepare)(void *user, const serving_view *view, status_detail *detail);
    /* May change what the server is opened with; what it sets must live until `end`. */
    void (*adjust)(void *user, server_options *options);
    /* The server listens, signals drain, the engine is about to run on this thread. */
    status (*begin)(void *user, const serving_view *view, status_detail *detail);
    /* After a `begin` that went well: the engine has ended and the server is closed. Its failure is the job's. */
    status (*end)(void *user, status_detail *detail);
    void *user;
} serving_verb;

/* From the command line to the end of the job. */
status serving_run(int argc, char **argv, const serving_verb *own, verb_failure *failure);

#endif
